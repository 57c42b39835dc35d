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
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation.formats import format_table, to_terminal
from zinv.evaluation.results import Published, against, contrast_table, control_line, differences, write_results
from zinv.evaluation.rows import Row
from zinv.evaluation.store import runs_in
from zinv.evaluation.table import Table, make_table, pivot
from zinv.jobs import Flags, do_jobs, planned

ENDINGS = {"md": "markdown", "latex": "latex", "csv": "csv"}


def run_experiment(
    name: str, overrides: Sequence[str], keep: bool, fresh: bool, update: bool, jobs: int | None = None
) -> int:
    """Do every run of an experiment, and print its table; the same command again resumes.

    Args:
        name: of the experiment.
        overrides: of every row.
        keep: keep finished images although the code has changed.
        fresh: delete the run folders first.
        update: replace the experiment's `results.csv`.
        jobs: rows at a time; by default as many as cores where rows run on the CPU, else one.

    Returns:
        0, or 1 if a run failed.
    """
    experiment = find_experiment(name)
    check_needs(experiment)
    flags = Flags(keep, fresh, experiment.name)
    plan = planned([layer(row, overrides) for row in expand(experiment)], flags)
    columns = experiment.table.get("columns")
    statuses = do_jobs(plan, flags, jobs, columns if isinstance(columns, list) else None)
    done = [job.folder for job, status in zip(plan, statuses, strict=True) if status in (0, 1)]
    show_tables(experiment, done, update)
    return 1 if any(statuses) else 0


def check_needs(experiment: Experiment) -> None:
    """Refuse to start without what must exist first.

    Raises:
        WeightsError: names the file and the command that makes it.
    """
    for need in missing_needs(experiment):
        raise WeightsError(f"{experiment.name} needs {need.file}; `zinv {need.command}` makes it.")


def show_tables(experiment: Experiment, folders: Sequence[Path], update: bool) -> None:
    """The experiment's table, its declared contrasts, and what differs from the committed results."""
    rows, asked = [Row.read(folder) for folder in folders], len(expand(experiment))
    if rows:
        print(to_terminal(experiment_table(experiment, rows)))
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


def experiment_table(experiment: Experiment, rows: Sequence[Row]) -> Table:
    """The table as `experiment.yaml` draws it (`columns`, `extras`, `median`); its control, if all rows are there."""
    unknown = set(experiment.table) - {"columns", "extras", "median"}
    if unknown:
        raise ConfigError(
            f"{experiment.name}: table.{sorted(unknown)[0]}: no such key. Choose from: columns, extras, median."
        )
    drawn = make_table(rows, **experiment.table)  # type: ignore[arg-type]
    if experiment.control is None or len(rows) < len(expand(experiment)):
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
        made = experiment_table(experiment, rows)
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
        _write(output, text)
    return 0


def _write(output: str, text: str) -> None:
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written ({error.strerror}).") from error


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
