"""Renders of the portraits domain with what they were rendered from, kept in a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.data.portraits.parameters import Portraits, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.data.sources import FIRST_SEED, Split
from zinv.images import round_8bit
from zinv.training.cache import Cache


class Renders:
    """`num` portraits of `num // per_identity` persons, drawn once.

    Image i shows person `i // per_identity` and has seed `first + i`.

    Args:
        cache: where caches lie.
        num: images.
        per_identity: images of each person.
        split: whose seeds.
        start: first image of the split, and first person.
        resolution: side of the pictures.
    """

    def __init__(
        self,
        cache: Path,
        num: int,
        per_identity: int = 1,
        split: Split = "train",
        start: int = 0,
        resolution: int = 64,
    ) -> None:
        self.source = _Persons(num, per_identity, FIRST_SEED[split] + start, resolution)
        self.cache = Cache(self.source, cache)

    def make(self, processes: int = 1) -> None:
        """Draw the files that are missing."""
        self.cache.make(processes)

    def images(self, indices: Tensor) -> Tensor:
        """Images `(n, 3, R, R)` in [-1, 1]."""
        return self.cache.images(indices)

    @property
    def identity(self) -> Tensor:
        """Identity parameters `(num, I)`."""
        return self.truth.identity

    @property
    def attributes(self) -> Tensor:
        """Attribute parameters `(num, A)`."""
        return self.truth.attributes

    @cached_property
    def truth(self) -> Portraits:
        """Parameters of all portraits."""
        return self.source.portraits(range(len(self.source)))


class _Persons(DataSource):
    """Portraits from seed `first` on, `per_identity` of each person."""

    def __init__(self, num: int, per_identity: int, first: int, resolution: int) -> None:
        self.ids = [str(first + i) for i in range(num)]
        self.per_identity, self.first = per_identity, first
        self.resolution: int = resolution

    def portraits(self, indices: Sequence[int]) -> Portraits:
        """Parameters of some of them."""
        return sample_portraits(
            [self.first + i for i in indices], [self.first + i // self.per_identity for i in indices]
        )

    def image(self, index: int) -> Tensor:
        return self.images([index])[0]

    def images(self, indices: Sequence[int]) -> Tensor:
        return round_8bit(render(self.portraits(indices), self.resolution))

    def origin(self) -> str:
        return json.dumps([self.first, self.per_identity, self.resolution])


def degrade(images: Tensor, rng: torch.Generator) -> Tensor:
    """Half of the images softened or noisy, as reconstructions are; `(N, 3, R, R)` in [-1, 1]."""
    num = len(images)
    soft = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    amount = torch.rand(num, 3, 1, 1, 1, generator=rng).unbind(1)
    mixed = torch.lerp(images, soft, (2 * amount[0] - 1).clamp(min=0))
    noise = torch.randn(images.shape, generator=rng) * 0.1 * (2 * amount[1] - 1).clamp(min=0)
    return (mixed * (0.9 + 0.2 * amount[2]) + noise).clamp(-1, 1)
