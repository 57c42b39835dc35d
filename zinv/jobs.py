"""The jobs of a plan, done on this machine: one after another, or side by side from the plan's code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from zinv.config import Config, build, run_folder, save
from zinv.errors import ZinvError
from zinv.evaluation import provenance
from zinv.evaluation.formats import plain_cell
from zinv.evaluation.progress import Progress
from zinv.evaluation.rows import Row
from zinv.evaluation.store import Run
from zinv.evaluation.table import metric_cell
from zinv.inverting import stoppable
from zinv.plans import code
from zinv.plans.attempts import attempt, attempts
from zinv.plans.plan import Planned, experiment_folder
from zinv.run import evaluate_config, foreign_modules
from zinv.workers import FAILED, Outcome, num_cores, side_by_side, visible_gpus

HEADLINES = 3


@dataclass(frozen=True)
class Flags:
    """What all runs of an experiment are started with; `group` is its name."""

    keep: bool
    fresh: bool
    group: str


@dataclass(frozen=True)
class Job:
    """One job of a plan, on this machine.

    Attributes:
        place: `[3/14]`.
        planned: what it is.
        folder: of its run.
        finished: whether each of its images has a result.
        before: how many have one.
    """

    place: str
    planned: Planned
    folder: Path
    finished: bool
    before: int = 0

    @property
    def config(self) -> Config:
        """Everything resolved."""
        return self.planned.config

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


def to_do(jobs: Sequence[Planned], flags: Flags) -> list[Job]:
    """The runs of a plan as jobs of this machine.

    Raises:
        StoreError: a run has images that were made by other code.
        WeightsError: a weight file is missing.
    """
    return [_job(f"[{i}/{len(jobs)}]", job, flags) for i, job in enumerate(jobs, 1)]


def _job(place: str, planned: Planned, flags: Flags) -> Job:
    folder = _folder(planned)
    if flags.fresh or not (folder / "run.json").is_file():
        return Job(place, planned, folder, finished=False)
    run = Run.open(folder, provenance.code_digest(foreign_modules(planned.config)))
    run.check_code(flags.keep)
    own = set(planned.own(build(planned.config, "data").ids))
    done = own & run.finished()
    return Job(place, planned, folder, finished=done == own, before=len(done))


def _folder(planned: Planned) -> Path:
    """The folder of a run, or the error about the weight file for want of which it is not known."""
    return Path(planned.folder) if planned.folder else run_folder(planned.config)


def default_num(jobs: Sequence[Job]) -> int:
    """How many jobs run at a time: as many as cores where they compute on the CPU, else one a GPU."""
    return num_cores() if all(job.on_cpu for job in jobs) else max(1, len(visible_gpus()))


def do_jobs(
    jobs: Sequence[Job], flags: Flags, num: int | None, columns: Sequence[str] | None = None, frozen: Path | None = None
) -> list[int]:
    """Do jobs, `num` at a time where each needs one device, the others one after another as processes of their own.

    A job that fails does not stop the others.

    Args:
        jobs: in the order of the experiment.
        flags: of all.
        num: processes; with one, everything is done in this process. None: `default_num`.
        columns: metrics that are told of a job that has ended, the first few.
        frozen: code that other processes than this one run from.

    Returns:
        Exit statuses: 0; 1 if an image has no result; another if the row has none.
    """
    places = [i for i, job in enumerate(jobs) if job.alone]
    alone = [jobs[i] for i in places]
    num = min(num or default_num(alone), len(alone))
    if num < 2 or all(job.finished for job in alone):
        return [_in_turn(job, flags, frozen) for job in jobs]
    watch = Watch(alone, columns)
    with stoppable(), watch, _from(frozen):
        side_by_side(_evaluate, [(job, flags) for job in alone], num, watch.started, watch.ended)
    statuses = dict(zip(places, watch.statuses, strict=True))
    return [statuses[i] if i in statuses else _in_turn(job, flags, frozen) for i, job in enumerate(jobs)]


@contextmanager
def _from(frozen: Path | None) -> Iterator[None]:
    """Processes that are started inside import zinv and the user's modules from frozen code."""
    if frozen is None:
        yield
        return
    sys.path.insert(0, str(frozen.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(frozen.resolve()))


def _in_turn(job: Job, flags: Flags, frozen: Path | None) -> int:
    print(job.title, flush=True)
    if not job.alone:
        return _in_process(job, flags, frozen)
    try:
        return _evaluate((job, flags))
    except ZinvError as error:
        tell_error(job, " ".join(str(error).split()))
        return FAILED


def _evaluate(task: tuple[Job, Flags]) -> int:
    job, flags = task
    with _try(job, flags) as ended:
        return ended(evaluate_config(job.config, flags.keep, flags.fresh, flags.group, job.planned.shard))


@contextmanager
def _try(job: Job, flags: Flags) -> Iterator[Callable[[int], int]]:
    """Keep the file of a try, by which `zinv status` sees the job, until told its exit status, which comes back.

    Nothing is kept of a run that was done before: its last file stands.
    """
    place = experiment_folder(Path(job.config["runs"]), flags.group)
    asked, tries = job.planned.asked, attempts(place, job.planned.id)
    if job.finished and tries and tries[-1].made(asked):
        yield int
        return
    with attempt(place, job.planned.id, folder=str(job.folder), before=job.before, asked=asked) as heart:

        def ended(status: int) -> int:
            heart.tell(reason=(None, "images", "error")[min(status % 256, 2)])
            return status

        yield ended


def _in_process(job: Job, flags: Flags, frozen: Path | None) -> int:
    more = [*_group(job.config, flags.group), *(["--keep"] * flags.keep), *(["--fresh"] * flags.fresh)]
    environment = {**os.environ, **(code.environment(frozen) if frozen else {})}
    with _try(job, flags) as ended, TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        save(job.config, config)
        command = [sys.executable, "-m", "zinv", "evaluate", "--config", str(config), *more]
        return ended(subprocess.run(command, env=environment, check=False).returncode)


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
        whole = (job.folder / "records.csv").is_file()
        words = headline(Row.read(job.folder), self.columns) if whole else job.config["name"] or job.folder.parent.name
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
