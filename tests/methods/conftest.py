"""Targets, and methods by the names of their presets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zinv.config import build, compose
from zinv.data.sources import Toy
from zinv.methods.base import Inverter
from zinv.seeding import image_rngs

IDS = ["ada", "ben", "cy", "dee"]
Build = Callable[..., Inverter]
Batches = Callable[[Inverter, Tensor, int], Tensor]


@pytest.fixture
def target() -> Tensor:
    source = Toy(num=4)
    return torch.stack([source.image(i) for i in range(4)])


@pytest.fixture
def method() -> Build:
    """Builds `method=NAME space=NAME` with further overrides on the toy generator."""

    def make(name: str, space: str, *overrides: str) -> Inverter:
        config = compose([f"method={name}", f"space={space}", "generator=toy", *overrides])
        parts = {group: build(config, group) for group in ("generator", "space", "loss")}
        built: Inverter = build(config, "method", **parts)
        return built

    return make


@pytest.fixture
def in_batches() -> Batches:
    """Reconstructs targets, so many at a time."""

    def invert(method: Inverter, target: Tensor, size: int) -> Tensor:
        parts = [slice(start, start + size) for start in range(0, len(target), size)]
        found = [method.invert(target[part], image_rngs(0, IDS[part])) for part in parts]
        return torch.cat([method.reconstruct(inversion).detach() for inversion in found])

    return invert
