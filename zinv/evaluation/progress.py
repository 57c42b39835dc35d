"""How far a run is: a bar with the time left on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LOG_SECONDS: Final = 30.0


class Progress:
    """Counts images, or the rows of an experiment; only the first process shows one.

    Args:
        total: images of the run.
        done: those finished before.
        num_ranks: processes that work at the same pace; each image of this one stands for so many.
        stream: where to; a terminal gets a bar.
        every: seconds between lines in a log.
        unit: what is counted.
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        num_ranks: int = 1,
        stream: TextIO | None = None,
        every: float = LOG_SECONDS,
        unit: str = "images",
    ) -> None:
        self.total, self.done, self.num_ranks, self.every, self.unit = total, done, num_ranks, every, unit
        self.stream = stream or sys.stderr
        self.before, self.started, self.told = done, time.monotonic(), time.monotonic()
        self.bar = _bar(self.stream) if self.stream.isatty() and done < total else None
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(unit, total=total, completed=done)

    def advance(self, images: int) -> None:
        """Count images that this process has done."""
        self.count(images)
        if not self.bar and time.monotonic() - self.told >= self.every:
            self.told = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def count(self, images: int) -> None:
        """The same, without a line in a log."""
        self.done = min(self.total, self.done + images * self.num_ranks)
        if self.bar:
            self.bar.update(self.task, completed=self.done)

    def line(self) -> str:
        """What a log says: images done, seconds an image, time left."""
        left = clock(self._pace() * (self.total - self.done))
        return f"{self.done}/{self.total} {self.unit}, {self._pace():.3g} s/{self.unit[:-1]}, {left} left"

    def _pace(self) -> float:
        return (time.monotonic() - self.started) / max(1, self.done - self.before)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()


def clock(seconds: float) -> str:
    """Seconds as hours, minutes and seconds.

    >>> clock(3725), clock(59.6)
    ('1:02:05', '1:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(stream: TextIO) -> Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bar(
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what goes into a file is left alone
        redirect_stderr=sys.stderr.isatty(),
    )
