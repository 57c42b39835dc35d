"""Experiments: every unfinished run of a plan, then its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zinv.config import (
    Config,
    Experiment,
    as_overrides,
    compose,
    expand,
    experiment_names,
    find_experiment,
    layer,
    missing_needs,
    run_folder,
)
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation.contrasts import contrast_table, size_table
from zinv.evaluation.declared import declare, declared_before
from zinv.evaluation.fair import fair_table
from zinv.evaluation.formats import format_table, to_terminal
from zinv.evaluation.results import Published, against, control_line, differences, write_results
from zinv.evaluation.rows import Row
from zinv.evaluation.store import runs_in
from zinv.evaluation.table import Table, labels, make_table, pivot
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
    rows = [layer(row, overrides) for row in expand(experiment)]
    plan = planned([*rows, *reruns(experiment, rows)], flags)
    declare(record_path(experiment, plan[0].config), [job.folder for job in plan[: len(rows)]], experiment.contrasts)
    columns = experiment.table.get("columns")
    statuses = do_jobs(plan, flags, jobs, columns if isinstance(columns, list) else None)
    ended = [status in (0, 1) for status in statuses]
    folders = [job.folder if done else None for job, done in zip(plan, ended, strict=True)]
    show_tables(experiment, read_rows(experiment, folders), record_path(experiment, plan[0].config), update)
    return 1 if any(statuses) else 0


def reruns(experiment: Experiment, rows: Sequence[list[str]]) -> list[list[str]]:
    """Overrides of the rows that are run again on a few images with another seed, where the experiment asks for it."""
    if not experiment.replication:
        return []
    return [layer(row, [f"data.num={experiment.replication}", f"seed={compose(row)['seed'] + 1}"]) for row in rows]


def record_path(experiment: Experiment, config: Config) -> Path:
    """Where it is kept which contrasts were declared when each run began."""
    return Path(config["runs"]) / "experiments" / f"{experiment.name}.json"


def read_rows(experiment: Experiment, folders: Sequence[Path | None]) -> list[Row]:
    """Rows of an experiment's runs, each with its rerun if that was done.

    Args:
        experiment: what was run.
        folders: of the rows, then of their reruns; None where there is nothing.
    """
    rows = [Row.read(folder) if folder else None for folder in folders]
    num = len(expand(experiment))
    again = rows[num:] or [None] * num
    return [
        replace(row, rerun=rerun, num_rerun=experiment.replication)
        for row, rerun in zip(rows[:num], again, strict=True)
        if row
    ]


def check_needs(experiment: Experiment) -> None:
    """Refuse to start without what must exist first.

    Raises:
        WeightsError: names the file and the command that makes it.
    """
    for need in missing_needs(experiment):
        raise WeightsError(f"{experiment.name} needs {need.file}; `zinv {need.command}` makes it.")


def show_tables(experiment: Experiment, rows: Sequence[Row], record: Path, update: bool) -> None:
    """The experiment's table, its declared contrasts, and what differs from the committed results."""
    asked = len(expand(experiment))
    if rows:
        print(to_terminal(experiment_table(experiment, rows)))
    if len(rows) < asked:
        print(f"{asked - len(rows)} of {asked} rows failed: contrasts and results.csv are for all.")
        return
    if experiment.contrasts:
        for drawn in declared_tables(experiment, rows, record):
            print(to_terminal(drawn))
    committed = experiment.folder / "results.csv"
    if update:
        write_results(committed, rows)
        print(f"written: {committed}")
    elif committed.is_file():
        print(to_terminal(differences(rows, committed)))


