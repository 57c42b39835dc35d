"""Which rank gets which image: each image once, nothing padded, as many batches on every rank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from zinv.data.base import DataSource, Image

T = TypeVar("T")
WAIT_SECONDS: Final = 0.5


class Batch(NamedTuple):
    """Images of one step; Lightning moves its tensors.

    Attributes:
        ids: names of the N images, row by row.
        target: `(N, 3, R, R)` in [-1, 1]; N is 0 where a rank has nothing left.
        failures: reasons of images that could not be read, which have no row.
        notes: what readers of a result should know, by id.
    """

    ids: list[str]
    target: Tensor
    failures: dict[str, str]
    notes: dict[str, str]

    def parts(self, size: int) -> list[Batch]:
        """Its images, so many at a time."""
        firsts = range(0, len(self.ids), size)
        return [self._replace(ids=self.ids[i : i + size], target=self.target[i : i + size]) for i in firsts]


def shares(items: Sequence[T], num_ranks: int, rank: int) -> list[T]:
    """The items of one rank: every `num_ranks`-th, so that ranks differ by one item at most.

    >>> [shares("abcde", 3, rank) for rank in range(3)]
    [['a', 'd'], ['b', 'e'], ['c']]
    """
    return list(items[rank::num_ranks])


def collate(images: Sequence[Image], resolution: int) -> Batch:
    """Stack the images that could be read; `(0, 3, R, R)` if there is none."""
    pixels = [image.pixels for image in images if image.pixels is not None]
    return Batch(
        ids=[image.id for image in images if image.pixels is not None],
        target=torch.stack(pixels) if pixels else torch.empty(0, 3, resolution, resolution),
        failures={image.id: image.failure for image in images if image.pixels is None},
        notes={image.id: image.note for image in images if image.note},
    )


class RankBatches(Dataset[Batch]):
    """The batches of one rank; item i is its i-th batch.

    A data set of whole batches needs neither a sampler nor a batch sampler, which Lightning would replace and pad.
    Every rank has the same number of them, at the end empty ones where it has less to do.

    Args:
        source: the images.
        ids: those to do, the same on every rank.
        batch_size: images a batch.
        num_ranks: number of processes.
        rank: this process.
    """

    def __init__(
        self, source: DataSource, ids: Sequence[str], batch_size: int = 1, num_ranks: int = 1, rank: int = 0
    ) -> None:
        place = {name: i for i, name in enumerate(source.ids)}
        self.source, self.batch_size = source, batch_size
        self.indices = shares([place[name] for name in ids], num_ranks, rank)
        self.num_batches = math.ceil(math.ceil(len(ids) / num_ranks) / batch_size)

    def __len__(self) -> int:
        """Number of batches, equal on all ranks."""
        return self.num_batches

    def __getitem__(self, index: int) -> Batch:
        """Batch `index` of this rank, empty where nothing is left for it."""
        if not 0 <= index < self.num_batches:
            raise IndexError(index)
        first = index * self.batch_size
        chosen = self.indices[first : first + self.batch_size]
        return collate([self.source[i] for i in chosen], self.source.resolution or 0)


class ClaimedBatches(IterableDataset[Batch]):
    """The batches of one rank, where other runs may be at work on the same images.

    An image is claimed when its batch is made. What another run has is passed over, and looked at again at the end: by
    then it is done, or its claimer is gone and it is taken over, or there is a wait. While it lasts batches are empty:
    who fetches one batch ahead of its work would otherwise hold a claimed image while it waits for another run, which
    may be waiting for that very image. An image that was begun n times
    and never ended comes in a batch of at most `batch_size / 2^n`: a batch that takes longer than the time to the next
    preemption becomes small enough.

    Args:
        source: the images.
        ids: those of this rank that are left.
        take: claims an image; how often it was begun before, or None if it is another's.
        is_done: whether an image is done by now, by whomever.
        batch_size: images a batch.
    """

    def __init__(
        self,
        source: DataSource,
        ids: Sequence[str],
        take: Callable[[str], int | None],
        is_done: Callable[[str], bool],
        batch_size: int = 1,
    ) -> None:
        self.source, self.ids, self.take, self.is_done, self.batch_size = source, ids, take, is_done, batch_size
        self.place = {name: i for i, name in enumerate(source.ids)}

    def __iter__(self) -> Iterator[Batch]:
        """Batches until each image is done, by this run or by another."""
        worker = get_worker_info()
        left = list(self.ids[worker.id :: worker.num_workers] if worker else self.ids)
        while left:
            others: list[str] = []
            for names in self._batches(left, others):
                yield collate([self.source[self.place[name]] for name in names], self.source.resolution or 0)
            if others:
                yield collate([], self.source.resolution or 0)
            if others and len(others) == len(left):
                time.sleep(WAIT_SECONDS)
            left = others

    def _batches(self, names: Sequence[str], others: list[str]) -> Iterator[list[str]]:
        """The names that can be claimed, in batches; those of other runs go to `others`."""
        batch, size = list[str](), self.batch_size
        for name in names:
            begun = None if self.is_done(name) else self.take(name)
            if self.is_done(name):  # also just after the claim: another may have ended in between
                continue
            if begun is None:
                others.append(name)
                continue
            own = max(1, self.batch_size >> begun)
            if len(batch) >= own:
                yield batch
                batch, size = [], self.batch_size
            batch, size = [*batch, name], min(size, own)
            if len(batch) >= size:
                yield batch
                batch, size = [], self.batch_size
        if batch:
            yield batch
