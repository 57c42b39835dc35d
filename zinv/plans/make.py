"""From an experiment's rows to a frozen plan."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from zinv.config import Config, Experiment, build, compose, missing_needs, run_folder, short_name, slug
from zinv.config.identity import digest
from zinv.config.selection import Selected
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation import provenance
from zinv.evaluation.files import clear_errors, read_json, replace_text, to_json
from zinv.plans import code
from zinv.plans.plan import Plan, Planned, experiment_folder, line, write
from zinv.presets import locate
from zinv.run import foreign_modules
from zinv.train import configure, training_folder

UNMOVING: Final = ("runs", "name")
"""Settings of a run that move nothing of it."""


def plan_jobs(selected: Selected, shards: int = 1, configs: Sequence[Config] | None = None) -> list[Planned]:
    """The jobs of an experiment's rows, and before them the trainings that it needs and that were not done.

    A row that another row makes too runs once; so does one that differs by a seed that it does not use.

    Raises:
        ConfigError: an unknown key or choice, or a value of the wrong type.
        DataError: images are missing.
    """
    rows = selected.rows
    needs = [_training(need.command, need.file) for need in missing_needs(selected.experiment)]
    jobs: dict[str, Planned] = {}
    for row, config in zip(rows, configs or [compose(row) for row in rows], strict=True):
        job = _run(row, config)
        if before := jobs.get(_sameness(job)):
            jobs[_sameness(job)] = replace(before, note=_note(before, job))
        else:
            jobs[_sameness(job)] = replace(job, needs=[need.id for need in needs])
    return [*needs, *(part for job in jobs.values() for part in _shards(job, shards))]


def freeze(selected: Selected, jobs: Sequence[Planned], runs: Path | None = None) -> Plan:
    """Write the plan of jobs into the experiment's run folder; the same jobs and code make the same plan.

    Raises:
        StoreError: another experiment of this name has its plans there, or the folder cannot be written.
    """
    first = next(job for job in jobs if not job.training or len(jobs) == 1)
    folder = experiment_folder(runs or Path(first.config["runs"]), selected.experiment.name)
    origin = str(selected.experiment.folder.resolve()) if selected.experiment.folder != Path() else "grid"
    _check_name(folder, origin)
    modules = {name for job in jobs for name in foreign_modules(job.config)} if jobs else set()
    content = [line(job) for job in jobs]
    name = digest({"jobs": content, "code": provenance.code_digest(modules)})[:8]
    target = folder / "plans" / name
    with clear_errors(folder):
        if not (target / "plan.json").is_file():
            _write(target, selected.experiment, jobs, modules, origin)
        replace_text(folder / "experiment.json", to_json({"plan": name, "from": origin}))
    return Plan.open(target)


def _write(target: Path, experiment: Experiment, jobs: Sequence[Planned], modules: set[str], origin: str) -> None:
    """Written beside its place and renamed, so that a plan is whole or absent."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    images: dict[str, list[str]] = {}
    for job in jobs:
        if job.images and job.images not in images:
            images[job.images] = list(build(job.config, "data").ids)
    code.freeze(part / "code", modules)
    if (experiment.folder / "experiment.yaml").is_file():
        shutil.copy2(experiment.folder / "experiment.yaml", part / "experiment.yaml")
    (part / "sweep.yaml").write_text(wandb_sweep(experiment.name, target, jobs), encoding="utf-8")
    facts = {"experiment": experiment.name, "from": origin, "code": provenance.code_digest(modules)}
    write(part, jobs, images, facts)
    try:
        part.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(part)  # somebody else has just made the same


def wandb_sweep(name: str, target: Path, jobs: Sequence[Planned]) -> str:
    """The plan as a sweep of W&B: its agents take jobs by id and run them from the plan's code.

    `wandb sweep FILE` registers it; `wandb agent --count 1 SWEEP` in a SLURM job does one.
    """
    variables = [f"{key}={value}" for key, value in code.environment(target / "code").items()]
    command = ["${env}", *variables, sys.executable, "-m", "zinv.plans.work", str(target.resolve())]
    parameters = {"job": {"values": [job.id for job in jobs if not job.training]}}
    sweep = {"name": name, "program": "zinv", "method": "grid", "parameters": parameters}
    return yaml.safe_dump({**sweep, "command": [*command, "${args_no_hyphens}"]}, sort_keys=False)


def _check_name(folder: Path, origin: str) -> None:
    path = folder / "experiment.json"
    before = read_json(path).get("from") if path.is_file() else origin
    if before != origin:
        raise StoreError(
            f"{folder}: has the plans of another experiment of this name ({before}; this one is {origin}). "
            "Rename one of the folders, or write elsewhere with runs=FOLDER."
        )


def _run(row: list[str], config: Config) -> Planned:
    source = build(config, "data")
    try:
        folder = str(run_folder(config))
    except WeightsError:
        folder = None
    name = config["name"] or slug(config)
    job_id = Path(folder).name if folder else digest({k: v for k, v in config.items() if k not in UNMOVING})[:8]
    return Planned(job_id, str(name), config, row, folder, images=source.fingerprint())


def _training(command: str, file: str) -> Planned:
    """A need as a job.

    Raises:
        WeightsError: it is not made by a training.
    """
    words = shlex.split(command)
    if words[0] != "train":
        raise WeightsError(f"{file}: missing; `zinv {command}` makes it, which no job can.")
    config = configure(words[1:])
    folder = training_folder(config)
    return Planned(
        folder.name[-8:], f"train-{short_name(config['model'])}", config, words[1:], str(folder), training=True
    )


def _sameness(job: Planned) -> str:
    """Equal for jobs that compute the same numbers."""
    if seed_counts(job.config):
        return f"{job.id} {job.name}"
    return digest({key: value for key, value in job.config.items() if key not in ("runs", "seed")})


def seed_counts(config: Config) -> bool:
    """Whether a run draws random numbers: W+ that starts at w_avg does not.

    What is not known to draw none, as a space of the user's own without `start`, is taken to draw.
    """
    method = locate(config["method"]["_target_"])
    drawn = getattr(method, "draws", lambda _: True)(config["method"])
    return bool(drawn) or config["space"].get("start") != "mean"


def _note(before: Planned, other: Planned) -> str:
    if before.id == other.id:
        return before.note or "asked for more than once"
    start = before.note or f"no seed changes it: runs once, for seed={before.config['seed']}"
    return f"{start},{other.config['seed']}"


def _shards(job: Planned, num: int) -> list[Planned]:
    """A job as several that share its images; no more than it has.

    Raises:
        ConfigError: it runs in several processes.
    """
    num = min(num, len(build(job.config, "data").ids))
    if num > 1 and job.num_processes != 1:
        raise ConfigError(f"--shards {num}: {job.name} shares its images over processes already; one or the other.")
    return [job] if num == 1 else [replace(job, id=f"{job.id}.{i}", shard=(i, num)) for i in range(num)]
