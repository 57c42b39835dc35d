"""The prior of w behind the tensors of a generator, drawn within little memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn

from zinv.generators.base import Unfilled, fill
from zinv.generators.checkpoints.base import GeneratorArchitecture
from zinv.networks import stylegan1, stylegan2

BATCH: Final = 100


@torch.no_grad()
def prior(arch: GeneratorArchitecture, tensors: Mapping[str, Tensor], num: int, seed: int) -> tuple[Tensor, float]:
    """Mean `(w_dim,)` of mapped normal draws, and their root mean square distance from it; over all layers' w."""
    network = _mapping(arch)
    own = {name: x for name, x in tensors.items() if name.startswith("mapping.")}
    fill({"mapping": network}, {"mapping.w_avg": torch.zeros(arch.w_dim), **own})
    rng = torch.Generator().manual_seed(seed)
    total, square, count = torch.zeros(arch.w_dim, dtype=torch.float64), 0.0, 0
    for start in range(0, num, BATCH):
        w = network(torch.randn(min(BATCH, num - start), arch.z_dim, generator=rng)).reshape(-1, arch.w_dim)
        total += w.sum(0)
        square, count = square + float(w.square().sum()), count + len(w)
    mean = total / count
    return mean.float(), max(square / count - float(mean.square().sum()), 0.0) ** 0.5


def give_back() -> None:
    """Return freed memory to the system, where the C library can: many tensors of a size leave holes in its heap."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def _mapping(arch: GeneratorArchitecture) -> nn.Module:
    with Unfilled():
        if isinstance(arch, stylegan1.StyleGAN1Architecture):
            return stylegan1.MappingNetwork(arch)
        return stylegan2.MappingNetwork(arch)
