"""`zinv archive` and `zinv reproduce`: an experiment in one file, and what differs when it is run again from it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from zinv import weights
from zinv.cluster.state import progress
from zinv.compare import paired
from zinv.config import compose
from zinv.errors import StoreError
from zinv.evaluation.files import to_json
from zinv.evaluation.formats import format_table
from zinv.evaluation.provenance import versions
from zinv.evaluation.rows import Row
from zinv.evaluation.table import make_table
from zinv.plans import code
from zinv.plans.plan import Plan, Planned, current, experiment_folder, line

FORMAT: Final = 1
KEPT: Final = ("config.yaml", "run.json", "records.csv", "times.csv")
"""Of a run's folder; its images are kept as digests."""


def archive(name: str, runs: str, out: str | None) -> int:
    """Write an experiment's plan, code, configurations, records, versions, digests and tables into one file.

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
            for inside, content in _members(plan):
                header = tarfile.TarInfo(inside)
                header.size, header.mode = len(content), 0o644
                tar.addfile(header, io.BytesIO(content))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{target}: cannot be written ({error.strerror or error}).") from error
    print(f"{target}: {len(plan.jobs)} jobs, {target.stat().st_size / 1e6:.3g} MB. Run again: zinv reproduce {target}")
    return 0


def _members(plan: Plan) -> Iterator[tuple[str, bytes]]:
    folders = _run_folders(plan)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "experiment": plan.experiment.name,
        "versions": versions(),
        "runs": folders,
    }
    yield "archive.json", to_json({**facts, "versions": versions()}).encode()
    for path in sorted(plan.folder.rglob("*")):
        if path.is_file() and "assets" not in path.parts and "__pycache__" not in path.parts:
            yield f"plan/{path.relative_to(plan.folder).as_posix()}", path.read_bytes()
    rows = []
    for key, folder in folders.items():
        for file in KEPT:
            yield f"runs/{key}/{file}", (Path(folder) / file).read_bytes()
        yield f"runs/{key}/SHA256SUMS", _sums(Path(folder)).encode()
        rows.append(Row.read(Path(folder)))
    table = make_table(rows)
    yield "table.md", format_table(table, "markdown").encode()
    yield "table.csv", format_table(table, "csv").encode()


def _run_folders(plan: Plan) -> dict[str, str]:
    """Folders of the runs, by id."""
    return {job.run_id: str(Path(plan.facts["cwd"]) / str(job.folder)) for job in plan.jobs if not job.training}


def _sums(folder: Path) -> str:
    """Digests of what was found and drawn for each image."""
    files = sorted((folder / "images").glob("[!.]*/*.*"))
    chosen = [path for path in files if path.suffix in (".safetensors", ".png")]
    lines = [f"{_digest(path)}  {path.relative_to(folder)}" for path in chosen]
    return "".join(f"{text}\n" for text in lines)


def _digest(path: Path) -> str:
    """Of the tensors alone in a safetensors file, whose header has its metadata in any order."""
    if path.suffix == ".safetensors":
        return weights.digest(weights.read(path)[0])
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reproduce(file: str, to: str | None, overrides: Sequence[str] = ()) -> int:
    """Run an archive again from its own code, in a folder of its own, and print what differs.

    Args:
        file: what `zinv archive` wrote.
        to: folder; by default `reproduced/NAME`.
        overrides: places on this machine, such as `data.path=PHOTOS`; nothing that moves a number.

    Returns:
        0 if every record and every digest is the same, else 1.

    Raises:
        StoreError: not an archive, or a job failed.
    """
    facts, root = _unpack(file, to)
    plan = Plan.open(root / "experiments" / str(facts["experiment"]) / "plans" / "archived")
    status = 0
    for job in [job for job in plan.jobs if job.shard[0] == 0]:
        folder = _again(plan, root, job, overrides)
        lines = list(_differences(root / "archived" / job.run_id, folder))
        status |= bool(lines)
        print(f"{job.id} {job.name}: {'the same, byte for byte' if not lines else ''}".rstrip())
        print("\n".join(f"  {text}" for text in lines), end="\n" if lines else "")
    now = versions()
    before: Mapping[str, str] = facts["versions"]
    for name, version in before.items():
        if now.get(name) != version:
            print(f"version of {name}: {version} | {now.get(name)}")
    return status


def _unpack(file: str, to: str | None) -> tuple[dict[str, Any], Path]:
    """The archive's facts, and the folder with its plan and records."""
    try:
        with tarfile.open(file) as tar:
            first = tar.extractfile("archive.json")
            assert first is not None
            facts = json.load(first)
            root = Path(to or Path("reproduced") / str(facts["experiment"]))
            plan = root / "experiments" / str(facts["experiment"]) / "plans" / "archived"
            for member in tar:
                head, _, rest = member.name.partition("/")
                place = {"plan": plan, "runs": root / "archived"}.get(head)
                if place is not None and member.isreg() and ".." not in Path(rest).parts:
                    (place / rest).parent.mkdir(parents=True, exist_ok=True)
                    (place / rest).write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    except (OSError, tarfile.TarError, KeyError, ValueError, EOFError) as error:
        raise StoreError(f"{file}: not an archive of zinv archive ({error}).") from error
    if facts.get("format") != FORMAT:
        raise StoreError(f"{file}: an archive of another version of zinv (format {facts.get('format')}).")
    assets = code.package_assets()
    link = plan / "code" / "zinv" / "assets"
    if assets and not link.exists():
        link.symlink_to(assets)
    return facts, root


def _again(plan: Plan, root: Path, job: Planned, overrides: Sequence[str]) -> Path:
    """Run a whole job from the archived code; returns its folder."""
    config = compose([*overrides, f"runs={root / 'runs'}"], job.config)
    whole = replace(job, id=job.run_id, shard=(0, 1), folder=None, config=config)
    one = plan.folder / f"{job.run_id}.json"
    one.write_text(line(whole), encoding="utf-8")
    environment = {**os.environ, **code.environment(plan.code)}
    command = [sys.executable, "-m", "zinv.plans.work", str(plan.folder), str(one)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = list((root / "runs").glob(f"*/{job.run_id}/records.csv"))
    if not found:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise StoreError(f"{job.id} {job.name}: it made no records here: {said}")
    return found[0].parent


def _differences(before: Path, folder: Path) -> Iterator[str]:
    if (before / "records.csv").read_bytes() != (folder / "records.csv").read_bytes():
        lines = list(paired(Row.read(before), Row.read(folder)))
        yield from lines or ["records.csv: its comment lines differ (commit, code or settings)"]
    old, new = _by_name((before / "SHA256SUMS").read_text(encoding="utf-8")), _by_name(_sums(folder))
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if changed:
        yield f"{len(changed)} of {len(old)} files of images differ, such as {changed[0]}"


def _by_name(sums: str) -> dict[str, str]:
    """Digests by file."""
    parts = [line.partition("  ") for line in sums.splitlines()]
    return {name: digest for digest, _, name in parts}
