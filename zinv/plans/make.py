"""From an experiment's rows to a frozen plan."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import yaml

from zinv.config import Config, Experiment, build, compose, missing_needs, run_folder, short_name, slug
from zinv.config.experiment import Need
from zinv.config.identity import digest
from zinv.config.selection import Selected, reruns
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation import provenance
from zinv.evaluation.files import clear_errors, read_json, replace_text, to_json
from zinv.plans import code
from zinv.plans.plan import FOLDER, Plan, Planned, experiment_folder, line, write
from zinv.presets import locate
from zinv.run import foreign_modules
from zinv.train import configure, training_folder

UNMOVING: Final = ("runs", "name")
"""Settings of a run that move nothing of it."""
RECIPE: Final = """\
# Each agent does one job and ends, so that every job is a task of its own; nodes need the internet:
#   cd {here} && wandb sweep {file}        # prints the sweep's name: ENTITY/PROJECT/ID
#   sbatch --array=0-{last} --job-name={name} --wrap "wandb agent --count 1 ENTITY/PROJECT/ID"
"""


@dataclass(frozen=True)
class Chosen:
    """The rows of an experiment that compute different things, in order, and after them their reruns.

    Attributes:
        experiment: whose.
        overrides: of each.
        configs: what these make.
        notes: why there is no other such row, for rows that stand for several.
        num: how many of them are rows.
    """

    experiment: Experiment
    overrides: list[list[str]]
    configs: list[Config]
    notes: list[str]
    num: int

    @cached_property
    def folders(self) -> list[Path]:
        """Of their runs.

        Raises:
            WeightsError: a weight file is missing, without which a folder's digits are not known.
        """
        return [run_folder(config) for config in self.configs]

    @property
    def record(self) -> Path:
        """Where it is kept which contrasts were declared when each run began."""
        return Path(self.configs[0]["runs"]) / FOLDER / f"{self.experiment.name}.json"


def choose(selected: Selected) -> Chosen:
    """The rows that are meant; of those that compute the same the first, such as one of several seeds without effect.

    Raises:
        ConfigError: an unknown key or choice, or a value of the wrong type.
    """
    kept: dict[str, tuple[list[str], Config, list[Config]]] = {}
    for row in selected.rows:
        config = compose(row)
        kept.setdefault(_sameness(config), (row, config, []))[2].append(config)
    rows = [row for row, _, _ in kept.values()]
    again = reruns(selected.experiment, rows)
    notes = [_note(configs) for _, _, configs in kept.values()] + [""] * len(again)
    configs = [config for _, config, _ in kept.values()] + [compose(row) for row in again]
    return Chosen(selected.experiment, [*rows, *again], configs, notes, len(rows))


def plan_jobs(chosen: Chosen, shards: int = 1) -> list[Planned]:
    """The jobs of an experiment's rows, and before them the trainings that it needs and that were not done.

    Raises:
        ConfigError: a value of the wrong type, or shards of a row that has several processes.
        DataError: images are missing.
    """
    needs = _trainings(missing_needs(chosen.experiment))
    jobs: dict[str, Planned] = {}
    for i, (row, config, note) in enumerate(zip(chosen.overrides, chosen.configs, chosen.notes, strict=True)):
        job = replace(_run(row, config), needs=[need.id for need in needs], note=note, rerun=i >= chosen.num)
        jobs.setdefault(_sameness(config), job)
    return [*needs, *(part for job in _told_apart(jobs.values()) for part in _shards(job, shards))]


def freeze(experiment: Experiment, jobs: Sequence[Planned], current: bool = True) -> Plan:
    """Write the plan of jobs into the experiment's run folder; the same jobs and code make the same plan.

    Args:
        experiment: whose.
        jobs: trainings first.
        current: make it the plan that status and retry are about.

    Raises:
        StoreError: another experiment of this name has its plans there, or the folder cannot be written.
    """
    first = next(job for job in jobs if not job.training or len(jobs) == 1)
    folder = experiment_folder(Path(first.config["runs"]), experiment.name)
    origin = str(experiment.folder.resolve()) if experiment.folder != Path() else "grid"
    _check_name(folder, origin)
    modules = {name for job in jobs for name in foreign_modules(job.config)} if jobs else set()
    content = [line(job) for job in jobs]
    name = digest({"jobs": content, "code": code.digest(modules)})[:8]
    target = folder / "plans" / name
    with clear_errors(folder):
        if not (target / "plan.json").is_file():
            _write(target, experiment, jobs, modules, origin)
        if current:
            replace_text(folder / "experiment.json", to_json({"plan": name, "from": origin}))
    return Plan.open(target)


def _write(target: Path, experiment: Experiment, jobs: Sequence[Planned], modules: set[str], origin: str) -> None:
    """Written beside its place and renamed, so that a plan is whole or absent."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _fill(part, target, experiment, jobs, modules, origin)
        part.rename(target)
    except OSError:
        if not target.is_dir():  # else somebody has just made the same
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(
    part: Path, target: Path, experiment: Experiment, jobs: Sequence[Planned], modules: set[str], origin: str
) -> None:
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


