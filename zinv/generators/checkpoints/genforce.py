"""genforce/genforce, and so BDInvert: `.pth` files of StyleGAN2 and StyleGAN1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import (
    STYLEGAN1_FILTER,
    STYLEGAN2_FILTER,
    Found,
    Tensors,
    check_depths,
    convolutions,
    count,
    stylegan1_architecture,
    stylegan2_architecture,
    tensors_in,
)
from zinv.generators.checkpoints.renaming import (
    MAP,
    ONE_LESS,
    ONE_ROW,
    TURNED,
    Pairs,
    Renaming,
    read_all,
    rename,
    write_all,
)
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import Plain

FORMAT: Final = "genforce"
MARK: Final = "synthesis.layer0.style.weight"
EARLY: Final = "synthesis.early_layer."
LABELS: Final = ("mapping.label_weight", "mapping.embedding.weight")
DENSE: Final[Pairs] = {"weight": "weight", "bias": "bias"}
RGB: Final[Pairs] = {**DENSE, "affine.weight": "style.weight", "affine.bias": ("style.bias", ONE_LESS)}
STYLED: Final[Pairs] = {**RGB, "noise_strength": "noise_strength", "noise_const": ("noise", MAP)}
STYLED1: Final[Pairs] = {
    "bias": "bias",
    "affine.weight": "style.weight",
    "affine.bias": "style.bias",
    "noise_strength": "apply_noise.weight",
    "noise_const": ("apply_noise.noise", MAP),
}


def find(tree: Plain) -> Found | None:
    """The averaged generator of a file or training state, the one in training if there is no other, or a bare state."""
    if not isinstance(tree, dict):
        return None
    if isinstance(models := tree.get("models"), dict):
        tree = models
    entries = ("generator_smooth", "generator", "")
    states = {entry: tensors_in(tree.get(entry)) if entry else tensors_in(tree) for entry in entries}
    entry = next((entry for entry, state in states.items() if MARK in state), None)
    if entry is None:
        return None
    state = states[entry]
    if label := next((name for name in LABELS if name in state), None):
        raise CheckpointError(f"a generator conditional on labels ({label}); zinv has none")
    raw = convolutions(states["generator"]) if entry == "generator_smooth" else {}
    stylegan2 = any(name.startswith(EARLY) for name in state)
    what, build = ("StyleGAN2", _build2) if stylegan2 else ("StyleGAN1", _build1)
    return Found(FORMAT, what, state, build, entry, raw)


def _build2(tensors: Tensors) -> tuple[StyleGAN2Architecture, dict[str, Tensor]]:
    num_fc, num_rgb = count(tensors, "mapping.dense{}.weight"), count(tensors, "synthesis.output{}.weight")
    num_layers = count(tensors, "synthesis.layer{}.weight")
    if num_layers != 2 * num_rgb - 1:
        raise CheckpointError(f"{num_rgb} RGB layers for {num_layers} others: resnet or orig; zinv has skip alone")
    tensors.drop_filters(STYLEGAN2_FILTER, "kernel")
    named = read_all(_renamings2(num_fc, num_rgb), tensors)
    tensors.finish()
    return stylegan2_architecture(named, clamp=None), named


def _renamings2(num_fc: int, num_blocks: int) -> Iterator[Renaming]:
    yield from _mapping(num_fc)
    yield Renaming("synthesis.b4.const", "synthesis.early_layer.const", ONE_ROW)
    for k in range(num_blocks):
        block = f"synthesis.b{4 << k}"
        if k:
            turned: Pairs = {**STYLED, "weight": ("weight", TURNED)}
            yield from rename(turned, f"{block}.conv0", f"synthesis.layer{2 * k - 1}")
        yield from rename(STYLED, f"{block}.conv1", f"synthesis.layer{2 * k}")
        yield from rename(RGB, f"{block}.torgb", f"synthesis.output{k}")


def _build1(tensors: Tensors) -> tuple[StyleGAN1Architecture, dict[str, Tensor]]:
    num_fc, num_blocks = count(tensors, "mapping.dense{}.weight"), count(tensors, "synthesis.output{}.weight")
    check_depths(num_fc, num_blocks)
    at_full_size(tensors, "synthesis.lod")
    tensors.drop_filters(STYLEGAN1_FILTER, "blur.kernel")
    tensors.drop(*(f"synthesis.output{k}.{end}" for k in range(num_blocks - 1) for end in DENSE))
    named = read_all(_renamings1(num_fc, num_blocks), tensors)
    tensors.finish()
    return stylegan1_architecture(named), named


def at_full_size(tensors: Tensors, lod: str) -> None:
    """Take out the level of detail, at which progressive training stands.

    Raises:
        CheckpointError: the network has not grown to its full size.
    """
    if lod in tensors and float(level := tensors.take(lod).sum()) != 0:
        raise CheckpointError(f"{lod}: {float(level):g}, so it has not grown to its full resolution")


def _renamings1(num_fc: int, num_blocks: int) -> Iterator[Renaming]:
    yield from _mapping(num_fc)
    yield Renaming("synthesis.b4.const", "synthesis.layer0.const", ONE_ROW)
    for k in range(num_blocks):
        for i in (0, 1):
            weight: Pairs = {"weight": "weight"} if k or i else {}
            yield from rename({**STYLED1, **weight}, f"synthesis.b{4 << k}.conv{i}", f"synthesis.layer{2 * k + i}")
    yield from rename(DENSE, f"synthesis.b{4 << (num_blocks - 1)}.torgb", f"synthesis.output{num_blocks - 1}")


def _mapping(num_fc: int) -> Iterator[Renaming]:
    for i in range(num_fc):
        yield from rename(DENSE, f"mapping.fc{i}", f"mapping.dense{i}")
    yield Renaming("mapping.w_avg", "truncation.w_avg")


def state_dict(arch: StyleGAN1Architecture | StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """The content of a file that genforce's code loads."""
    sizes, blocks = (arch.mapping_layers, len(arch.channels)), range(1, len(arch.channels))
    if isinstance(arch, StyleGAN1Architecture):
        return {"generator_smooth": {**write_all(_renamings1(*sizes), tensors), **_unused1(arch)}}
    kernel = (STYLEGAN2_FILTER * 4)[None, None]
    filters = {f"synthesis.layer{2 * k - 1}.filter.kernel": kernel for k in blocks}
    filters["synthesis.upsample.kernel"] = kernel
    return {"generator_smooth": {**write_all(_renamings2(*sizes), tensors), **filters}}


def _unused1(arch: StyleGAN1Architecture) -> dict[str, Tensor]:
    """What genforce's StyleGAN1 wants to load and an image at full size does not depend on, and its filters."""
    unused = {"synthesis.lod": torch.zeros(())}
    for k, width in enumerate(arch.channels):
        if k:
            unused[f"synthesis.layer{2 * k}.blur.kernel"] = STYLEGAN1_FILTER.repeat(width, 1, 1, 1)
        if k < len(arch.channels) - 1:
            unused[f"synthesis.output{k}.weight"] = torch.zeros(3, width, 1, 1)
            unused[f"synthesis.output{k}.bias"] = torch.zeros(3)
    return unused
