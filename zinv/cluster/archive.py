"""`zinv archive`: an experiment in one file."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from zinv import weights
from zinv.cluster.state import progress
from zinv.cluster.summary import draw
from zinv.errors import StoreError
from zinv.evaluation.effects import beside
from zinv.evaluation.files import to_json
from zinv.evaluation.formats import format_table
from zinv.evaluation.provenance import versions
from zinv.plans.plan import Plan, current, experiment_folder
from zinv.tables import CONTRASTS, Found, found_tables, of_plan

FORMAT: Final = 1
COMPARED: Final = ("records.csv", "edits.csv")
KEPT: Final = ("config.yaml", "run.json", "times.csv", "layers.png", *COMPARED)
"""Of a run's folder, where it is; of its images, digests."""
SUMS: Final = "SHA256SUMS"


def archive(name: str, runs: str, out: str | None, images: bool = False) -> int:
    """Write plan, code, configurations, records, versions, digests, tables and figures of an experiment into one file.

    Args:
        name: of the experiment.
        runs: folder of runs.
        out: file; `NAME.tar.gz` by default.
        images: put the images' results in too, so that they can be scored again without being made again.

    Raises:
        StoreError: it has no plan, or a job is not done.
    """
    plan = current(experiment_folder(Path(runs), name))
    unfinished = [one.job.id for one in progress(plan) if one.state != "done"]
    if unfinished:
        raise StoreError(f"{name}: {len(unfinished)} jobs are not done ({', '.join(unfinished[:5])}); see zinv status.")
    target = Path(out or f"{name}.tar.gz")
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with tarfile.open(part, "w:gz") as tar:
            for inside, content in _members(plan, images):
                header = tarfile.TarInfo(inside)
                header.size, header.mode = len(content), 0o644
                tar.addfile(header, io.BytesIO(content))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{target}: cannot be written ({error.strerror or error}).") from error
    print(f"{target}: {len(plan.jobs)} jobs, {target.stat().st_size / 1e6:.3g} MB. Run again: zinv reproduce {target}")
    return 0


def _members(plan: Plan, images: bool) -> Iterator[tuple[str, bytes]]:
    folders = _run_folders(plan)
    facts: dict[str, Any] = {"format": FORMAT, "experiment": plan.experiment.name, "images": images}
    yield "archive.json", to_json({**facts, "versions": versions(), "runs": folders}).encode()
    for path in sorted(plan.folder.rglob("*")):
        if path.is_file() and "assets" not in path.parts and "__pycache__" not in path.parts:
            yield f"plan/{path.relative_to(plan.folder).as_posix()}", path.read_bytes()
    for key, folder in folders.items():
        yield from _of_run(key, Path(folder), images)
    yield from _shown(of_plan(plan))


def _run_folders(plan: Plan) -> dict[str, str]:
    """Folders of the runs, by id."""
    return {job.run_id: str(Path(plan.facts["cwd"]) / str(job.folder)) for job in plan.jobs if not job.training}


def _of_run(key: str, folder: Path, images: bool) -> Iterator[tuple[str, bytes]]:
    for file in KEPT:
        if (folder / file).is_file():
            yield f"runs/{key}/{file}", (folder / file).read_bytes()
    yield f"runs/{key}/{SUMS}", sums(folder).encode()
    parts = [path for part in ("images", "failed") for path in sorted((folder / part).rglob("*"))] if images else []
    for path in parts:
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield f"runs/{key}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _shown(found: Found) -> Iterator[tuple[str, bytes]]:
    """Tables and figures, and which contrasts were declared when."""
    tables = found_tables(found)
    yield "table.md", "\n".join(format_table(table, "markdown") for table in tables.values()).encode()
    wide = beside([table for name, table in tables.items() if not name.startswith(CONTRASTS)])
    yield "table.csv", format_table(wide, "csv").encode()
    if found.record.is_file():
        yield "declared.json", found.record.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for _ in draw(found, Path(folder)):
            pass
        for path in sorted(Path(folder).iterdir()):
            yield f"figures/{path.name}", path.read_bytes()


def sums(folder: Path) -> str:
    """Digests of what was found and drawn for each image of a run."""
    files = sorted((folder / "images").glob("[!.]*/*.*"))
    chosen = [path for path in files if path.suffix in (".safetensors", ".png")]
    lines = [f"{_digest(path)}  {path.relative_to(folder)}" for path in chosen]
    return "".join(f"{text}\n" for text in lines)


def _digest(path: Path) -> str:
    """Of the tensors alone in a safetensors file, whose header has its metadata in any order."""
    if path.suffix == ".safetensors":
        return weights.digest(weights.read(path)[0])
    return hashlib.sha256(path.read_bytes()).hexdigest()