def wandb_sweep(name: str, target: Path, jobs: Sequence[Planned]) -> str:
    """The plan as a sweep of W&B, with the recipe for it: agents take jobs by id and run them from the plan's code."""
    variables = [f"{key}={value}" for key, value in code.environment(target / "code").items()]
    command = ["${env}", *variables, sys.executable, "-m", "zinv.plans.work", str(target.resolve())]
    ids = [job.id for job in jobs if not job.training]
    recipe = RECIPE.format(file=target / "sweep.yaml", last=len(ids) - 1, name=name, here=shlex.quote(os.getcwd()))
    sweep = {"name": name, "program": "zinv", "method": "grid", "parameters": {"job": {"values": ids}}}
    return recipe + yaml.safe_dump({**sweep, "command": [*command, "${args_no_hyphens}"]}, sort_keys=False)


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


def training(need: Need) -> Planned:
    """What an experiment needs as a job; its folder is not known while what it trains on is missing itself.

    Raises:
        WeightsError: it is not made by a training, or its command is not whole.
    """
    words = shlex.split(need.command)
    if words[0] != "train" or "…" in need.command:
        raise WeightsError(f"{need.file}: missing; `zinv {need.command}` makes it, which no job can.")
    config = configure(words[1:])
    try:
        folder = str(training_folder(config))
    except WeightsError:
        folder = None
    job_id = folder[-8:] if folder else digest(config)[:8]
    return Planned(job_id, f"train-{short_name(config['model'])}", config, words[1:], folder, training=True)


def _trainings(needs: Iterable[Need]) -> list[Planned]:
    """Needs as jobs, in order; one that trains on what is missing waits for those before it."""
    jobs: list[Planned] = []
    for job in {need.command: training(need) for need in needs}.values():
        jobs.append(replace(job, needs=[] if job.folder else [before.id for before in jobs]))
    return jobs


def _sameness(config: Config) -> str:
    """Equal for runs that compute the same numbers."""
    unmoving = {"runs"} if seed_counts(config) else {"runs", "seed"}
    return digest({key: value for key, value in config.items() if key not in unmoving})


def _told_apart(jobs: Iterable[Planned]) -> Iterator[Planned]:
    """Jobs with ids of their own: several that differ in what names no run, such as edits, share its folder."""
    seen: Counter[str] = Counter()
    for job in jobs:
        seen[job.id] += 1
        yield job if seen[job.id] == 1 else replace(job, id=f"{job.id}-{seen[job.id]}")


def seed_counts(config: Config) -> bool:
    """Whether a run draws random numbers: W+ that starts at w_avg does not.

    What is not known to draw none, as a space of the user's own without `start`, is taken to draw.
    """
    method = locate(config["method"]["_target_"])
    drawn = getattr(method, "draws", lambda _: True)(config["method"])
    return bool(drawn) or config["space"].get("start") != "mean"


def _note(configs: Sequence[Config]) -> str:
    if len(configs) == 1:
        return ""
    seeds = [str(config["seed"]) for config in configs]
    if len({*seeds}) == 1:
        return "asked for more than once"
    return f"no seed changes it: runs once, for seed={','.join(seeds)}"


def _shards(job: Planned, num: int) -> list[Planned]:
    """A job as several that share its images; no more than it has.

    Raises:
        ConfigError: it runs in several processes.
    """
    num = min(num, len(build(job.config, "data").ids))
    if num > 1 and job.num_processes != 1:
        raise ConfigError(f"--shards {num}: {job.name} shares its images over processes already; one or the other.")
    return [job] if num == 1 else [replace(job, id=f"{job.id}.{i}", shard=(i, num)) for i in range(num)]
