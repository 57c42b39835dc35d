"""`zinv table`: the runs that words of a command line lead to, and an experiment's tables of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from zinv.config import Experiment, as_overrides, experiment_names, find_experiment
from zinv.config.experiment import read_experiment
from zinv.config.selection import select
from zinv.errors import ConfigError, StoreError
from zinv.evaluation.contrasts import contrast_table, size_table
from zinv.evaluation.declared import declared_before
from zinv.evaluation.effects import beside, effect_tables, equal_effect_tables
from zinv.evaluation.fair import fair_table
from zinv.evaluation.formats import format_table, to_terminal
from zinv.evaluation.results import Published, against, control_line, differences, write_results
from zinv.evaluation.rows import Row
from zinv.evaluation.store import runs_in
from zinv.evaluation.table import Table, labels, make_table, pivot
from zinv.plans.make import choose
from zinv.plans.plan import Plan

CONTRASTS: Final = "contrasts"
ENDINGS = {"md": "markdown", "latex": "latex", "csv": "csv"}


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
        return _of_experiment(paths[0], [text for text in arguments if "=" in text])
    runs = [run for path in paths or ["runs"] for run in runs_in(path)]
    if not runs:
        raise StoreError(f"{', '.join(paths) or 'runs'}: there is no run in this folder.")
    return Found([Row.read(run.path) for run in runs if (run.path / "records.csv").is_file()])


def _of_experiment(name: str, overrides: Sequence[str]) -> Found:
    chosen = choose(select(name, overrides))
    experiment = chosen.experiment
    done = [path if (path / "records.csv").is_file() else None for path in chosen.folders]
    rows = read_rows(experiment, done, chosen.num)
    if not rows:
        start = f"zinv run {' '.join([name, *overrides])}"
        raise StoreError(f"{experiment.name}: none of its {chosen.num} runs is done yet. Start it with `{start}`.")
    base = {*as_overrides(experiment.base), *overrides}
    words = [" ".join(text for text in row if text not in base) for row in chosen.overrides[: chosen.num]]
    lacking = tuple(word for word, path in zip(words, done, strict=False) if path is None)
    return Found(rows, experiment, chosen.record, lacking)


def read_rows(experiment: Experiment, folders: Sequence[Path | None], num: int) -> list[Row]:
    """Rows of an experiment's runs, each with its rerun if that was done.

    Args:
        experiment: what was run.
        folders: of the rows, then of their reruns; None where there is nothing.
        num: of these the rows.
    """
    rows = [Row.read(folder) if folder else None for folder in folders]
    again = rows[num:] or [None] * num
    return [
        replace(row, rerun=rerun, num_rerun=experiment.replication)
        for row, rerun in zip(rows[:num], again, strict=True)
        if row
    ]


def of_plan(plan: Plan) -> Found:
    """The rows of a plan that are done, drawn as its frozen `experiment.yaml` says."""
    frozen = (plan.folder / "experiment.yaml").is_file()
    experiment = read_experiment(plan.folder) if frozen else Experiment("", Path())
    experiment = replace(experiment, name=plan.experiment.name)
    jobs = {job.folder: job for job in plan.jobs if job.folder and not job.training}
    rows = [job for job in jobs.values() if not job.rerun]
    again = [job for job in jobs.values() if job.rerun]
    places = [Path(plan.facts["cwd"]) / str(job.folder) for job in [*rows, *(again if len(again) == len(rows) else [])]]
    done = [place if (place / "records.csv").is_file() else None for place in places]
    lacking = tuple(job.name for job, place in zip(rows, done, strict=False) if place is None)
    record = plan.experiment.with_name(f"{plan.experiment.name}.json")
    return Found(read_rows(experiment, done, len(rows)), experiment, record, lacking)


def found_tables(found: Found) -> dict[str, Table]:
    """By name the table of an experiment's rows with its blocks, and those of its declared contrasts."""
    assert found.experiment
    whole = not found.lacking
    made = {"table": experiment_table(found.experiment, found.rows, whole), **effect_tables(found.rows)}
    if found.experiment.contrasts:
        declared = declared_tables(found.experiment, found.rows, found.record, whole)
        made |= {f"{CONTRASTS}-{i}": table for i, table in enumerate(declared, 1)}
    return made


