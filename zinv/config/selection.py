"""Which rows of an experiment, or of a grid from the command line, are meant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from zinv.config.compose import compose, parse_overrides
from zinv.config.experiment import Experiment, expand, find_experiment, layer
from zinv.errors import ConfigError, suggest

OPENING: Final = "[{("
CLOSING: Final = "]})"


@dataclass(frozen=True)
class Selection:
    """What the command line says of rows.

    Args:
        grid: whether overrides with commas are axes of a grid.
        only: `space=zplus,wplus`, each of which a row must have.
        shards: jobs that share the images of each row.
    """

    grid: bool = False
    only: tuple[str, ...] = ()
    shards: int = 1


EVERYTHING: Final = Selection()


@dataclass(frozen=True)
class Selected:
    """An experiment, and those of its rows that are meant, as overrides; `whole` if these are all."""

    experiment: Experiment
    rows: list[list[str]]
    whole: bool


def select(name: str | None, overrides: Sequence[str], selection: Selection = EVERYTHING) -> Selected:
    """The rows of an experiment, or of a grid alone.

    Raises:
        ConfigError: no such experiment, a filter on a key that no row sets, or that no row passes.
    """
    axes = {key: values for key, values in map(_axis, overrides) if len(values) > 1} if selection.grid else {}
    if name is None:
        if not selection.grid:
            raise ConfigError(
                "name an experiment (zinv list experiments), or give a grid: --grid space=z,zplus seed=0,1."
            )
        rest = [text for text in overrides if _axis(text)[0] not in axes]
        experiment = _grid(axes, rest)
        rows = expand(experiment)
    else:
        experiment = find_experiment(name)
        experiment = replace(experiment, grid={**experiment.grid, **axes})
        rest = [text for text in overrides if _axis(text)[0] not in axes]
        rows = [layer(row, rest) for row in expand(experiment)]
    chosen = _filtered(rows, selection.only)
    return Selected(experiment, chosen, whole=len(chosen) == len(rows))


def reruns(experiment: Experiment, rows: Sequence[list[str]]) -> list[list[str]]:
    """Overrides of the rows that are run again on a few images with another seed, where the experiment asks for it."""
    if not experiment.replication:
        return []
    return [layer(row, [f"data.num={experiment.replication}", f"seed={compose(row)['seed'] + 1}"]) for row in rows]


def _grid(axes: Mapping[str, list[object]], rest: Sequence[str]) -> Experiment:
    """An experiment without a folder, named by its axes and their values."""
    base: dict[str, object] = {**parse_overrides(rest)}
    if not axes:
        rows: tuple[dict[str, object], ...] = ({},)
        return Experiment(_grid_name(rest), Path(), base=base, rows=rows)
    words = [f"{key}={','.join(map(str, values))}" for key, values in axes.items()]
    return Experiment(_grid_name([*words, *rest]), Path(), base=base, grid=dict(axes))


def _grid_name(words: Sequence[str]) -> str:
    return f"grid-{hashlib.sha256(' '.join(sorted(words)).encode()).hexdigest()[:8]}"


def _axis(text: str) -> tuple[str, list[object]]:
    """An override's key and values.

    >>> _axis("seed=0,1"), _axis("method.sizes=[4,8],[8]")
    (('seed', ['0', '1']), ('method.sizes', ['[4,8]', '[8]']))
    """
    key, sign, values = text.partition("=")
    if not sign:
        raise ConfigError(f"{text}: not a key=value such as space=zplus.")
    depth, parts = 0, [""]
    for letter in values:
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return key, [part.strip() for part in parts]


def _filtered(rows: list[list[str]], only: Sequence[str]) -> list[list[str]]:
    for text in only:
        key, values = _axis(text)
        present = [parse_overrides(row) for row in rows]
        known = {name for given in present for name in given}
        if key not in known:
            raise ConfigError(f"--only {text}: no row sets this key. {suggest(key, known)}")
        kept = [row for row, given in zip(rows, present, strict=True) if given.get(key) in values]
        if not kept:
            there = {given[key] for given in present if key in given}
            raise ConfigError(f"--only {text}: no row has this value. {suggest(str(values[0]), there)}")
        rows = kept
    return rows
