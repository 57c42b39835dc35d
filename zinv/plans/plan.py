"""A frozen plan on disk: one line a job, beside the code that its jobs run from. Reading one imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from zinv import __version__
from zinv.errors import StoreError, suggest
from zinv.evaluation.files import read_json, replace_text, to_json

FORMAT: Final = 1
FOLDER: Final = "experiments"
"""In a folder of runs, what holds the plans: `runs/experiments/NAME`."""


@dataclass(frozen=True)
class Planned:
    """One job: a run, a shard of one, or a training that others need.

    Attributes:
        id: eight hex digits of what it computes, with `.2` for shard 2; a run's are those of its folder.
        name: what people read: `bdinvert-zplus-portraits`, or the row's own name.
        config: everything resolved.
        overrides: what it was made from.
        folder: of its run; None while a weight file that counts in its name is not there.
        images: key of its image ids in the plan.
        shard: its place and how many share the images.
        needs: ids of jobs that must have ended well.
        training: whether it trains what others need.
        note: why there is no other job, such as one of another seed.
        rerun: whether it is a row again, on a few images and with another seed.
    """

    id: str
    name: str
    config: dict[str, Any]
    overrides: list[str]
    folder: str | None = None
    images: str = ""
    shard: tuple[int, int] = (0, 1)
    needs: list[str] = field(default_factory=list)
    training: bool = False
    note: str = ""
    rerun: bool = False

    @property
    def run_id(self) -> str:
        """The id without its shard."""
        return self.id.partition(".")[0]

    @property
    def num_processes(self) -> int:
        """Processes that compute it; 0 stands for all devices of a node."""
        trainer = self.config["trainer"]
        devices = 0 if trainer["devices"] == "auto" else int(trainer["devices"])
        return devices * int(trainer["num_nodes"])

    @property
    def asked(self) -> str:
        """Digest of what it makes of its images' inversions, which its id does not tell: scores and edits."""
        content = {group: self.config.get(group) for group in ("protocol", "direction")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]

    def own(self, ids: Sequence[str]) -> list[str]:
        """Its part of the images."""
        return list(ids[self.shard[0] :: self.shard[1]])


@dataclass(frozen=True)
class Plan:
    """Jobs and their code, in `runs/experiments/NAME/plans/<8 hex>`.

    Attributes:
        folder: the plan's own.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Plan:
        """A plan that is there.

        Raises:
            StoreError: none is, or another version of zinv made it.
        """
        plan = cls(folder)
        made = plan.facts.get("format")
        if made != FORMAT:
            raise StoreError(
                f"{folder}: a plan of another version of zinv ({plan.facts.get('version')}, format {made}; this one "
                f"reads format {FORMAT}). Finished images are kept: make a new plan with zinv run or submit."
            )
        return plan

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Version, code digest, working folder, sources and numbers of images."""
        return cast(dict[str, Any], read_json(self.folder / "plan.json"))

    @cached_property
    def jobs(self) -> list[Planned]:
        """In the order of the experiment, trainings first.

        Raises:
            StoreError: the file is damaged.
        """
        return list(self._read())

    @property
    def experiment(self) -> Path:
        """The experiment's run folder."""
        return self.folder.parent.parent

    @property
    def code(self) -> Path:
        """What Python runs jobs from."""
        return self.folder / "code"

    def job(self, name: str) -> Planned:
        """The job of an id, the beginning of one, or a name.

        Raises:
            StoreError: there is none, or several.
        """
        found = [job for job in self.jobs if job.id == name] or [job for job in self.jobs if job.name == name]
        found = found or [job for job in self.jobs if job.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise StoreError(f"{name}: several jobs have this name: {', '.join(job.id for job in found)}.")
        raise StoreError(f"{name}: no job of {self.experiment.name}. {suggest(name, [job.id for job in self.jobs])}")

    def ids(self, job: Planned) -> list[str]:
        """Ids of the images that a job has to do."""
        if not job.images:
            return []
        return job.own((self.folder / "images" / f"{job.images}.txt").read_text(encoding="utf-8").splitlines())

    def num_images(self, job: Planned) -> int:
        """How many these are, without reading them."""
        total = int(self.facts["images"].get(job.images, 0))
        return len(range(job.shard[0], total, job.shard[1]))

    def _read(self) -> Iterator[Planned]:
        path = self.folder / "jobs.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise StoreError(f"{path}: not readable ({error.strerror}).") from error
        for number, line in enumerate(lines, 1):
            try:
                content = json.loads(line)
                yield Planned(**{**content, "shard": tuple(content["shard"])})
            except (ValueError, TypeError, KeyError) as error:
                raise StoreError(f"{path}: line {number} is damaged ({error}). Make the plan anew.") from error


def write(folder: Path, jobs: Sequence[Planned], images: Mapping[str, Sequence[str]], facts: Mapping[str, Any]) -> None:
    """Write a plan's files into a new folder.

    Args:
        folder: the plan's.
        jobs: a line each.
        images: ids by key.
        facts: more for `plan.json`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for key, ids in images.items():
        replace_text(folder / "images" / f"{key}.txt", "".join(f"{name}\n" for name in ids))
    replace_text(folder / "jobs.jsonl", "".join(f"{line(job)}\n" for job in jobs))
    content: dict[str, Any] = {"format": FORMAT, "version": __version__, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    counts = {key: len(ids) for key, ids in images.items()}
    replace_text(folder / "plan.json", to_json({**content, "cwd": os.getcwd(), "images": counts, **facts}))


def line(job: Planned) -> str:
    """A job as its line."""
    return json.dumps(asdict(job), ensure_ascii=False)


def experiment_folder(runs: Path, name: str) -> Path:
    """Where an experiment keeps plans, submissions and logs."""
    return runs / FOLDER / name


def current(folder: Path) -> Plan:
    """The newest plan of an experiment's run folder.

    Raises:
        StoreError: it has none.
    """
    path = folder / "experiment.json"
    if not path.is_file():
        known = [entry.name for entry in folder.parent.glob("*") if entry.is_dir()]
        raise StoreError(f"{folder.name}: no plan of it in {folder.parent}. {suggest(folder.name, known)}")
    return Plan.open(folder / "plans" / str(read_json(path, "plan")["plan"]))
