"""What a Trainer does with inversions: each image's result goes into the store while the next batch is inverted."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lightning as L
import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.data.sampler import Batch
from zinv.evaluation.files import Json
from zinv.evaluation.progress import Progress
from zinv.evaluation.store import Run
from zinv.images import pixels_sha256
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion

WRITERS: Final = 4


class StoreWriter(L.Callback):
    """Writes results, reasons and times of this process's images; shows progress on the first.

    Files are written by threads, at most a batch behind; whatever ends the run, what was inverted is written first.

    Args:
        path: the run folder.
        source: the images.
        keep: what of a result, as `StoreSettings` has it.

    Attributes:
        count: images that this process has finished or failed.
        inverted: images that it has inverted, and `seconds` the time that they took.
    """

    def __init__(self, path: Path, source: DataSource, keep: str = "images"):
        self.path, self.source, self.keep, self.count = path, source, keep, 0
        self.inverted, self.seconds = 0, 0.0
        self.writers, self.pending = ThreadPoolExecutor(WRITERS), list[Future[bool]]()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.strategy.barrier()
        facts = Run.open(self.path).facts
        self.run = Run.open(self.path, str(facts["code"][-1]))  # type: ignore[index]
        done = len(self.run.finished() & set(self.source.ids))
        self.progress = Progress(len(self.source), done, trainer.world_size) if trainer.is_global_zero else None

    def on_predict_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.started = time.monotonic()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Inversion | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, Inverter)
        for name, reason in batch.failures.items():
            self.run.fail(name, reason, "data")
        if outputs is not None:
            taken = time.monotonic() - self.started
            self.inverted, self.seconds = self.inverted + len(batch.ids), self.seconds + taken
            seconds = taken / len(batch.ids)
            times: dict[str, float | int] = {"seconds": round(seconds, 3), "rank": trainer.global_rank}
            settle(self.pending)
            self.pending = write_batch(self.writers, self.run, pl_module, outputs, batch, times, self.keep)
        self.count += len(batch.ids) + len(batch.failures)
        if self.progress and (batch.ids or batch.failures):
            self.progress.advance(len(batch.ids) + len(batch.failures))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        settle(self.pending)
        self.writers.shutdown()
        if self.progress:
            self.progress.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.writers.shutdown()
        if getattr(self, "progress", None):
            self.progress.close()  # type: ignore[union-attr]


def settle(pending: Iterable[Future[bool]]) -> None:
    """Wait until results are written.

    Raises:
        StoreError: one could not be.
    """
    for future in pending:
        future.result()


@torch.no_grad()
def write_batch(
    writers: Executor,
    run: Run,
    method: Inverter,
    inversion: Inversion,
    batch: Batch,
    times: dict[str, float | int],
    keep: str = "images",
) -> list[Future[bool]]:
    """Let each image of a batch be stored; a picture that its inversion cannot give again is kept in any case."""
    images, pending = method.reconstruct(inversion).cpu(), list[Future[bool]]()
    for i, name in enumerate(batch.ids):
        digest = pixels_sha256(batch.target[i])
        if i in inversion.failures:
            run.fail(name, inversion.failures[i], "inversion", digest)
            continue
        tensors, metadata = inversion.image(i)
        tensors = {name: tensor.cpu() for name, tensor in tensors.items()}
        result: dict[str, Json] = {
            "target_sha256": digest,
            "losses": {term: float(value[i]) for term, value in inversion.losses.items()},
            "num_steps": method.num_steps if inversion.steps is None else int(inversion.steps[i]),
            "scalars": method.num_scalars(),
            "facts": {key: float(value[i]) for key, value in inversion.facts.items()},
            "note": "; ".join(filter(None, (batch.notes.get(name), inversion.notes.get(i)))),
        }
        target = batch.target[i].cpu() if keep == "all" else None
        picture = keep != "codes" or not inversion.keeps_weights
        parts = (tensors, metadata, images[i], result, _trace(inversion, i), times, target, picture)
        pending.append(writers.submit(run.finish, name, *parts))
    return pending


def _trace(inversion: Inversion, index: int) -> dict[str, Sequence[float]] | None:
    if inversion.trace is None:
        return None
    return {name: _column(values, index) for name, values in inversion.trace.items()}


def _column(values: Tensor, index: int) -> list[float]:
    return (values if values.dim() == 1 else values[:, index]).tolist()


def quiet() -> None:
    """Leave out what Lightning says about loggers, samplers and devices."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    words = "num_workers|GPU available|sampler|predict_dataloader|treespec|Total length of|predict returned None|srun"
    warnings.filterwarnings("ignore", message=f".*({words})")


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops at once, as Ctrl-C does, unless it is listened to; Lightning would make a note of it and go on."""
    if threading.current_thread() is not threading.main_thread() or callable(signal.getsignal(signal.SIGTERM)):
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
