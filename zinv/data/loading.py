"""Feeding a Trainer: each rank its share of what is left to do."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import lightning as L
from torch.utils.data import DataLoader, Dataset

from zinv.data.base import DataSource
from zinv.data.sampler import Batch, ClaimedBatches, RankBatches, shares
from zinv.errors import DataError


class Shared(NamedTuple):
    """How a run shares its images with others that are at work on them: `take` and `is_done` of `ClaimedBatches`."""

    take: Callable[[str], int | None]
    is_done: Callable[[str], bool]


class ImageModule(L.LightningDataModule):
    """Images that are not finished yet, for `trainer.test` and `trainer.predict`.

    Rank 0 lists what is finished and tells the others, so that all share out the same rest.

    Args:
        source: the images.
        finished: gives the ids that are done.
        batch_size: images a batch on each rank, or what tells it; then rank 0 asks, once, before the first batch.
        num_workers: processes that read ahead on each rank.
        shared: with other runs; by default the images are this run's alone.
    """

    def __init__(
        self,
        source: DataSource,
        finished: Callable[[], Collection[str]] = set,
        batch_size: int | Callable[[], int] = 1,
        num_workers: int = 0,
        shared: Shared | None = None,
    ) -> None:
        super().__init__()
        self.shared = shared
        self.source, self.finished = source, finished
        self.batch_size, self.num_workers = batch_size, num_workers

    def left(self) -> list[str]:
        """Ids that are still to do, in the order of the source."""
        done = set(self.finished())
        return [name for name in self.source.ids if name not in done]

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of this rank.

        Raises:
            DataError: there are more devices than images.
        """
        num_ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        if num_ranks > len(self.source):
            raise DataError(f"trainer.devices={num_ranks}: there are only {len(self.source)} images.")
        left, size = (self.left(), self._size()) if rank == 0 else ([], 0)
        if self.trainer and num_ranks > 1:
            left, size = self.trainer.strategy.broadcast((left, size))
        batches: Dataset[Batch] = RankBatches(self.source, left, size, num_ranks, rank)
        if self.shared:
            batches = ClaimedBatches(self.source, shares(left, num_ranks, rank), *self.shared, size)
        return DataLoader(batches, batch_size=None, num_workers=self.num_workers)

    def _size(self) -> int:
        return self.batch_size() if callable(self.batch_size) else self.batch_size

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of this rank."""
        return self.test_dataloader()
