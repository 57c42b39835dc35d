"""The pictures of a training, some of them held out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError
from zinv.training.cache import Cache

HELD_OUT = 256


class Pictures:
    """Pictures in a cache, of which the last tenth, but no more than asked, are not trained on.

    Args:
        data: resized to `resolution` where they have none of their own.
        resolution: of the generator.
        batch_size: images a step.
        mirror: show each picture turned left to right half the time.
        folder: of the cache; the run's own if none is given.
        processes: that draw the cache.
        held_out: at most so many are not trained on.

    Raises:
        DataError: pictures of another resolution, or fewer than a batch.
    """

    def __init__(
        self,
        data: DataSource,
        resolution: int,
        batch_size: int,
        mirror: bool,
        folder: str | None,
        processes: int,
        held_out: int = HELD_OUT,
    ) -> None:
        data.match(resolution)
        self.data, self.mirror, self.folder, self.processes = data, mirror, folder, processes
        self.num = len(data) - min(held_out, len(data) // 10)
        if self.num < batch_size:
            raise DataError(f"model.batch_size={batch_size}: more than the data have pictures to train on, {self.num}.")

    def make(self, run: Path) -> None:
        """Draw what is missing in the cache."""
        self._cache(run).make(self.processes)

    def open(self, run: Path) -> None:
        """Read from the cache."""
        self.cache = self._cache(run)

    def _cache(self, run: Path) -> Cache:
        return Cache(self.data, Path(self.folder) if self.folder else run)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Tensor:
        """Pictures to train on, channels last."""
        images = self.cache.images(indices)
        if self.mirror:
            turned = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
            images = torch.where(turned, images.flip(3), images)
        return images.contiguous(memory_format=torch.channels_last)

    def first(self, num: int) -> Tensor:
        """The first pictures."""
        return self.cache.images(torch.arange(min(num, len(self.data))))

    def held_out(self, num: int = HELD_OUT) -> Tensor:
        """Pictures that are not trained on, or, where there are so few, that are."""
        last = len(self.data)
        return self.cache.images(torch.arange(self.num if self.num < last else 0, last)[:num])
