"""Experiments: every unfinished run of a plan, then its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zinv.config import (
    Experiment,
    compose,
    expand,
    experiment_names,
    find_experiment,
    layer,
    missing_needs,
    run_folder,
)
from zinv.config.selection import EVERYTHING, Selection, select
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation.formats import format_table, to_terminal
from zinv.evaluation.results import Published, against, contrast_table, control_line, differences, write_results
from zinv.evaluation.rows import Row
from zinv.evaluation.store import runs_in
from zinv.evaluation.table import Table, make_table, pivot
from zinv.jobs import Flags, do_jobs, to_do
from zinv.plans.make import freeze, plan_jobs

ENDINGS = {"md": "markdown", "latex": "latex", "csv": "csv"}


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
        jobs: rows at a time; by default as many as cores where rows run on the CPU, else one.
        selection: which rows, and in how many shards.

    Returns:
        0, or 1 if a run failed.
    """
    selected = select(name, overrides, selection)
    experiment = selected.experiment
    check_needs(experiment)
    flags = Flags(keep, fresh, experiment.name)
    planned = plan_jobs(selected, selection.shards)
    todo = to_do(planned, flags)
    plan = freeze(selected, planned)
    for job in planned:
        if job.note:
            print(f"{job.name}: {job.note}")
    columns = experiment.table.get("columns")
    statuses = do_jobs(todo, flags, jobs, columns if isinstance(columns, list) else None, plan.code)
    folders = list(dict.fromkeys(job.folder for job, status in zip(todo, statuses, strict=True) if status in (0, 1)))
    show_tables(experiment, folders, update, len({job.folder for job in todo}) if selected.whole else None)
    return 1 if any(statuses) else 0


def check_needs(experiment: Experiment) -> None:
    """Refuse to start without what must exist first.

    Raises:
        WeightsError: names the file and the command that makes it.
    """
    for need in missing_needs(experiment):
        raise WeightsError(f"{experiment.name} needs {need.file}; `zinv {need.command}` makes it.")


def show_tables(experiment: Experiment, folders: Sequence[Path], update: bool, asked: int | None) -> None:
    """The experiment's table, its declared contrasts, and what differs from the committed results.

    Args:
        experiment: whose.
        folders: of runs that have results.
        update: replace the committed results.
        asked: how many runs the whole experiment has; None where only some were asked for.
    """
    rows = [Row.read(folder) for folder in folders]
    if rows:
        print(to_terminal(experiment_table(experiment, rows, asked)))
    if asked is None:
        return
    if len(rows) < asked:
        print(f"{asked - len(rows)} of {asked} rows failed: contrasts and results.csv are for all.")
        return
    if experiment.contrasts:
        print(to_terminal(contrast_table(rows, experiment.contrasts)))
    committed = experiment.folder / "results.csv"
    if update:
        write_results(committed, rows)
        print(f"written: {committed}")
    elif committed.is_file():
        print(to_terminal(differences(rows, committed)))


def experiment_table(experiment: Experiment, rows: Sequence[Row], asked: int | None) -> Table:
    """The table as `experiment.yaml` draws it (`columns`, `extras`, `median`); its control, if all rows are there."""
    unknown = set(experiment.table) - {"columns", "extras", "median"}
    if unknown:
        raise ConfigError(
            f"{experiment.name}: table.{sorted(unknown)[0]}: no such key. Choose from: columns, extras, median."
        )
    drawn = make_table(rows, **experiment.table)  # type: ignore[arg-type]
    if experiment.control is None or asked is None or len(rows) < asked:
        return drawn
    return replace(drawn, notes=(*drawn.notes, control_line(rows, experiment.control)))


def table(
    paths: Sequence[str], reference: str | None, fmt: str, output: str | None, update: bool, pivot_column: str | None
) -> int:
    """Print or write one table of finished runs, run folders or experiments."""
    rows, experiment = _rows(paths)
    if reference is not None:
        made = against(rows, _published(reference, experiment))
    elif pivot_column is not None:
        made = pivot(rows, pivot_column)
    elif experiment is not None:
        made = experiment_table(experiment, rows, len(expand(experiment)))
    else:
        made = make_table(rows)
    if update:
        if experiment is None:
            raise ConfigError("--update: name one experiment, whose results.csv is replaced.")
        write_results(experiment.folder / "results.csv", rows)
    text = to_terminal(made) if fmt == "terminal" else format_table(made, ENDINGS[fmt])
    if output is None:
        print(text)
    else:
        Path(output).write_text(text, encoding="utf-8")
    return 0


def _rows(arguments: Sequence[str]) -> tuple[list[Row], Experiment | None]:
    """Rows of one experiment, with the overrides that it was run with, or of run folders."""
    paths = [text for text in arguments if "=" not in text]
    if len(paths) == 1 and not Path(paths[0]).is_dir() and paths[0] in experiment_names():
        experiment = find_experiment(paths[0])
        overrides = [text for text in arguments if "=" in text]
        folders = [run_folder(compose(layer(row, overrides))) for row in expand(experiment)]
        done = [folder for folder in folders if (folder / "records.csv").is_file()]
        if not done:
            start = f"zinv run {' '.join(arguments)}"
            raise StoreError(f"{paths[0]}: none of its {len(folders)} runs is done yet. Start it with `{start}`.")
        return [Row.read(folder) for folder in done], experiment
    runs = [run for path in paths or ["runs"] for run in runs_in(path)]
    if not runs:
        raise StoreError(f"{', '.join(paths) or 'runs'}: there is no run in this folder.")
    return [Row.read(run.path) for run in runs if (run.path / "records.csv").is_file()], None


def _published(reference: str, experiment: Experiment | None) -> Published:
    folder = experiment.folder if experiment else find_experiment("table1").folder
    return Published.read(folder / f"{reference}.yaml" if not Path(reference).is_file() else Path(reference))
