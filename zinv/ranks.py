"""The processes of a run: who is first, and what they tell one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int
    num_ranks: int
    device: torch.device

    @classmethod
    def alone(cls) -> Ranks:
        """A single process on the CPU."""
        return cls(0, 1, torch.device("cpu"))

    @classmethod
    def from_environment(cls) -> Ranks:
        """Before the processes meet: what the launcher (Lightning, torchrun, srun) says."""
        from lightning.fabric.utilities.rank_zero import rank_zero_only

        return cls(int(getattr(rank_zero_only, "rank", 0) or 0), 1, torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes what there is one of."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part."""
        return list(items[self.rank :: self.num_ranks])

    def barrier(self) -> None:
        """Wait for the others."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if not torch.distributed.is_initialized():
            return [value]
        values: list[T | None] = [None] * self.num_ranks
        torch.distributed.all_gather_object(values, value)
        return [value for value in values if value is not None]
