"""Processes that do tasks side by side, each process one task after another."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Final, Generic, TypeVar

import torch

from zinv.errors import ZinvError

FAILED: Final = 2
"""Exit status of a task that an error ended."""
PATIENCE: Final = 5.0
"""Seconds that a process has for its end before it is killed."""
Task = TypeVar("Task")


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its exit status, what it printed, and the error that ended it, if one did."""

    status: int
    printed: str = ""
    error: str = ""


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if given := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return given.split(",")
    return [str(i) for i in range(torch.cuda.device_count())]


def _gpu_of(place: int) -> str | None:
    """The one of several GPUs that a process has."""
    gpus = visible_gpus()
    return gpus[place % len(gpus)] if len(gpus) > 1 else None


def side_by_side(
    work: Callable[[Task], int],
    tasks: Sequence[Task],
    num: int,
    started: Callable[[int], None],
    ended: Callable[[int, Outcome], None],
) -> None:
    """Do tasks in `num` processes, which share cores and GPUs; they end with this call, however it ends.

    Args:
        work: a function of a module, task to exit status. An exception, or the end of its process, is an outcome.
        tasks: begun in this order.
        num: processes.
        started: told the place of a task that begins.
        ended: told the place and outcome of a task that has ended.
    """
    waiting, hired = deque(enumerate(tasks)), list[_Worker[Task]]()
    busy: dict[Connection[Task, Outcome], _Worker[Task]] = {}

    def begin(worker: _Worker[Task]) -> None:
        place, task = waiting.popleft()
        busy[worker.pipe] = worker
        started(place)
        worker.begin(place, task)

    try:
        while waiting or busy:
            while waiting and len(busy) < num:
                hired.append(_Worker(work, max(1, num_cores() // num), _gpu_of(len(hired))))
                begin(hired[-1])
            ready = wait([*busy])
            for worker in [worker for pipe, worker in busy.items() if pipe in ready]:
                del busy[worker.pipe]
                ended(worker.place, worker.outcome())
                if waiting and worker.process.is_alive():
                    begin(worker)
    finally:
        for worker in busy.values():
            worker.process.terminate()
        for worker in hired:
            worker.leave()


class _Worker(Generic[Task]):
    """A process, and this end of its pipe."""

    def __init__(self, work: Callable[[Task], int], threads: int, gpu: str | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.place = -1
        self.pipe: Connection[Task, Outcome]
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, threads, gpu))
        with _ignoring_interrupts():
            self.process.start()
        theirs.close()

    def begin(self, place: int, task: Task) -> None:
        self.place = place
        try:
            self.pipe.send(task)
        except OSError:
            pass  # it has died: `outcome` says so

    def outcome(self) -> Outcome:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            return Outcome(FAILED, error=f"its process {how}.")

    def leave(self) -> None:
        self.pipe.close()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """A process started inside ignores Ctrl-C, which a terminal sends to all: the one that started it stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection[Outcome, Task], work: Callable[[Task], int], threads: int, gpu: str | None) -> None:
    """What a process does until its pipe is closed or it is told to stop; it sees one GPU of several."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            pipe.send(_outcome(work, pipe.recv()))
    except (EOFError, OSError, KeyboardInterrupt, SystemExit):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _outcome(work: Callable[[Task], int], task: Task) -> Outcome:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            status = work(task)
        return Outcome(status, printed.getvalue())
    except ZinvError as error:
        return Outcome(FAILED, printed.getvalue(), " ".join(str(error).split()))
    except Exception:  # a defect of a part: the others go on
        return Outcome(FAILED, printed.getvalue(), traceback.format_exc().strip())
