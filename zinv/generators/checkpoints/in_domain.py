"""IDInvert's encoder (Zhu et al. 2020): a picture to the rows of a StyleGAN1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Architecture, Found, Tensors, batch_norm, count, tensors_in
from zinv.generators.checkpoints.records import Plain

FORMAT: Final = "IDInvert"
FIRST, SECOND = "block0.conv.weight", "block1.conv1.weight"
Shapes = dict[str, tuple[int, ...]]


def find(tree: Plain) -> Found | None:
    """The encoder, in a bare state dict."""
    state = tensors_in(tree)
    if FIRST not in state or SECOND not in state:
        return None
    return Found(FORMAT, "in-domain encoder", state, _build)


def _build(tensors: Tensors) -> tuple[Architecture, dict[str, Tensor]]:
    num = count(tensors, "block{}.conv1.weight", 1)
    last = tensors.shape(f"block{num + 1}.fc.weight")
    widths = [_width(tensors, FIRST), *(_width(tensors, f"block{i}.conv2.weight") for i in range(1, num + 1))]
    if len(last) != 2 or last[0] % (2 * (num + 1)):
        raise CheckpointError(f"block{num + 1}.fc.weight: shape {last} is no row of w for each layer")
    num_ws = 2 * (num + 1)
    arch = {"resolution": 2 ** (num + 2), "num_ws": num_ws, "w_dim": last[0] // num_ws, "max_width": max(widths)}
    return arch, tensors.verified(_shapes(widths, last[0]))


def _width(tensors: Tensors, name: str) -> int:
    shape = tensors.shape(name)
    if len(shape) != 4:
        raise CheckpointError(f"{name}: shape {shape} does not fit the architecture")
    return shape[0]


def _shapes(widths: list[int], outputs: int) -> Mapping[str, tuple[int, ...]]:
    shapes: Shapes = {FIRST: (widths[0], 3, 3, 3), **batch_norm("block0.bn.bn", widths[0])}
    for i, (before, width) in enumerate(zip(widths, widths[1:], strict=False), start=1):
        hidden = min(before, width)
        shapes |= _convolution(f"block{i}", 1, before, hidden) | _convolution(f"block{i}", 2, hidden, width)
        if before != width:
            shapes |= {f"block{i}.conv.weight": (width, before, 1, 1), **batch_norm(f"block{i}.bn.bn", width)}
    last = f"block{len(widths)}"
    return shapes | {f"{last}.fc.weight": (outputs, widths[-1] * 16), **batch_norm(f"{last}.bn.bn", outputs)}


def _convolution(block: str, i: int, before: int, width: int) -> Shapes:
    weight: Shapes = {f"{block}.conv{i}.weight": (width, before, 3, 3), f"{block}.wscale{i}.bias": (width,)}
    return weight | batch_norm(f"{block}.bn{i}.bn", width)
