"""IDInvert (Zhu et al. 2020), `styleganinv_*.pth`: a StyleGAN1 with a w a layer and tanh, and its encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import (
    STYLEGAN1_FILTER,
    Architecture,
    Found,
    Tensors,
    batch_norm,
    check_depths,
    count,
    never_fused,
    stylegan1_architecture,
    tensors_in,
)
from zinv.generators.checkpoints.genforce import at_full_size
from zinv.generators.checkpoints.renaming import MAP, ONE_ROW, Change, Pairs, Renaming, read_all, rename
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.unpickle import Plain

FORMAT: Final = "IDInvert"
MARK: Final = "synthesis.layer0.epilogue.style_mod.dense.fc.weight"
FIRST, SECOND = "block0.conv.weight", "block1.conv1.weight"  # of the encoder
Shapes = dict[str, tuple[int, ...]]
STYLED: Final[Pairs] = {
    "bias": "epilogue.bias",
    "affine.weight": "epilogue.style_mod.dense.fc.weight",
    "affine.bias": "epilogue.style_mod.dense.wscale.bias",
    "noise_strength": "epilogue.apply_noise.weight",
    "noise_const": ("epilogue.apply_noise.noise", MAP),
}
TRANSPOSED: Final = Change(lambda x: x.permute(3, 2, 0, 1), lambda x: x.permute(2, 3, 1, 0))  # [kh, kw, in, out]


def find(tree: Plain) -> Found | None:
    """The generator or the encoder, in a bare state dict."""
    state = tensors_in(tree)
    if MARK in state:
        return Found(FORMAT, "StyleGAN1", state, _build)
    return Found(FORMAT, "in-domain encoder", state, _build_encoder) if FIRST in state and SECOND in state else None


def _build(tensors: Tensors) -> tuple[StyleGAN1Architecture, dict[str, Tensor]]:
    num_fc, num_blocks = count(tensors, "mapping.dense{}.fc.weight"), count(tensors, "synthesis.output{}.conv.weight")
    fused = {k for k in range(1, num_blocks) if f"synthesis.layer{2 * k}.weight" in tensors}
    check_depths(num_fc, num_blocks)
    at_full_size(tensors, "synthesis.lod")
    tensors.drop_filters(STYLEGAN1_FILTER, "blur.kernel")
    unused = [f"synthesis.output{k}.{end}" for k in range(num_blocks - 1) for end in ("conv.weight", "bias")]
    tensors.drop("truncation.truncation", *unused)
    named = read_all(_renamings(num_fc, num_blocks, fused), tensors)
    tensors.finish()
    arch = stylegan1_architecture(named, fused_from=4 << min(fused) if fused else never_fused(num_blocks))
    return replace(arch, tanh=arch.w_per_layer), named  # the inversion models have both, their code's default neither


def _renamings(num_fc: int, num_blocks: int, fused: set[int]) -> Iterator[Renaming]:
    """Layers that up-sample and convolve in one keep their kernel as TensorFlow has it."""
    for i in range(num_fc):
        yield from rename({"weight": "fc.weight", "bias": "wscale.bias"}, f"mapping.fc{i}", f"mapping.dense{i}")
    yield Renaming("mapping.w_avg", "truncation.w_avg")
    yield Renaming("synthesis.b4.const", "synthesis.layer0.const", ONE_ROW)
    for k in range(num_blocks):
        for i in (0, 1):
            ours, theirs = f"synthesis.b{4 << k}.conv{i}", f"synthesis.layer{2 * k + i}"
            yield from rename(STYLED, ours, theirs)
            if k in fused and i == 0:
                yield Renaming(f"{ours}.weight", f"{theirs}.weight", TRANSPOSED)
            elif k or i:
                yield Renaming(f"{ours}.weight", f"{theirs}.conv.weight")
    last = num_blocks - 1
    rgb = {"weight": "conv.weight", "bias": "bias"}
    yield from rename(rgb, f"synthesis.b{4 << last}.torgb", f"synthesis.output{last}")


# The encoder: a picture to the rows of such a generator


def _build_encoder(tensors: Tensors) -> tuple[Architecture, dict[str, Tensor]]:
    num = count(tensors, "block{}.conv1.weight", 1)
    last = tensors.shape(f"block{num + 1}.fc.weight")
    widths = [_width(tensors, FIRST), *(_width(tensors, f"block{i}.conv2.weight") for i in range(1, num + 1))]
    if len(last) != 2 or last[0] % (2 * (num + 1)):
        raise CheckpointError(f"block{num + 1}.fc.weight: shape {last} is no row of w for each layer")
    num_ws = 2 * (num + 1)
    arch = {"resolution": 2 ** (num + 2), "num_ws": num_ws, "w_dim": last[0] // num_ws, "max_width": max(widths)}
    return arch, tensors.verified(_encoder_shapes(widths, last[0]))


def _width(tensors: Tensors, name: str) -> int:
    shape = tensors.shape(name)
    if len(shape) != 4:
        raise CheckpointError(f"{name}: shape {shape} does not fit the architecture")
    return shape[0]


def _encoder_shapes(widths: list[int], outputs: int) -> Mapping[str, tuple[int, ...]]:
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
