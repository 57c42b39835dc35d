"""How far each job of a plan is, from its files and, where SLURM is, its queue. Imports no torch."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from zinv.cluster import slurm
from zinv.errors import ConfigError, StoreError
from zinv.evaluation.claims import is_dead_here, lease_seconds
from zinv.evaluation.files import names, read_json
from zinv.plans.attempts import COUNTED, REASONS, Attempt, attempts
from zinv.plans.plan import Plan, Planned

State = Literal["done", "running", "queued", "failed", "stopped", "set aside", "to do"]
SET_ASIDE: Final = 3


@dataclass(frozen=True)
class Submission:
    """What was submitted at a time: tasks, the SLURM job of their array, and the time limit."""

    path: Path
    tasks: Sequence[Mapping[str, Any]]
    slurm: str | None
    time: str

    def number(self, job: str) -> str | None:
        """The task of a job, as `squeue` names it."""
        for i, task in enumerate(self.tasks):
            if job in task["jobs"] and self.slurm:
                return f"{self.slurm}_{i}"
        return None


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        job: which.
        state: in a word.
        total: images it has to do.
        finished: of these.
        failures: reasons of those that failed, by id.
        reason: of its last end, a key of `REASONS`.
        error: that end in words.
        seconds: an image, in the present or last try.
        left: seconds, if it runs.
        heartbeat: seconds since its last sign of life.
        node: where it runs or ran.
        slurm: its task.
        failed_tries: ends that count as failures.
        batch_size: of the last try, where it was not the configuration's.
    """

    job: Planned
    state: State
    total: int
    finished: int
    failures: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    error: str = ""
    seconds: float | None = None
    left: float | None = None
    heartbeat: float | None = None
    node: str = ""
    slurm: str | None = None
    failed_tries: int = 0
    batch_size: int | None = None

    @property
    def words(self) -> str:
        """State and reason."""
        return f"{self.state}: {REASONS[self.reason]}" if self.reason and self.state != "done" else self.state


def submissions(experiment: Path) -> list[Submission]:
    """All submissions of an experiment, the oldest first."""
    found = []
    for path in sorted((experiment / "submissions").glob("*/submission.json")):
        content: Any = read_json(path, "tasks", "time")
        number = path.parent / "slurm.json"
        job: Any = read_json(number, "job")["job"] if number.is_file() else None
        found.append(Submission(path.parent, content["tasks"], job, str(content["time"])))
    return found


def progress(plan: Plan, jobs: Sequence[Planned] | None = None, sure: bool = False) -> list[Progress]:
    """How far the jobs of a plan are.

    Args:
        plan: whose.
        jobs: which of them; all by default.
        sure: raise where SLURM does not tell its queue; otherwise files alone have to do, with a warning.

    Raises:
        ConfigError: SLURM does not answer, and it has to be known what waits there.
    """
    slurm.last_states.cache_clear()
    sent = submissions(plan.experiment)
    queue = _queue(sent, sure)
    now = file_system_time(plan.experiment)
    listed: dict[str, tuple[set[str], set[str]]] = {}
    return [_progress(plan, job, sent, queue, now, listed) for job in (plan.jobs if jobs is None else jobs)]


def _queue(sent: Sequence[Submission], sure: bool) -> Mapping[str, slurm.Queued]:
    try:
        return slurm.queue([one.slurm for one in sent if one.slurm])
    except ConfigError as error:
        if sure:
            raise
        print(f"warning: {error}", file=sys.stderr)
        return {}


def file_system_time(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder: a server's may go otherwise than ours."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _progress(
    plan: Plan,
    job: Planned,
    sent: Sequence[Submission],
    queue: Mapping[str, slurm.Queued],
    now: float,
    listed: dict[str, tuple[set[str], set[str]]],
) -> Progress:
    tries = attempts(plan.experiment, job.id)
    last = tries[-1] if tries else None
    folder = str(last.facts["folder"]) if last and "folder" in last.facts else job.folder
    total, finished, failures = _images(plan, job, folder, listed)
    task = next((number for one in reversed(sent) if (number := one.number(job.id))), None)
    queued = queue.get(task) if task else None
    place = None if folder is None else _absolute(plan, folder)
    state, reason = _state(job, place, last, task, queued, total - finished, len(failures), now)
    since = 0 if state == "done" else _in_vain(tries, finished, now)
    if state in ("failed", "stopped") and since >= SET_ASIDE:
        state = "set aside"
    seconds = _pace(last, finished)
    return Progress(
        job,
        state,
        total,
        finished,
        failures,
        reason,
        str(last.facts.get("error") or "") if last and state != "done" else "",
        seconds,
        seconds * (total - finished) if seconds is not None and state == "running" else None,
        max(0.0, now - last.path.stat().st_mtime) if last and not last.ended else None,
        (queued.node if queued else "") or (last.node if last else ""),
        task,
        since,
        last.facts.get("batch_size") if last else None,
    )