def declared_tables(experiment: Experiment, rows: Sequence[Row], record: Path) -> list[Table]:
    """The contrasts of `experiment.yaml`, those marked that were declared after one of their runs, and their sizes.

    Contrasts of rows that are not done yet are named below.
    """
    names, whole = labels(rows), len(rows) == len(expand(experiment))
    there = [c for c in experiment.contrasts if whole or {c.row, c.against} <= {*names}]
    lacking = [f"{c.row} against {c.against} in {c.metric}" for c in experiment.contrasts if c not in there]
    runs = dict(zip(names, (row.header.run for row in rows), strict=True))
    made = contrast_table(rows, there, [declared_before(record, runs, contrast) for contrast in there])
    notes = (*made.notes, *(f"Not all runs are done: {words}." for words in lacking))
    return [replace(made, notes=notes), *([size_table(rows, there)] if there else [])]


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
    paths: Sequence[str],
    reference: str | None,
    fmt: str,
    output: str | None,
    update: bool,
    pivot_column: str | None,
    only_contrasts: bool = False,
    edits: bool = False,
) -> int:
    """Print or write one table of finished runs, run folders or experiments; under an experiment's, its contrasts."""
    found = find_rows(paths)
    rows, experiment, record = found.rows, found.experiment, found.record
    if only_contrasts and not (experiment and experiment.contrasts):
        raise ConfigError("--contrasts: name one experiment that declares contrasts.")
    made: list[Table] = []
    if reference is not None:
        made.append(against(rows, _published(reference, experiment)))
    elif pivot_column is not None:
        made.append(pivot(rows, pivot_column))
    elif edits:
        made.append(fair_table(rows))
    elif not only_contrasts:
        made.append(experiment_table(experiment, rows) if experiment else make_table(rows))
    if (
        experiment
        and experiment.contrasts
        and not (reference or pivot_column or edits)
        and (only_contrasts or fmt != "csv")
    ):
        made += declared_tables(experiment, rows, record)
    if update:
        if experiment is None:
            raise ConfigError("--update: name one experiment, whose results.csv is replaced.")
        write_results(experiment.folder / "results.csv", rows)
    text = "\n".join(to_terminal(one) if fmt == "terminal" else format_table(one, ENDINGS[fmt]) for one in made)
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


@dataclass(frozen=True)
class Found:
    """What a command line's words lead to.

    Attributes:
        rows: of the runs that are done.
        experiment: whose rows they are, if it was named.
        record: where it is kept which contrasts were declared when.
        lacking: overrides of the experiment's rows that are not done.
    """

    rows: list[Row]
    experiment: Experiment | None = None
    record: Path = Path()
    lacking: tuple[str, ...] = ()


def find_rows(arguments: Sequence[str]) -> Found:
    """Rows of one experiment, with the overrides that it was run with, or of run folders.

    Raises:
        StoreError: nothing is done, or there is no run.
    """
    paths = [text for text in arguments if "=" not in text]
    if len(paths) == 1 and not Path(paths[0]).is_dir() and paths[0] in experiment_names():
        return _of_experiment(find_experiment(paths[0]), arguments)
    runs = [run for path in paths or ["runs"] for run in runs_in(path)]
    if not runs:
        raise StoreError(f"{', '.join(paths) or 'runs'}: there is no run in this folder.")
    return Found([Row.read(run.path) for run in runs if (run.path / "records.csv").is_file()])


def _of_experiment(experiment: Experiment, arguments: Sequence[str]) -> Found:
    own = expand(experiment)
    plans = [layer(row, [text for text in arguments if "=" in text]) for row in own]
    configs = [compose(row) for row in [*plans, *reruns(experiment, plans)]]
    folders = [run_folder(config) for config in configs]
    done = [path if (path / "records.csv").is_file() else None for path in folders]
    rows = read_rows(experiment, done)
    if not rows:
        start = f"zinv run {' '.join(arguments)}"
        raise StoreError(f"{experiment.name}: none of its {len(plans)} runs is done yet. Start it with `{start}`.")
    base = as_overrides(experiment.base)
    words = [" ".join(text for text in row if text not in base) for row in own]
    lacking = tuple(word for word, path in zip(words, done, strict=False) if path is None)
    return Found(rows, experiment, record_path(experiment, configs[0]), lacking)


def _published(reference: str, experiment: Experiment | None) -> Published:
    folder = experiment.folder if experiment else find_experiment("table1").folder
    return Published.read(folder / f"{reference}.yaml" if not Path(reference).is_file() else Path(reference))
