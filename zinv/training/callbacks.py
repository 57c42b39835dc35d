"""What happens beside the steps of a training: checkpoints that survive a kill, sample sheets, a progress line."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

import lightning as L
import torch
from rich.progress import BarColumn, Progress, TextColumn

from zinv.images import grid, write_png
from zinv.training.base import Batch, Trainee

LAST = "last.ckpt"
LOG_SECONDS = 30.0
STOPS: Final = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send before they end a job."""


class Keep(L.Callback):
    """Saves `last.ckpt` every `minutes` by a temporary name and a rename, and a sheet of samples beside it.

    A signal that asks the process to stop waits for the step to end and for a checkpoint.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self.seconds = folder, 60 * minutes
        self.saved = time.monotonic()
        self.handlers = {number: signal.getsignal(number) for number in STOPS}
        self.stop: int | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Take the signals; Lightning, whose handler talks to ranks that may not have been asked, puts them back."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                signal.signal(number, self._ask)

    def _ask(self, number: int, _: FrameType | None) -> None:
        self.stop = number

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Save if it is time on any rank; end where one was asked to."""
        due = time.monotonic() - self.saved >= self.seconds
        if trainer.strategy.reduce_boolean_decision(due or self.stop is not None, all=False):
            stop = trainer.strategy.reduce_boolean_decision(self.stop is not None, all=False)
            self.save(trainer, module)
            if stop:
                self._end(self.stop or signal.SIGTERM)

    def _end(self, number: int) -> None:
        """What the signal would have done before the training, else what Ctrl-C does."""
        handler = self.handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, None)
        raise KeyboardInterrupt

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Save what is exported."""
        self.save(trainer, module)

    def save(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write the checkpoint now; every rank has to call it."""
        assert isinstance(module, Trainee)
        temporary = self.folder / f".{LAST}"
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self.folder / LAST)
            _draw(module, self.folder / "samples" / f"{module.step:07d}.png")
        self.saved = time.monotonic()


@torch.no_grad()
def _draw(trainee: Trainee, path: Path) -> None:
    trainee.eval()
    pictures = trainee.samples()
    trainee.train()
    if pictures is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(grid(pictures.float().cpu()), path)


class Watch(L.Callback):
    """A rich bar on a terminal, else a line every 30 seconds; logged values go to `training.jsonl`."""

    def __init__(self, folder: Path, log_steps: int = 50, stream: TextIO | None = None) -> None:
        self.path, self.log_steps, self.stream = folder / "training.jsonl", log_steps, stream or sys.stderr
        self.seconds = 0.0
        self.before: dict[str, float] = {}
        self.bar: Progress | None = None

    def state_dict(self) -> dict[str, float]:
        """Seconds trained, over all restarts, and the last of each value, since some are not logged at every step."""
        return {"seconds": self.seconds, **self._values()}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take them over from an earlier part."""
        self.before = {**state_dict}
        self.seconds = self.before.pop("seconds")

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Forget what was logged after the checkpoint that a restart goes on from."""
        assert isinstance(module, Trainee)
        self.trainer = trainer
        self.last = self.spoken = time.monotonic()
        self.first_step, self.first_seconds = module.step, self.seconds
        if trainer.is_global_zero:
            _keep_rows(self.path, module.step)
            self._start_bar(module)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Count, log and speak."""
        assert isinstance(module, Trainee)
        now = time.monotonic()
        self.seconds, self.last = self.seconds + now - self.last, now
        if not trainer.is_global_zero:
            return
        if module.step % self.log_steps == 0:
            self._log(module.step)
        if self.bar:
            self.bar.update(self.bar.task_ids[0], completed=module.step, words=self._words(module))
        elif now - self.spoken >= LOG_SECONDS or module.step == module.num_steps:
            self.spoken = now
            print(self._words(module), file=self.stream, flush=True)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Close the bar."""
        if self.bar:
            self.bar.stop()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self.on_train_end(trainer, module)

    def _start_bar(self, trainee: Trainee) -> None:
        if self.stream.isatty():
            self.bar = Progress(TextColumn(trainee.name), BarColumn(), TextColumn("{task.fields[words]}"))
            self.bar.add_task("", total=trainee.num_steps, completed=trainee.step, words="")
            self.bar.start()

    def _values(self) -> dict[str, float]:
        return {**self.before, **{name: float(value) for name, value in self.trainer.callback_metrics.items()}}

    def _log(self, step: int) -> None:
        row = {"step": step, "seconds": round(self.seconds, 1), **self._values()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _words(self, trainee: Trainee) -> str:
        speed = (trainee.step - self.first_step) / max(self.seconds - self.first_seconds, 1e-9)
        left = timedelta(seconds=round((trainee.num_steps - trainee.step) / max(speed, 1e-9)))
        values = " ".join(f"{name} {value:.4g}" for name, value in self._values().items())
        images = f"{speed * trainee.batch_size:.0f} images/s"
        return f"{trainee.name} {trainee.step}/{trainee.num_steps} {images}, {left} left, {values}"


def _keep_rows(path: Path, step: int) -> None:
    if path.is_file():
        rows = [line for line in path.read_text().splitlines() if json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in rows))
