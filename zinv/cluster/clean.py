"""`zinv clean`: what serves no one any more, or can be made again, is deleted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from zinv import weights
from zinv.cluster.pilot import KEPT, PICTURES
from zinv.cluster.sync import is_training
from zinv.download import size_text
from zinv.errors import StoreError
from zinv.evaluation.claims import Watcher
from zinv.evaluation.files import SWEPT, read_json
from zinv.plans.attempts import attempts
from zinv.plans.plan import FOLDER, Plan

UNUSED: Final = 7 * 24 * 3600
"""Seconds after its making or its last try from which a plan counts as left behind."""


def clean(runs: str, dry_run: bool = False, keep: str | None = None) -> int:
    """Delete what serves no one any more.

    These are half-written images, claims and owners of ended processes, plans that are neither current nor submitted
    and were not used for a week, offline reports that a later one has replaced, and the pictures that finished
    trainings had drawn for themselves.

    Args:
        runs: folder of runs.
        dry_run: only say what would be deleted.
        keep: with it, also the pictures that this choice of `store.keep` does not keep and that can be made again.

    Raises:
        StoreError: there is no such folder.
    """
    if not Path(runs).is_dir():
        raise StoreError(f"{runs}: no folder of runs.")
    total = 0
    for words, paths in doomed(Path(runs), keep):
        size = sum(map(_size, paths))
        total += size
        print(f"{'would delete' if dry_run else 'deleted'} {words} ({size_text(size)})")
        for path in [] if dry_run else paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    print(f"{size_text(total)} in all")
    return 0


def doomed(runs: Path, keep: str | None = None) -> Iterator[tuple[str, list[Path]]]:
    """What `clean` deletes, in words and as paths."""
    for facts in sorted(runs.glob("*/*/run.json")):
        yield from ((str(path), [path]) for path in _of_run(facts.parent))
        if keep and not _is_at_work(facts.parent) and (found := _pictures(facts.parent, KEPT[keep])):
            yield f"{len(found)} pictures of {facts.parent}", found
    for card in sorted(runs.glob("train/*/card.json")):
        yield from ((str(path), [path]) for path in sorted(card.parent.glob("renders-*")))
    for facts in sorted((runs / FOLDER).glob("*/experiment.json")):
        needed = {str(read_json(facts, "plan")["plan"])}
        sent = facts.parent.glob("submissions/*/submission.json")
        needed |= {str(read_json(path, "plan")["plan"]) for path in sent}
        plans = sorted(path for path in facts.parent.glob("plans/*") if path.name not in needed and not _in_use(path))
        yield from ((str(path), [path]) for path in [*plans, *_replaced(facts.parent)])


def _in_use(plan: Path) -> bool:
    """Whether a `zinv run` or an agent of a sweep may take a job from it yet, of which a plan itself tells nothing."""
    signs = [plan]
    with suppress(StoreError):
        signs += [last.path for job in Plan(plan).jobs for last in attempts(plan.parent.parent, job.id)[-1:]]
    return any(time.time() - path.stat().st_mtime < UNUSED for path in signs)


def _of_run(run: Path) -> Iterator[Path]:
    if not _is_at_work(run):
        yield from sorted((run / "owners").glob("[!.]*"))
        yield from sorted((run / "claims").glob("*"))
        yield from sorted(path for part in SWEPT for path in (run / part).glob(".tmp-*"))
    yield from _replaced(run)


def _is_at_work(run: Path) -> bool:
    """Whether some process may be inverting images of the run."""
    watcher = Watcher(run / "owners")
    return any(watcher.lives(path.name) for path in (run / "owners").glob("[!.]*"))


def _replaced(run: Path) -> list[Path]:
    """Offline reports before the last one; a training's each tell a part of it."""
    return [] if is_training(run) else sorted((run / "wandb").glob("offline-run-*"))[:-1]


def _pictures(run: Path, kept: tuple[str, ...]) -> list[Path]:
    """Pictures of finished images that are not to be kept, but for those that no inversion gives again."""
    found = []
    for name in set(PICTURES) - set(kept):
        for path in sorted(run.glob(f"images/[!.]*/{name}")):
            left_out = weights.metadata(path.with_name("inversion.safetensors")).get("left_out")
            found += [path] if name == "target.png" or not left_out else []
    return found


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
