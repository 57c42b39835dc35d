"""What becomes of a plan's jobs: a file for each try, which its process keeps alive and which says how it ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, cast

from zinv.errors import StoreError, ZinvError
from zinv.evaluation.claims import Heart
from zinv.evaluation.files import Json, names, read_json, replace_text, sweep, to_json

Reason = Literal["memory", "time", "stopped", "images", "error", "lost"]
REASONS: Final[dict[str, str]] = {
    "memory": "out of memory",
    "time": "time limit",
    "stopped": "preempted or cancelled",
    "images": "images failed",
    "error": "error",
    "lost": "died without a word",
}
COUNTED: Final = ("memory", "time", "images", "error", "lost")
"""Ends that count as failures; three of them set a job aside."""
SLURM: Final = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURMD_NODENAME")


class Stopped(BaseException):
    """A signal asked this process to end; `reason` says why, as far as the signal tells.

    Attributes:
        asked: why this process was asked to end; a library that a signal meets may turn the exception into another.
    """

    asked: ClassVar[Reason | None] = None

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason


@dataclass(frozen=True)
class Attempt:
    """One try of a job.

    Attributes:
        path: its file.
        facts: the file's content.
    """

    path: Path
    facts: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """Whether it said how it ended."""
        return bool(self.facts.get("ended"))

    @property
    def reason(self) -> str | None:
        """Why it did not do its job; None if it did."""
        return cast("str | None", self.facts.get("reason"))

    def made(self, asked: str) -> bool:
        """Whether it did all that is asked of its images; what an older one was asked is not known."""
        return self.ended and not self.reason and self.facts.get("asked", asked) == asked

    @property
    def slurm(self) -> str | None:
        """Its job in SLURM's queue, as `squeue` names it: `12_3` in an array."""
        own = self.facts.get("slurm", {})
        if "SLURM_ARRAY_JOB_ID" in own:
            return f"{own['SLURM_ARRAY_JOB_ID']}_{own['SLURM_ARRAY_TASK_ID']}"
        return cast("str | None", own.get("SLURM_JOB_ID"))

    @property
    def node(self) -> str:
        """Where it runs or ran."""
        return str(self.facts.get("slurm", {}).get("SLURMD_NODENAME") or self.facts.get("host", ""))


def folder(experiment: Path, job: str) -> Path:
    """Where the tries of a job are."""
    return experiment / "jobs" / job


def attempts(experiment: Path, job: str) -> list[Attempt]:
    """The tries of a job, the last to give a sign at the end; a file that is damaged counts as one that was lost.

    The order is that of the file system's clock: those of the nodes, which are in the files' names, may differ.
    """
    place = folder(experiment, job)
    found = []
    for name in sorted(_visible(place), key=lambda name: ((place / name).stat().st_mtime_ns, name)):
        try:
            facts = _with_rank(place / name, read_json(place / name))
        except StoreError:
            facts = {"count": -1}
        found.append(Attempt(place / name, facts))
    return found


def _visible(place: Path) -> list[str]:
    return [name for name in names(place) if not name.startswith(".")] if place.is_dir() else []


def _with_rank(path: Path, facts: dict[str, Json]) -> dict[str, Json]:
    """A try with what `rank` noted beside it; how one died without a word SLURM may know better than an error."""
    beside = path.with_name(f".{path.name}.rank")
    note = read_json(beside, "reason", "error") if beside.is_file() else {}
    if note.get("reason") == "error" and not facts.get("ended"):
        note["reason"] = None
    return facts | note


@contextmanager
def rank(experiment: Path, job: str) -> Iterator[None]:
    """Note what ends another process of a job than the first, which only learns that it is alone."""
    try:
        yield
    except BaseException as error:
        reason, tries = reason_of(error), attempts(experiment, job)
        if reason in ("memory", "error") and tries and not tries[-1].ended and _is_now(tries[-1]):
            note = {"reason": reason, "error": f"rank {os.environ.get('SLURM_PROCID', '?')}: {_words(error)}"}
            with suppress(OSError):
                replace_text(tries[-1].path.with_name(f".{tries[-1].path.name}.rank"), to_json(note))
        raise


def _is_now(last: Attempt) -> bool:
    """Whether a try is of the same start of SLURM's task as this process."""
    own = last.facts.get("slurm", {})
    return all(own.get(name) == os.environ.get(name) for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"))


@contextmanager
def attempt(experiment: Path, job: str, **facts: Any) -> Iterator[Heart]:
    """Keep the file of a try while it runs, and write how it ended; the caller says which images failed."""
    slurm = {name: os.environ[name] for name in SLURM if name in os.environ}
    began = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    name = f"{time.time_ns():020d}-{os.getpid()}.json"
    sweep(folder(experiment, job))
    with Heart(folder(experiment, job) / name, {"slurm": slurm, "started": began, **facts}) as heart:
        try:
            yield heart
        except BaseException as error:
            reason = reason_of(error)
            heart.tell(reason=reason, error="" if reason in ("stopped", "time") else _words(error))
            raise


def reason_of(error: BaseException) -> Reason:
    """The reason that an exception stands for."""
    if isinstance(error, Stopped):
        return error.reason
    if Stopped.asked:
        return Stopped.asked
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "stopped"
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return "memory" if is_memory or "can't allocate memory" in str(error) else "error"


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ZinvError) else f"{type(error).__name__}: {text}".rstrip(": ")
