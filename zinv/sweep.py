"""Experiments: every unfinished run of a plan, then its table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from zinv.config import Config, Experiment, compose, expand, experiment_names, find_experiment, layer, run_folder
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.evaluation.formats import format_table, to_terminal
from zinv.evaluation.results import Published, against, contrast_table, differences, write_results
from zinv.evaluation.rows import Row
from zinv.evaluation.store import runs_in
from zinv.evaluation.table import Table, make_table, pivot
from zinv.run import evaluate
from zinv.weights import find

ENDINGS = {"md": "markdown", "latex": "latex", "csv": "csv"}


def run_experiment(name: str, overrides: Sequence[str], keep: bool, fresh: bool, update: bool) -> int:
    """Do every run of an experiment in turn, and print its table; the same command again resumes.

    A run on several devices is a process of its own, since Lightning starts the whole command line again on each.

    Returns:
        0, or 1 if a run failed.
    """
    experiment = find_experiment(name)
    check_needs(experiment)
    plan = [layer(row, overrides) for row in expand(experiment)]
    configs = [compose(row) for row in plan]  # every mistake shows before the first run
    failed = 0
    for i, (row, config) in enumerate(zip(plan, configs, strict=True), 1):
        print(f"[{i}/{len(plan)}] {config['name'] or run_folder(config).parent.name}", flush=True)
        alone = config["trainer"]["devices"] == 1 and config["trainer"]["num_nodes"] == 1
        if alone:
            failed += evaluate(row, keep, fresh, experiment.name)
        else:
            failed += _in_process([*row, *_group(config, experiment.name)], keep, fresh)
    show_tables(experiment, [run_folder(config) for config in configs], update)
    return 1 if failed else 0


def _group(config: Config, name: str) -> list[str]:
    """The experiment's name as the logger's group, where it has a group and no name for it."""
    logger = config["logger"]
    return [f"logger.group={name}"] if "group" in logger and logger["group"] is None else []


def _in_process(row: Sequence[str], keep: bool, fresh: bool) -> int:
    flags = [*(["--keep"] if keep else []), *(["--fresh"] if fresh else [])]
    return subprocess.run([sys.executable, "-m", "zinv", "evaluate", *row, *flags], check=False).returncode


def check_needs(experiment: Experiment) -> None:
    """Refuse to start without what must exist first.

    Raises:
        WeightsError: names the file and the command that makes it.
    """
    for need in experiment.needs:
        try:
            find(need.file)
        except WeightsError as error:
            raise WeightsError(f"{experiment.name} needs {need.file}; `zinv {need.command}` makes it.") from error


def show_tables(experiment: Experiment, folders: Sequence[Path], update: bool) -> None:
    """The experiment's table, its declared contrasts, and what differs from the committed results."""
    rows = [Row.read(folder) for folder in folders]
    print(to_terminal(experiment_table(experiment, rows)))
    if experiment.contrasts:
        print(to_terminal(contrast_table(rows, experiment.contrasts)))
    committed = experiment.folder / "results.csv"
    if update:
        write_results(committed, rows)
        print(f"written: {committed}")
    elif committed.is_file():
        print(to_terminal(differences(rows, committed)))


def experiment_table(experiment: Experiment, rows: Sequence[Row]) -> Table:
    """The table as `experiment.yaml` draws it: `columns`, `extras`, `median`."""
    unknown = set(experiment.table) - {"columns", "extras", "median"}
    if unknown:
        raise ConfigError(
            f"{experiment.name}: table.{sorted(unknown)[0]}: no such key. Choose from: columns, extras, median."
        )
    return make_table(rows, **experiment.table)  # type: ignore[arg-type]


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