def show_tables(experiment: Experiment, rows: Sequence[Row], asked: int | None, record: Path, update: bool) -> None:
    """The experiment's table, its declared contrasts, and what differs from the committed results.

    Args:
        experiment: whose.
        rows: that have results.
        asked: how many the whole experiment has; None where only some were asked for.
        record: where it is kept which contrasts were declared when.
        update: replace the committed results.
    """
    whole = len(rows) == asked
    if rows:
        for drawn in (experiment_table(experiment, rows, whole), *effect_tables(rows).values()):
            print(to_terminal(drawn))
    if asked is None:
        return
    if not whole:
        print(f"{asked - len(rows)} of {asked} rows failed: contrasts and results.csv are for all.")
        return
    if experiment.contrasts:
        for drawn in declared_tables(experiment, rows, record, whole):
            print(to_terminal(drawn))
    committed = experiment.folder / "results.csv"
    if update:
        write_results(committed, rows)
        print(f"written: {committed}")
    elif committed.is_file():
        print(to_terminal(differences(rows, committed)))


def declared_tables(experiment: Experiment, rows: Sequence[Row], record: Path, whole: bool) -> list[Table]:
    """The contrasts of `experiment.yaml`, those marked that were declared after one of their runs, and their sizes.

    Contrasts of rows that are not done yet are named below, unless these are the `whole` of the rows.
    """
    names = labels(rows)
    there = [c for c in experiment.contrasts if whole or {c.row, c.against} <= {*names}]
    lacking = [f"{c.row} against {c.against} in {c.metric}" for c in experiment.contrasts if c not in there]
    runs = dict(zip(names, (row.header.run for row in rows), strict=True))
    made = contrast_table(rows, there, [declared_before(record, runs, contrast) for contrast in there])
    notes = (*made.notes, *(f"Not all runs are done: {words}." for words in lacking))
    return [replace(made, notes=notes), *([size_table(rows, there)] if there else [])]


def experiment_table(experiment: Experiment, rows: Sequence[Row], whole: bool) -> Table:
    """The table as `experiment.yaml` draws it (`columns`, `extras`, `median`); its control, if all rows are there."""
    unknown = set(experiment.table) - {"columns", "extras", "median"}
    if unknown:
        raise ConfigError(
            f"{experiment.name}: table.{sorted(unknown)[0]}: no such key. Choose from: columns, extras, median."
        )
    drawn = make_table(rows, **experiment.table)  # type: ignore[arg-type]
    if experiment.control is None or not whole:
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
    rows, experiment, whole = found.rows, found.experiment, not found.lacking
    if only_contrasts and not (experiment and experiment.contrasts):
        raise ConfigError("--contrasts: name one experiment that declares contrasts.")
    made: list[Table] = []
    if reference is not None:
        made.append(against(rows, _published(reference, experiment)))
    elif pivot_column is not None:
        made.append(pivot(rows, pivot_column))
    elif edits:
        made += [fair_table(rows), *equal_effect_tables(rows).values()]
    elif not only_contrasts:
        first = experiment_table(experiment, rows, whole) if experiment else make_table(rows)
        made += [first, *effect_tables(rows).values()]
    made = [beside(made)] if len(made) > 1 and fmt == "csv" else made
    if (
        experiment
        and experiment.contrasts
        and not (reference or pivot_column or edits)
        and (only_contrasts or fmt != "csv")
    ):
        made += declared_tables(experiment, rows, found.record, whole)
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


def _published(reference: str, experiment: Experiment | None) -> Published:
    folder = experiment.folder if experiment else find_experiment("table1").folder
    return Published.read(folder / f"{reference}.yaml" if not Path(reference).is_file() else Path(reference))
