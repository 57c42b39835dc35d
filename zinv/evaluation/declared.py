"""Which contrasts an experiment had declared when each of its runs began: written once a run, never changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from zinv.evaluation.contrasts import Contrast
from zinv.evaluation.files import Json, names, read_json, replace_text, to_json

FIELDS: Final = ("row", "against", "metric", "margin", "direction", "claim", "unit", "test")
Entry = Mapping[str, Json]


def declare(path: Path, folders: Sequence[Path], contrasts: Sequence[Contrast]) -> None:
    """Keep the contrasts for runs that have no entry yet; for one that already has images, that there were none.

    Args:
        path: the experiment's record, a JSON file.
        folders: of its runs, which need not exist.
        contrasts: of its `experiment.yaml`, as it is now.
    """
    record = dict(read_json(path)) if path.is_file() else {}
    known = cast(Json, [_plain(contrast) for contrast in contrasts])
    for folder in folders:
        begun = (folder / "images").is_dir() and bool(names(folder / "images"))
        entry: Entry = {"contrasts": [] if begun else known, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        record.setdefault(_run(folder), entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, to_json(record))


def declared_before(path: Path, runs: Mapping[str, str], contrast: Contrast) -> bool:
    """Whether a contrast stood in the record of both its runs.

    Args:
        path: the experiment's record.
        runs: slug and digits of the run of each row label.
        contrast: as it is now; one that has changed since is another one.
    """
    record = read_json(path) if path.is_file() else {}
    entries = [cast(Entry, record.get(runs.get(label, ""), {})) for label in (contrast.row, contrast.against)]
    return all(_plain(contrast) in cast(Sequence[Json], entry.get("contrasts", ())) for entry in entries)


def _run(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def _plain(contrast: Contrast) -> dict[str, Json]:
    return {field: getattr(contrast, field) for field in FIELDS}
