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


def in_batches(method: Inverter, target: Tensor, size: int) -> Tensor:
    """Reconstructions, `size` images at a time."""
    images = []
    for start in range(0, len(target), size):
        part = slice(start, start + size)
        images.append(method.reconstruct(method.invert(target[part], image_rngs(0, IDS[part]))).detach())
    return torch.cat(images)
