"""Directions of the toy generator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from zinv.editing.direction import Coordinates, Direction
from zinv.generators import Generator

Make = Callable[..., Direction]


@pytest.fixture
def make(toy: Generator) -> Make:
    """A random direction of the toy in some coordinates, of one row or of all."""

    def direction(coordinates: Coordinates, rows: int = 1, name: str = "smile", seed: int = 0) -> Direction:
        width = sum(toy.style_dims) if coordinates == "s" else 16
        step = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
        return Direction(name, coordinates, step, toy.sha256)

    return direction
