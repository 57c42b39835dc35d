"""`zinv sync` uploads what runs told Weights & Biases offline; `zinv clean` deletes what nothing needs any more."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from zinv.download import size_text
from zinv.errors import StoreError
from zinv.evaluation.claims import Watcher
from zinv.evaluation.files import read_json, replace_text
from zinv.plans.plan import FOLDER

MARK: Final = "zinv-synced"


def sync(runs: str) -> int:
    """Upload each run's last report, once: a start that came later tells all that those before told.

    Returns:
        0, or 1 if an upload failed; the same command again tries only those.

    Raises:
        StoreError: there is no such folder.
    """
    if not Path(runs).is_dir():
        raise StoreError(f"{runs}: no folder of runs.")
    found = dict(offline(Path(runs)))
    new = {run: folder for run, folder in found.items() if not is_synced(run, folder)}
    failed = [folder for run, folder in new.items() if not _upload(run, folder)]
    print(f"{len(new) - len(failed)} runs uploaded, {len(found) - len(new)} were before, {len(failed)} failed.")
    return 1 if failed else 0


def offline(runs: Path) -> Iterator[tuple[Path, Path]]:
    """Run folders, each with the newest of what it told W&B offline."""
    for place in sorted({path.parent for path in runs.glob("**/wandb/offline-run-*")}):
        yield place.parent, max(place.glob("offline-run-*"), key=lambda path: path.name)


def is_synced(run: Path, folder: Path) -> bool:
    """Whether this very report was uploaded."""
    mark = run / "wandb" / MARK
    return mark.is_file() and mark.read_text(encoding="utf-8").strip() == folder.name


def _upload(run: Path, folder: Path) -> bool:
    command = [sys.executable, "-m", "wandb", "sync", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        print(f"error: {run}: not uploaded: {said}", file=sys.stderr)
        return False
    replace_text(run / "wandb" / MARK, f"{folder.name}\n")
    return True


def clean(runs: str, dry_run: bool = False) -> int:
    """Delete what serves no one any more.

    These are half-written images, claims and owners of ended processes, plans that are neither current nor submitted,
    and offline reports that a later one has replaced.

    Raises:
        StoreError: there is no such folder.
    """
    if not Path(runs).is_dir():
        raise StoreError(f"{runs}: no folder of runs.")
    total = 0
    for path in doomed(Path(runs)):
        size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
        total += size
        print(f"{'would delete' if dry_run else 'deleted'} {path} ({size_text(size)})")
        if not dry_run:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"{size_text(total)} in all")
    return 0


def doomed(runs: Path) -> Iterator[Path]:
    """What `clean` deletes."""
    for facts in sorted(runs.glob("*/*/run.json")):
        yield from _of_run(facts.parent)
    for facts in sorted((runs / FOLDER).glob("*/experiment.json")):
        needed = {str(read_json(facts)["plan"])}
        needed |= {str(read_json(path)["plan"]) for path in facts.parent.glob("submissions/*/submission.json")}
        yield from (path for path in sorted(facts.parent.glob("plans/*")) if path.name not in needed)


def _of_run(run: Path) -> Iterator[Path]:
    watcher = Watcher(run / "owners")
    owners = [path for path in sorted((run / "owners").glob("*")) if not path.name.startswith(".")]
    if not any(watcher.lives(path.name) for path in owners):
        yield from owners
        yield from sorted((run / "claims").glob("*"))
        yield from sorted((run / "images").glob(".tmp-*"))
    yield from _replaced(sorted((run / "wandb").glob("offline-run-*")))


def _replaced(reports: Sequence[Path]) -> Iterator[Path]:
    yield from reports[:-1]