def _images(
    plan: Plan, job: Planned, folder: str | None, listed: dict[str, tuple[set[str], set[str]]]
) -> tuple[int, int, dict[str, str]]:
    """Number of images, of finished ones, and reasons of failed ones."""
    total = plan.num_images(job)
    if job.training or folder is None:
        return total, 0, {}
    place = _absolute(plan, folder)
    if folder not in listed:
        listed[folder] = (_names(place / "images"), _names(place / "failed"))
    finished, failed = listed[folder]
    if job.shard == (0, 1) and len(finished) >= total and not failed:
        own = plan.ids(job) if len(finished) > total else None
        return total, total if own is None else len(finished.intersection(own)), {}
    ids = plan.ids(job)
    wrong = [name for name in ids if f"{name}.json" in failed and name not in finished]
    return total, len(finished.intersection(ids)), {name: _why(place / "failed" / f"{name}.json") for name in wrong}


def _why(path: Path) -> str:
    try:
        return str(read_json(path).get("reason", ""))
    except StoreError:
        return f"{path}: a record that cannot be read; delete it to try the image again"


def _state(
    job: Planned,
    folder: Path | None,
    last: Attempt | None,
    task: str | None,
    queued: slurm.Queued | None,
    left: int,
    num_failed: int,
    now: float,
) -> tuple[State, str | None]:
    if job.training and folder and (folder / "card.json").is_file():
        return "done", None
    if last and not last.ended and _lives(last, now) and (queued is None or queued.state != "PENDING"):
        return "running", None
    if queued:
        return ("running" if queued.state in ("RUNNING", "COMPLETING") else "queued"), None
    if not job.training and left == 0 and not num_failed and _is_made(job, folder, last):
        return "done", None
    reason = _reason(last, now) if last else _unbegun(task)
    if reason is None:
        return "to do", None  # or it was done, and more is asked for
    return ("stopped" if reason == "stopped" else "failed"), reason


def _unbegun(task: str | None) -> str | None:
    """Why a task ended before its job began: a prologue that fails, no such interpreter, a limit that is too short."""
    return slurm.FAILURES.get(slurm.last_state(task)) if task else None


def _is_made(job: Planned, folder: Path | None, last: Attempt | None) -> bool:
    """Whether scores, edits and records were made too, which come after the last image."""
    if last:
        return last.made(job.asked)
    files = ("records.csv", "edits.csv") if "direction" in job.config else ("records.csv",)
    return folder is not None and all((folder / file).is_file() for file in files)


def _reason(last: Attempt, now: float) -> str | None:
    if last.ended or last.reason:
        return last.reason
    if _lives(last, now):
        return None
    state = slurm.last_state(last.slurm) if last.slurm else ""
    return slurm.FAILURES.get(state, "lost")


def _lives(last: Attempt, now: float) -> bool:
    facts = dict(last.facts)
    return not is_dead_here(facts) and now - last.path.stat().st_mtime <= lease_seconds()


def _in_vain(tries: Sequence[Attempt], finished: int, now: float) -> int:
    """Failures since a try got further: a job that makes progress is not set aside."""
    count = 0
    starts = [int(one.facts.get("before", 0)) for one in tries] + [finished]
    for i, one in enumerate(tries):
        if starts[i + 1] > starts[i]:
            count = 0
        elif _reason(one, now) in COUNTED:
            count += 1
    return count


def _pace(last: Attempt | None, finished: int) -> float | None:
    if last is None or "before" not in last.facts:
        return None
    done = finished - int(last.facts["before"])
    return float(last.facts["seconds"]) / done if done > 0 else None


def _absolute(plan: Plan, folder: str) -> Path:
    return Path(plan.facts["cwd"]) / folder


def _names(folder: Path) -> set[str]:
    return {name for name in names(folder) if not name.startswith(".")} if folder.is_dir() else set()
