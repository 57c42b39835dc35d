"""`zinv status` and `zinv logs`: how far an experiment is, and what a job has said. Imports no torch."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from zinv.cluster.state import Progress, progress
from zinv.errors import StoreError, suggest
from zinv.evaluation.progress import clock
from zinv.plans.plan import FOLDER, Plan, current, experiment_folder

WATCH_SECONDS: Final = 5.0
TAIL: Final = 100
SHOWN_FAILURES: Final = 10


def status(name: str, runs: str = "runs", as_json: bool = False, watch: bool = False) -> int:
    """Print how far each job of an experiment is; with `watch` again and again until nothing runs or waits.

    Returns:
        0 if every job is done, else 1.

    Raises:
        StoreError: it has no plan.
    """
    while True:
        plan = current(experiment_folder(Path(runs), name))
        found = progress(plan)
        print(json.dumps([facts(one) for one in found], indent=1) if as_json else _text(plan, found), flush=True)
        if not watch or not any(one.state in ("running", "queued") for one in found):
            return 0 if all(one.state == "done" for one in found) else 1
        time.sleep(WATCH_SECONDS)


def facts(one: Progress) -> dict[str, Any]:
    """A job's progress for scripts."""
    job = {"id": one.job.id, "name": one.job.name, "folder": one.job.folder, "overrides": one.job.overrides}
    own = {key: value for key, value in vars(replace(one)).items() if key != "job"}
    return {**job, **own, "failures": dict(one.failures)}


def _text(plan: Plan, found: Sequence[Progress]) -> str:
    table = Table("job", "name", "state", "images", "failed", "s/image", "left", "heartbeat", "node", box=None)
    for one in found:
        table.add_row(*_cells(one))
    console = Console(width=None if Console().is_terminal else 160)
    with console.capture() as captured:
        console.print(table)
    lines = [captured.get().rstrip(), "", _summary(plan, found)]
    for one in found:
        lines += [f"{one.job.id}: {name}: {why}" for name, why in list(one.failures.items())[:SHOWN_FAILURES]]
        lines += [f"{one.job.id}: {len(one.failures) - SHOWN_FAILURES} more"] * (len(one.failures) > SHOWN_FAILURES)
        lines += [f"{one.job.id}: {one.error}"] * bool(one.error)
    return "\n".join(lines)


def _cells(one: Progress) -> list[str]:
    images = "–" if one.job.training else f"{one.finished}/{one.total}"
    pace = "–" if one.seconds is None else f"{one.seconds:.3g}"
    left = "–" if one.left is None else clock(one.left)
    beat = "–" if one.heartbeat is None else f"{clock(one.heartbeat)} ago"
    return [
        one.job.id,
        one.job.name,
        one.words,
        images,
        str(len(one.failures) or "–"),
        pace,
        left,
        beat,
        one.node or "–",
    ]


def _summary(plan: Plan, found: Sequence[Progress]) -> str:
    states = Counter(one.state for one in found)
    images = f"{sum(one.finished for one in found)} of {sum(one.total for one in found)} images"
    return f"{plan.experiment.name}, plan {plan.folder.name}: {images}; " + ", ".join(
        f"{count} {state}" for state, count in states.items()
    )


def logs(name: str, runs: str = "runs", lines: int = TAIL) -> int:
    """Print the end of what a job has said, in its last task.

    Args:
        name: a job's id, the beginning of one, or its name.
        runs: folder of runs.
        lines: how many.

    Raises:
        StoreError: no such job, or it was never submitted.
    """
    plan, one = _find(name, runs)
    if one.slurm is None:
        raise StoreError(f"{name}: it was not submitted; what zinv run does is said on its own terminal.")
    path = plan.experiment / "logs" / f"{one.slurm}.out"
    if not path.is_file():
        raise StoreError(f"{name}: {path} is not there (yet); its task is {one.words}.")
    print(f"# {path}")
    print("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]))
    return 0


def _readable(runs: Path) -> Iterator[Plan]:
    """The newest plan of each experiment; one that another version of zinv made hides no other."""
    for path in sorted((runs / FOLDER).glob("*/experiment.json")):
        try:
            yield current(path.parent)
        except StoreError as error:
            print(f"warning: {error}", file=sys.stderr)


def _find(name: str, runs: str) -> tuple[Plan, Progress]:
    plans = list(_readable(Path(runs)))
    found = [
        (plan, job) for plan in plans for job in plan.jobs if name in (job.id, job.name) or job.id.startswith(name)
    ]
    exact = [(plan, job) for plan, job in found if name == job.id]
    if len(exact or found) != 1:
        known = [job.id for _, job in found] if found else [job.id for plan in plans for job in plan.jobs]
        raise StoreError(f"{name}: {'several jobs' if found else 'no job'} of this name. {suggest(name, known)}")
    plan, job = (exact or found)[0]
    return plan, progress(plan, [job])[0]
