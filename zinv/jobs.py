"""The rows of an experiment as jobs: planned, and done one after another or side by side."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zinv.config import Config, build, compose, run_folder
from zinv.errors import ZinvError
from zinv.evaluation import provenance
from zinv.evaluation.formats import plain_cell
from zinv.evaluation.progress import Progress
from zinv.evaluation.rows import Row
from zinv.evaluation.store import Run
from zinv.evaluation.table import metric_cell
from zinv.inverting import stoppable
from zinv.run import evaluate, foreign_modules
from zinv.workers import FAILED, Outcome, num_cores, side_by_side

HEADLINES = 3


@dataclass(frozen=True)
class Flags:
    """What all runs of an experiment are started with; `group` is its name."""

    keep: bool
    fresh: bool
    group: str


@dataclass(frozen=True)
class Job:
    """One row of an experiment.

    Attributes:
        place: `[3/14]`.
        overrides: of its run.
        config: what they make.
        folder: of its run.
        finished: whether each of its images has a result.
    """

    place: str
    overrides: list[str]
    config: Config
    folder: Path
    finished: bool

    @property
    def title(self) -> str:
        """Place and name."""
        return f"{self.place} {self.config['name'] or self.folder.parent.name}"

    @property
    def alone(self) -> bool:
        """Whether one process does it: for several devices Lightning starts the whole command line again on each."""
        trainer = self.config["trainer"]
        return trainer["devices"] == 1 and trainer["num_nodes"] == 1 and trainer["strategy"] != "ddp"

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU."""
        kind, faster = self.config["trainer"]["accelerator"], (torch.cuda, torch.backends.mps)
        return kind == "cpu" or (kind == "auto" and not any(device.is_available() for device in faster))


def planned(rows: Sequence[list[str]], flags: Flags) -> list[Job]:
    """The jobs of an experiment's rows, given as overrides. Mistakes that can be seen before the first run show here.

    Raises:
        ConfigError: an unknown key or choice, or a value of the wrong type.
        WeightsError: a weight file is missing.
        DataError: images are missing.
        StoreError: a row has images that were made by other code.
    """
    configs = [compose(row) for row in rows]
    pairs = zip(rows, configs, strict=True)
    return [_job(f"[{i}/{len(rows)}]", row, config, flags) for i, (row, config) in enumerate(pairs, 1)]


def _job(place: str, row: list[str], config: Config, flags: Flags) -> Job:
    folder, source = run_folder(config), build(config, "data")
    if flags.fresh or not (folder / "run.json").is_file():
        return Job(place, row, config, folder, finished=False)
    run = Run.open(folder, provenance.code_digest(foreign_modules(config)))
    run.check_code(flags.keep)
    return Job(place, row, config, folder, finished=set(source.ids) <= run.finished())


def default_num(jobs: Sequence[Job]) -> int:
    """How many jobs run at a time: as many as cores where they compute on the CPU, else one."""
    return num_cores() if all(job.on_cpu for job in jobs) else 1


def do_jobs(jobs: Sequence[Job], flags: Flags, num: int | None, columns: Sequence[str] | None = None) -> list[int]:
    """Do jobs, `num` at a time where each needs one device, the others one after another as processes of their own.

    A job that fails does not stop the others.

    Args:
        jobs: in the order of the experiment.
        flags: of all.
        num: processes; with one, everything is done in this process. None: `default_num`.
        columns: metrics that are told of a job that has ended, the first few.

    Returns:
        Exit statuses: 0; 1 if an image has no result; another if the row has none.
    """
    places = [i for i, job in enumerate(jobs) if job.alone]
    alone = [jobs[i] for i in places]
    num = min(num or default_num(alone), len(alone))
    if num < 2 or all(job.finished for job in alone):
        return [_in_turn(job, flags) for job in jobs]
    watch = Watch(alone, columns)
    with stoppable(), watch:
        side_by_side(_evaluate, [(job.overrides, flags) for job in alone], num, watch.started, watch.ended)
    statuses = dict(zip(places, watch.statuses, strict=True))
    return [statuses[i] if i in statuses else _in_turn(job, flags) for i, job in enumerate(jobs)]


def _in_turn(job: Job, flags: Flags) -> int:
    print(job.title, flush=True)
    if not job.alone:
        return _in_process(job, flags)
    try:
        return _evaluate((job.overrides, flags))
    except ZinvError as error:
        tell_error(job, " ".join(str(error).split()))
        return FAILED


def _evaluate(task: tuple[list[str], Flags]) -> int:
    overrides, flags = task
    return evaluate(overrides, flags.keep, flags.fresh, flags.group)


def _in_process(job: Job, flags: Flags) -> int:
    more = [*_group(job.config, flags.group), *(["--keep"] * flags.keep), *(["--fresh"] * flags.fresh)]
    return subprocess.run([sys.executable, "-m", "zinv", "evaluate", *job.overrides, *more], check=False).returncode


def _group(config: Config, name: str) -> list[str]:
    """The experiment's name as the logger's group, where it has a group and no name for it."""
    logger = config["logger"]
    return [f"logger.group={name}"] if "group" in logger and logger["group"] is None else []


def tell_error(job: Job, error: str) -> None:
    """One line on standard error."""
    print(f"error: {job.title}: {error}", file=sys.stderr, flush=True)


class Watch:
    """Tells when jobs that run side by side begin and end: a line each, and a bar where there is a terminal.

    Attributes:
        statuses: exit status of each job that has ended.
    """

    def __init__(self, jobs: Sequence[Job], columns: Sequence[str] | None) -> None:
        self.jobs, self.columns = jobs, columns
        self.statuses, self.began = [0] * len(jobs), [0.0] * len(jobs)

    def __enter__(self) -> None:
        """Show the bar."""
        self.progress = Progress(len(self.jobs), sum(job.finished for job in self.jobs), stream=sys.stdout, unit="rows")

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self.progress.close()

    def started(self, place: int) -> None:
        """A job begins."""
        self.began[place] = time.monotonic()
        print(f"{self.jobs[place].title}: started", flush=True)

    def ended(self, place: int, outcome: Outcome) -> None:
        """A job has ended: its headline numbers, and how far the whole is; or its error."""
        job, self.statuses[place] = self.jobs[place], outcome.status
        if not job.finished:
            self.progress.count(1)
        if outcome.error:
            tell_error(job, outcome.error)
            return
        seconds = time.monotonic() - self.began[place]
        words = headline(Row.read(job.folder), self.columns)
        print(f"{job.place} {words}, {seconds:.0f} s ({self.progress.line()})", flush=True)
        for line in outcome.printed.splitlines():
            if line.startswith(("failed: ", "warning: ")):
                print(f"  {line}", flush=True)


def headline(row: Row, columns: Sequence[str] | None = None) -> str:
    """Label, first means and number of images of a row, in words."""
    known = {metric.name: metric for metric in row.metrics}
    shown = [known[name] for name in columns or known if name in known][:HEADLINES]
    means = [f"{metric.label} {plain_cell(metric_cell(row, metric, bold=False))}" for metric in shown]
    return f"{row.label}: {', '.join([*means, f'{len(row.done)} images'])}"
