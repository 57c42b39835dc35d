"""SAM's invertibility predictor (Parmar et al. 2022): DeepLabV3+ on ResNet-101, and a head for each space."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Architecture, Found, Tensors, batch_norm, inside, tensors_in
from zinv.unpickle import Plain

FORMAT: Final = "SAM"
BASE: Final = "sd_base"
BLOCKS: Final = (3, 4, 23, 3)  # ResNet-101
HEAD: Final = 8
DROPOUT: Final = {".8.weight": (0, 1, 4, 5, 8), ".6.weight": (0, 1, 3, 4, 6)}  # its places in the decoder's sequence
Shapes = dict[str, tuple[int, ...]]


def find(tree: Plain) -> Found | None:
    """The predictor, under `base.`, and its heads, under their spaces' names."""
    if not isinstance(tree, dict) or "decoder.last_conv.0.weight" not in _state(tree.get(BASE)):
        return None
    tensors = {f"base.{name}": x for name, x in _state(tree[BASE]).items()}
    spaces = [str(space) for space in tree if space != BASE and "m.0.weight" in _state(tree[space])]
    for space in spaces:
        tensors |= {f"{space}.{name}": x for name, x in _state(tree[space]).items()}

    def build(read: Tensors) -> tuple[Architecture, dict[str, Tensor]]:
        shapes, places = _deeplab(read)
        for space in spaces:
            shapes |= _head(space)
        return {"spaces": ",".join(spaces), "dropout": int(places[-1] == 8)}, read.verified(shapes)

    return Found(FORMAT, "invertibility predictor", tensors, build)


def _state(tree: Plain) -> dict[str, Tensor]:
    return inside(tree, "module.") or tensors_in(tree)


def _head(space: str) -> Shapes:
    shapes: Shapes = {f"{space}.m.0.weight": (HEAD, 4, 3, 3), f"{space}.m.0.bias": (4,)}
    return shapes | {f"{space}.m.3.weight": (4, 1, 1, 1), f"{space}.m.3.bias": (1,), **batch_norm(f"{space}.m.1", 4)}


def _deeplab(tensors: Tensors) -> tuple[Shapes, tuple[int, ...]]:
    last = "base.decoder.last_conv"
    places = next((places for end, places in DROPOUT.items() if f"{last}{end}" in tensors), None)
    if places is None:
        raise CheckpointError(f"{last}: neither of the two published decoders, with dropout or without")
    shapes = _resnet() | _pyramid() | _normed("base.decoder.conv1", "base.decoder.bn1", (48, 256, 1, 1))
    for i, before in enumerate((304, 256)):
        names = f"{last}.{places[2 * i]}", f"{last}.{places[2 * i + 1]}"
        shapes |= _normed(*names, (256, before, 3, 3))
    shapes |= {f"{last}.{places[4]}.weight": (HEAD, 256, 1, 1), f"{last}.{places[4]}.bias": (HEAD,)}
    return shapes, places


def _resnet() -> Shapes:
    shapes = _normed("base.backbone.conv1", "base.backbone.bn1", (64, 3, 7, 7))
    before = 64
    for stage, num in enumerate(BLOCKS):
        width = 64 << stage
        for i in range(num):
            name = f"base.backbone.layer{stage + 1}.{i}"
            shapes |= _normed(f"{name}.conv1", f"{name}.bn1", (width, before, 1, 1))
            shapes |= _normed(f"{name}.conv2", f"{name}.bn2", (width, width, 3, 3))
            shapes |= _normed(f"{name}.conv3", f"{name}.bn3", (4 * width, width, 1, 1))
            if i == 0:
                shapes |= _normed(f"{name}.downsample.0", f"{name}.downsample.1", (4 * width, before, 1, 1))
            before = 4 * width
    return shapes


def _pyramid() -> Shapes:
    shapes = _normed("base.aspp.conv1", "base.aspp.bn1", (256, 1280, 1, 1))
    shapes |= _normed("base.aspp.global_avg_pool.1", "base.aspp.global_avg_pool.2", (256, 2048, 1, 1))
    for i in range(1, 5):
        side = 1 if i == 1 else 3
        shapes |= _normed(f"base.aspp.aspp{i}.atrous_conv", f"base.aspp.aspp{i}.bn", (256, 2048, side, side))
    return shapes


def _normed(conv: str, norm: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{conv}.weight": shape, **batch_norm(norm, shape[0])}
