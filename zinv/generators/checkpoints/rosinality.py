"""rosinality/stylegan2-pytorch: `.pt` files of StyleGAN2, of its training or its converter."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import (
    STYLEGAN2_FILTER,
    Found,
    Tensors,
    convolutions,
    count,
    stylegan2_architecture,
    tensors_in,
)
from zinv.generators.checkpoints.renaming import COLUMN, MAP, ONE_ROW, Pairs, Renaming, read_all, rename, write_all
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import Plain

FORMAT: Final = "rosinality"
MARK: Final = "conv1.conv.modulation.weight"
W_AVG: Final = "latent_avg"
STYLED: Final[Pairs] = {
    "weight": ("conv.weight", ONE_ROW),
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "bias": "activate.bias",
    "noise_strength": ("noise.weight", ONE_ROW),
}
RGB: Final[Pairs] = {
    "weight": ("conv.weight", ONE_ROW),
    "affine.weight": "conv.modulation.weight",
    "affine.bias": "conv.modulation.bias",
    "bias": ("bias", COLUMN),
}


def find(tree: Plain) -> Found | None:
    """The averaged generator of a training state or converted file, or a bare state dict."""
    if not isinstance(tree, dict):
        return None
    states = {entry: tensors_in(tree.get(entry)) for entry in ("g_ema", "g")} | {"": tensors_in(tree)}
    entry = next((entry for entry, state in states.items() if MARK in state), None)
    if entry is None:
        return None
    mean = tree.get(W_AVG)
    own = {**states[entry], W_AVG: mean} if isinstance(mean, Tensor) else states[entry]
    raw = convolutions(states["g"]) if entry == "g_ema" else {}
    return Found(FORMAT, "StyleGAN2", own, _build, entry, raw)


def _build(tensors: Tensors) -> tuple[StyleGAN2Architecture, dict[str, Tensor]]:
    num_fc, num_blocks = count(tensors, "style.{}.weight", 1), count(tensors, "to_rgbs.{}.conv.weight") + 1
    tensors.drop_filters(STYLEGAN2_FILTER, "kernel")
    named = read_all(_renamings(num_fc, num_blocks), tensors)
    if W_AVG in tensors:
        named["mapping.w_avg"] = _one_row(tensors.take(W_AVG))
    tensors.finish()
    return stylegan2_architecture(named, clamp=None), named


def _one_row(mean: Tensor) -> Tensor:
    """The mean w, which some keep once a row."""
    rows = mean.reshape(-1, mean.shape[-1]) if mean.dim() else mean[None, None]
    if not torch.equal(rows, rows[:1].expand_as(rows)):
        raise CheckpointError(f"{W_AVG}: another w for each layer; zinv has that in StyleGAN1 alone")
    return rows[0].clone()


def _renamings(num_fc: int, num_blocks: int) -> Iterator[Renaming]:
    for i in range(num_fc):
        yield from rename({"weight": "weight", "bias": "bias"}, f"mapping.fc{i}", f"style.{i + 1}")
    yield Renaming("synthesis.b4.const", "input.input", ONE_ROW)
    for k in range(num_blocks):
        block = f"synthesis.b{4 << k}"
        if k:
            yield from _styled(f"{block}.conv0", f"convs.{2 * k - 2}", 2 * k - 1)
        yield from _styled(f"{block}.conv1", f"convs.{2 * k - 1}" if k else "conv1", 2 * k)
        yield from rename(RGB, f"{block}.torgb", f"to_rgbs.{k - 1}" if k else "to_rgb1")


def _styled(ours: str, theirs: str, index: int) -> Iterator[Renaming]:
    yield from rename(STYLED, ours, theirs)
    yield Renaming(f"{ours}.noise_const", f"noises.noise_{index}", MAP)


def state_dict(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """The content of a file that rosinality's code loads."""
    state = write_all(_renamings(arch.mapping_layers, len(arch.channels)), tensors)
    for k in range(1, len(arch.channels)):
        state[f"convs.{2 * k - 2}.conv.blur.kernel"] = STYLEGAN2_FILTER * 4
        state[f"to_rgbs.{k - 1}.upsample.kernel"] = STYLEGAN2_FILTER * 4
    return {"g_ema": state, W_AVG: tensors["mapping.w_avg"]}


def stock_widths(resolution: int) -> Container[tuple[int, ...]]:
    """Widths that rosinality's own code can build: channel multipliers 1 and 2 from 64 pixels on."""
    sides = [4 << k for k in range(resolution.bit_length() - 2)]
    return [tuple(512 if side <= 32 else multiplier * 16384 // side for side in sides) for multiplier in (1, 2)]
