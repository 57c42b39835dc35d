"""`Trainee`: a part that `zinv train` fits, measures and exports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from zinv.seeding import image_rng

Batch: TypeAlias = tuple[Tensor, ...]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class Drawn(Protocol):
    """Pictures on disk, such as `zinv.training.pictures.Pictures`."""

    def make(self, run: Path) -> None:
        """Draw what is missing, for a run folder."""

    def open(self, run: Path) -> None:
        """Be ready to read."""


class Trainee(L.LightningModule, ABC):
    """A network in training.

    Its batch is a function of (seed, step, rank) alone, so a resumed training is the unbroken one.

    A member implements `batch`, `training_step`, `configure_optimizers`, `export` and `measure`, and logs what it
    watches with `self.log`. Its `pictures`, if it has some, are drawn and opened first; whatever else must be on disk
    belongs into Lightning's `prepare_data`, which has `self.folder`.

    Args:
        num_steps: batches to train on.
        batch_size: images a step, over all devices.
        seed: of initial weights, order and draws.
        num_workers: processes that load batches; 0 loads in the training process.
        precision: Lightning's; bf16-mixed takes a third of the time of 32-true on a CPU that has AMX.
    """

    name: str
    stored_half: ClassVar[bool] = True  # the exported file is float16
    max_gradient: ClassVar[float | None] = None  # longer gradients are scaled down to this length
    pictures: Drawn | None = None

    def __init__(
        self,
        num_steps: int,
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        precision: Precision = "bf16-mixed",
    ) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.precision = precision

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """This rank's share of the batch of a step, on the CPU; the same whenever it is asked for."""

    @abstractmethod
    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors of the finished network, and metadata that a loader needs: kind, architecture, what it fits."""

    @abstractmethod
    def measure(self) -> dict[str, float]:
        """Quality on data that was not trained on, for the card."""

    def side_exports(self) -> dict[str, tuple[dict[str, Tensor], dict[str, str]]]:
        """Files by name that are written beside the export, with float16 tensors; none by default."""
        return {}

    def samples(self) -> Tensor | None:
        """Pictures `(N, 3, H, W)` for a sheet that is drawn at each checkpoint; none by default."""
        return None

    def prepare_data(self) -> None:
        """Draw the pictures that are missing."""
        if self.pictures:
            self.pictures.make(self.folder)

    def setup(self, stage: str) -> None:
        """Open them."""
        if self.pictures:
            self.pictures.open(self.folder)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.trainer.default_root_dir)

    @property
    def step(self) -> int:
        """Batches trained on so far, restarts included."""
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.total.processed)  # type: ignore[attr-defined]

    @property
    def share(self) -> int:
        """Images of a step on this rank."""
        return self.batch_size // self.trainer.world_size

    def rng(self, step: int) -> torch.Generator:
        """The CPU generator of this rank's draws in a step."""
        return step_rng(self.seed, step, self.global_rank)

    def indices(self, num: int, step: int) -> Tensor:
        """This rank's share of a step when `num` items are passed over in a new order each epoch."""
        return epoch_order(num, step, self.batch_size, self.seed)[self.global_rank :: self.trainer.world_size]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the step that a restart goes on from, to the last."""
        steps = _Steps(self.batch, self.step, self.num_steps)
        return DataLoader(steps, batch_size=None, num_workers=self.num_workers)


class _Steps(IterableDataset[Batch]):
    """The batches of steps `start` ... `stop - 1` in order, whatever the number of workers."""

    def __init__(self, batch: Callable[[int], Batch], start: int, stop: int) -> None:
        self.batch, self.start, self.stop = batch, start, stop

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        return map(self.batch, range(self.start + first, self.stop, every))


def step_rng(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """A CPU generator that depends on nothing but its arguments."""
    return image_rng(seed, f"step {step} rank {rank}")


def epoch_order(num: int, step: int, batch_size: int, seed: int) -> Tensor:
    """Indices `(batch_size,)` of a step when `num` items are passed over in a new order each epoch.

    >>> sorted(torch.cat([epoch_order(6, step, 3, seed=0) for step in (2, 3)]).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    steps = max(1, num // batch_size)
    start = step % steps * batch_size
    return _shuffled(num, step // steps, seed)[start : start + batch_size]


@lru_cache(maxsize=2)
def _shuffled(num: int, epoch: int, seed: int) -> Tensor:
    return torch.randperm(num, generator=image_rng(seed, f"epoch {epoch}"))
