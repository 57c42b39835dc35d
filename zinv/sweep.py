"""`zinv run`: the plan of an experiment, what it needs, every unfinished job of it, then its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zinv.config import Experiment, missing_needs
from zinv.config.selection import EVERYTHING, Selection, select
from zinv.errors import WeightsError
from zinv.evaluation.declared import declare
from zinv.evaluation.files import clear_errors
from zinv.jobs import Flags, Job, do_jobs, to_do
from zinv.plans.make import Chosen, choose, freeze, plan_jobs, training
from zinv.tables import read_rows, show_tables
from zinv.train import train


def run_experiment(
    name: str | None,
    overrides: Sequence[str],
    keep: bool,
    fresh: bool,
    update: bool,
    jobs: int | None = None,
    selection: Selection = EVERYTHING,
) -> int:
    """Freeze the plan of an experiment, do every run of it, and print its table; the same command again resumes.

    Args:
        name: of the experiment; without one, overrides are a grid.
        overrides: of every row.
        keep: keep finished images although the code has changed.
        fresh: delete the run folders first.
        update: replace the experiment's `results.csv`.
        jobs: rows at a time; by default as many as cores where rows run on the CPU, else one a GPU.
        selection: which rows, and in how many shards.

    Returns:
        0, or 1 if a run failed.
    """
    selected = select(name, overrides, selection)
    make_needs(selected.experiment)
    chosen = choose(selected)
    experiment = chosen.experiment
    flags = Flags(keep, fresh, experiment.name)
    planned = plan_jobs(chosen, selection.shards)
    todo = to_do(planned, flags)
    plan = freeze(experiment, planned)
    declare_contrasts(chosen)
    for job in planned:
        if job.note:
            print(f"{job.name}: {job.note}")
    columns = experiment.table.get("columns")
    statuses = do_jobs(todo, flags, jobs, columns if isinstance(columns, list) else None, plan.code)
    rows = read_rows(experiment, _with_results(chosen, todo, statuses), chosen.num)
    show_tables(experiment, rows, chosen.num if selected.whole else None, chosen.record, update)
    return 1 if any(statuses) else 0


def declare_contrasts(chosen: Chosen) -> None:
    """Keep which contrasts are declared as the runs of these rows begin."""
    with clear_errors(chosen.record):
        declare(chosen.record, chosen.folders[: chosen.num], chosen.experiment.contrasts)


def _with_results(chosen: Chosen, jobs: Sequence[Job], statuses: Sequence[int]) -> list[Path | None]:
    """The folders of rows and reruns; None where a job of it has no result."""
    failed = {job.folder for job, status in zip(jobs, statuses, strict=True) if status not in (0, 1)}
    whole = {job.folder for job in jobs if (job.folder / "records.csv").is_file()} - failed
    return [folder if folder in whole else None for folder in chosen.folders]


def make_needs(experiment: Experiment) -> None:
    """Train what must exist first and does not; each goes on from its last checkpoint.

    Raises:
        WeightsError: something else than a training makes it, or the training has made another file.
    """
    commands = {need.command: training(need).overrides for need in missing_needs(experiment)}
    for command, overrides in commands.items():
        print(f"{experiment.name} needs what this makes: zinv {command}", flush=True)
        train(overrides)
    for need in missing_needs(experiment):
        raise WeightsError(
            f"{experiment.name} needs {need.file}, and `zinv {need.command}` has made a file of another name. Give the "
            "need the file's kind and the generator that it is made for (kind, of), or put it there under its name."
        )
