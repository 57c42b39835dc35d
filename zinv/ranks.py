"""The processes of a run: who is first, what they tell one another, and how much memory each has had."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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


def forget_peak(device: torch.device) -> None:
    """Begin anew with the peak of a GPU, or of this process where the system can: several runs may share one."""
    if device.type == "cuda" and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu":
        with suppress(OSError):  # Linux alone
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes since `forget_peak`: of a GPU's allocator, or resident; elsewhere than on Linux since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB
