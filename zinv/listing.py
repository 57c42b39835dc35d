"""What can be chosen, and what was: `zinv list`, `zinv show` and dry runs."""

from __future__ import annotations

import ast
import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from zinv.config import (
    Config,
    as_overrides,
    compose,
    find_experiment,
    missing_needs,
    run_folder,
    slug,
    stored,
    to_yaml,
)
from zinv.config.experiment import experiment_names
from zinv.config.schema import PARTS
from zinv.config.selection import EVERYTHING, Selection, select
from zinv.errors import ConfigError, WeightsError, suggest
from zinv.presets import PACKAGE, locate, preset_folders, preset_names, read_yaml

NEWLINE = "\n"


def show(overrides: Sequence[str], base: Config | None = None) -> int:
    """Print the configuration that `zinv evaluate` would run, or that a run folder ran."""
    if len(overrides) == 1 and "=" not in overrides[0]:
        print(to_yaml(stored(Path(overrides[0]))), end="")
        return 0
    return _print_config(compose(overrides, base))


def show_training(overrides: Sequence[str]) -> int:
    """Print the configuration that `zinv train` would run."""
    from zinv.train import configure, training_folder

    return _print_config(configure(overrides), training_folder)


def show_plan(name: str | None, overrides: Sequence[str], selection: Selection = EVERYTHING) -> int:
    """Print what an experiment lacks, then its runs: the folder of each, whether it was begun, and its overrides."""
    selected = select(name, overrides, selection)
    experiment, rows = selected.experiment, selected.rows
    places = [_place(compose(row)) for row in rows]
    needs = missing_needs(experiment)
    for need in needs:
        print(f"missing: {need.file}; `zinv {need.command}` makes it")
    for lack in dict.fromkeys(lack for _, lack in places if lack):
        if not any(lack.startswith(f"{need.file}: ") for need in needs):
            print(f"missing: {lack}")
    for row, (folder, _) in zip(rows, places, strict=True):
        print(f"{folder}{' (begun)' if Path(folder).is_dir() else ''}: {shlex.join(['zinv', 'evaluate', *row])}")
    return 0


def show_presets(group: str | None) -> int:
    """Print the choices of one group, or of all."""
    groups = [*PARTS, "experiments"]
    if group not in (None, *groups):
        raise ConfigError(f"zinv list {group}: there is no such group. {suggest(str(group), groups)}")
    for name in [group] if group else groups:
        lines = dict(_experiments() if name == "experiments" else _presets(name))
        width = max(map(len, lines), default=0)
        print("\n".join([f"{name}:", *(f"  {choice:{width}}  {line}".rstrip() for choice, line in lines.items())]))
    if group == "direction":
        print("\n".join(_stored_directions()))
    return 0


def _stored_directions() -> Iterator[str]:
    """A table of the directions in the weight folders: name, spaces, layers, calibrated range, generator, file."""
    from zinv.editing.sources import stored_directions

    heads = ("direction", "space", "layers", "calibrated range", "generator", "file")
    rows = [
        (d.name, ", ".join(d.fits), d.layers(), _range(d.range), d.generator[:8], file)
        for file, directions in stored_directions()
        for d in directions
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows) if rows else ():
        yield "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    if not rows:
        yield "  no directions have been fitted yet: zinv train model=interfacegan space=zplus"


def _range(ends: tuple[float, float] | None) -> str:
    return "not measured" if ends is None else f"{ends[0]:g} to {ends[1]:g}"


def _print_config(config: Config, folder: Callable[[Config], Path] = run_folder) -> int:
    print(f"# run folder: {_folder(config, folder)}\n{to_yaml(config)}", end="")
    return 0


def _place(config: Config) -> tuple[str, str]:
    """The folder of a run, and the weight file that it lacks, without which the folder's digits are not known."""
    try:
        return str(run_folder(config)), ""
    except WeightsError as error:
        return str(Path(config["runs"]) / slug(config) / "not known yet"), str(error)


def _folder(config: Config, folder: Callable[[Config], Path] = run_folder) -> str:
    try:
        return str(folder(config))
    except WeightsError as error:
        return f"not known yet ({error})"


def _experiments() -> Iterator[tuple[str, str]]:
    for name in experiment_names():
        yield name, find_experiment(name).title


def _presets(group: str) -> Iterator[tuple[str, str]]:
    for name in preset_names(group):
        path = next(file for folder in preset_folders() if (file := folder / group / f"{name}.yaml").is_file())
        yield name, _comment(path) or _docstring(path)


def _comment(path: Path) -> str:
    """The first line of a preset, if it is a comment."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _docstring(path: Path) -> str:
    """The first line of what a preset's target says of itself, and what the preset changes."""
    settings = read_yaml(path)
    module, _, name = str(settings.pop("_target_", "")).rpartition(".")
    line = _source_docstring(module, name) or (inspect.getdoc(locate(f"{module}.{name}")) or "")
    changes = ", ".join(as_overrides({k: v for k, v in settings.items() if not k.startswith("_")}))
    return f"{line.partition(NEWLINE)[0]}{f' [{changes}]' if changes else ''}"


def _source_docstring(module: str, name: str) -> str:
    """A docstring of one of our own modules, without importing it: torch takes seconds."""
    file = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not module.startswith("zinv.") or not file.is_file():
        return ""
    found = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if getattr(node, "name", "") == name]
    return next(
        (ast.get_docstring(node) or "" for node in found if isinstance(node, ast.ClassDef | ast.FunctionDef)), ""
    )
