"""`zinv reproduce`: an archived experiment run again, or scored again, from its own code, and what differs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from zinv.cluster.archive import COMPARED, FORMAT, SUMS, sums
from zinv.compare import paired
from zinv.config import Config, compose, identity, load, save
from zinv.errors import ConfigError, StoreError, ZinvError
from zinv.evaluation.provenance import versions
from zinv.evaluation.rows import Row
from zinv.plans import code
from zinv.plans.attempts import attempts
from zinv.plans.plan import FOLDER, Plan, Planned, line

PARTS: Final = (FOLDER, "archived", "runs", "rescored")
"""Folders of a reproduction."""


@dataclass(frozen=True)
class Unpacked:
    """An archive in a folder of its own: what it says of itself, its plan, and its runs in `archived`."""

    facts: Mapping[str, Any]
    root: Path
    plan: Plan

    def archived(self, job: Planned) -> Path:
        """What it holds of a job's run."""
        return self.root / "archived" / job.run_id


def reproduce(
    file: str, to: str | None, overrides: Sequence[str] = (), rescore: bool = False, fresh: bool = False
) -> int:
    """Do an archive's runs again from its own code, in a folder of its own, and print what differs.

    Images that an earlier reproduction there has finished are kept, and counted.

    Args:
        file: what `zinv archive` wrote.
        to: folder; by default `reproduced/NAME`.
        overrides: places on this machine, such as `data.path=PHOTOS`; nothing that moves a number.
        rescore: only score the archived results again.
        fresh: delete what an earlier reproduction left there.

    Returns:
        0 if every record and every digest is the same, else 1.

    Raises:
        StoreError: not an archive, a job failed, or there are no results to score.
    """
    unpacked = _unpack(file, to, fresh)
    if rescore and not unpacked.facts["images"]:
        name = unpacked.facts["experiment"]
        raise StoreError(f"{file}: no results are in it: zinv archive {name} --images keeps them.")
    status = 0
    for job in [job for job in unpacked.plan.jobs if job.shard[0] == 0 and not job.training]:
        folder = _scored(unpacked, job, overrides) if rescore else _again(unpacked, job, overrides)
        lines = list(_differences(unpacked.archived(job), folder))
        status |= bool(lines)
        print(f"{job.id} {job.name}: {'the same, byte for byte' if not lines else ''}".rstrip())
        print("\n".join(f"  {text}" for text in lines), end="\n" if lines else "")
    now = versions()
    for name, version in unpacked.facts["versions"].items():
        if now.get(name) != version:
            print(f"version of {name}: {version} | {now.get(name)}")
    return status


def _unpack(file: str, to: str | None, fresh: bool = False) -> Unpacked:
    try:
        with tarfile.open(file) as tar:
            first = tar.extractfile("archive.json")
            assert first is not None
            facts = json.load(first)
            root = Path(to or Path("reproduced") / str(facts["experiment"]))
            plan = root / FOLDER / str(facts["experiment"]) / "plans" / "archived"
            for part in PARTS if fresh else ():
                shutil.rmtree(root / part, ignore_errors=True)
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
    assets, link = code.package_assets(), plan / "code" / "zinv" / "assets"
    if assets and not link.exists():
        link.symlink_to(assets)
    return Unpacked(facts, root, Plan.open(plan))


def _again(unpacked: Unpacked, job: Planned, overrides: Sequence[str]) -> Path:
    """Run a whole job from the archived code; returns its folder."""
    plan = unpacked.plan
    config = compose([*overrides, f"runs={unpacked.root / 'runs'}"], job.config)
    _check_unmoved(job, config, overrides)
    whole = replace(job, id=job.run_id, shard=(0, 1), folder=None, config=config)
    one = plan.folder / f"{job.run_id}.json"
    one.write_text(line(whole), encoding="utf-8")
    said = _from_its_code(unpacked, "zinv.plans.work", str(plan.folder), str(one))
    tries = attempts(plan.experiment, job.run_id)
    if tries and (before := tries[-1].facts.get("before")):
        print(f"{job.id} {job.name}: {before} images were reproduced here before, and kept; --fresh makes them again")
    folder = Path(str(tries[-1].facts.get("folder", ""))) if tries else Path()
    if not (folder / "records.csv").is_file():
        raise StoreError(f"{job.id} {job.name}: it made no records here: {said}")
    return folder


def _check_unmoved(job: Planned, config: Config, overrides: Sequence[str]) -> None:
    """Raise ConfigError if overrides change what a run computes; what its own files are, only they can tell."""
    try:
        before = identity(job.config)
    except ZinvError:
        return
    now = identity(config)
    if moved := [key for key in before if now.get(key) != before[key]]:
        words = f"changes what {job.name} computes ({', '.join(moved)})"
        raise ConfigError(f"{' '.join(overrides)}: {words}; zinv reproduce takes places on this machine.")


def _scored(unpacked: Unpacked, job: Planned, overrides: Sequence[str]) -> Path:
    """Score a job's archived results anew; returns their folder."""
    before = Path(str(unpacked.facts["runs"][job.run_id]))
    folder = unpacked.root / "rescored" / job.run_id / before.parent.name / before.name
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("scores", "edits", *COMPARED, SUMS)
    shutil.copytree(unpacked.archived(job), folder, ignore=ignored)
    (folder / "failed").mkdir(exist_ok=True)
    save(compose([*overrides, f"runs={folder.parents[1]}"], load(folder / "config.yaml")), folder / "config.yaml")
    said = _from_its_code(unpacked, "zinv", "score", str(folder))
    if not (folder / "records.csv").is_file():
        raise StoreError(f"{job.id} {job.name}: it was not scored here: {said}")
    return folder


def _from_its_code(unpacked: Unpacked, *words: str) -> str:
    """Run a module of the archived code; returns the last line of what it complained of."""
    environment = {**os.environ, **code.environment(unpacked.plan.code)}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (done.stderr.strip().splitlines() or ["nothing was said"])[-1]


def _differences(before: Path, folder: Path) -> Iterator[str]:
    """A line for each thing that is not as it was archived."""
    for file in COMPARED:  # edits are not made again where results are only scored
        one, other = before / file, folder / file
        if one.is_file() and other.is_file() and one.read_bytes() != other.read_bytes():
            lines = list(paired(Row.read(before), Row.read(folder))) if file == "records.csv" else []
            yield from lines or [f"{file}: lines differ that are no metric (commit, code, settings or edits)"]
    old, new = _by_name((before / SUMS).read_text(encoding="utf-8")), _by_name(sums(folder))
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if changed:
        yield f"{len(changed)} of {len(old)} files of images differ, such as {changed[0]}"


def _by_name(text: str) -> dict[str, str]:
    """Digests by file."""
    parts = [one.partition("  ") for one in text.splitlines()]
    return {name: digest for digest, _, name in parts}
