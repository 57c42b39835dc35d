"""`zinv sync`: what runs told Weights & Biases offline is uploaded, each report once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zinv.cluster.summary import summarise
from zinv.errors import StoreError
from zinv.evaluation.files import replace_text

MARK: Final = "zinv-synced"


def sync(runs: str) -> int:
    """Tell of experiments as a whole, then upload what was told offline, each report once.

    A run's later start tells all that those before told, so that its last report is enough; a training's tells what
    came after.

    Returns:
        0, or 1 if an upload failed; the same command again tries only those.

    Raises:
        StoreError: there is no such folder.
    """
    if not Path(runs).is_dir():
        raise StoreError(f"{runs}: no folder of runs.")
    summarise(Path(runs))
    found = list(offline(Path(runs)))
    new = [folder for folder in found if not is_synced(folder)]
    failed = [folder for folder in new if not _upload(folder)]
    print(f"{len(new) - len(failed)} reports uploaded, {len(found) - len(new)} were before, {len(failed)} failed.")
    return 1 if failed else 0


def offline(runs: Path) -> Iterator[Path]:
    """What was told W&B offline and is to be uploaded, the oldest of a run first."""
    places = {path.parent for depth in ("", "*/", "*/*/") for path in runs.glob(f"{depth}wandb/offline-run-*")}
    for place in sorted(places):
        reports = sorted(place.glob("offline-run-*"))
        yield from (report for report in reports[0 if is_training(place.parent) else -1 :] if report.is_dir())


def is_training(run: Path) -> bool:
    """Whether a folder is that of a training."""
    return run.resolve().parent.name == "train"


def is_synced(folder: Path) -> bool:
    """Whether this very report was uploaded."""
    mark = folder.parent / MARK
    return mark.is_file() and folder.name in mark.read_text(encoding="utf-8").split()


def _upload(folder: Path) -> bool:
    mark = folder.parent / MARK
    before = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    append = ["--append"] if before and is_training(folder.parents[1]) else []
    command = [sys.executable, "-m", "wandb", "sync", *append, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        print(f"error: {folder.parents[1]}: not uploaded: {said}", file=sys.stderr)
        return False
    replace_text(mark, f"{before}{folder.name}\n")
    return True
