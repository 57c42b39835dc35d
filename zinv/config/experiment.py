"""Experiments: folders whose `experiment.yaml` says which runs make a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from zinv.config.compose import parse_overrides
from zinv.config.fill import Given
from zinv.config.schema import arguments
from zinv.errors import ConfigError, WeightsError, suggest
from zinv.presets import experiment_folders, read_yaml
from zinv.values import Value, article, show, spell, typed

Overrides: TypeAlias = Mapping[str, Value]
"""`{space: zplus, method.lr: 1e-2}`: overrides as YAML writes them."""


@dataclass(frozen=True)
class Need:
    """What must be on disk before an experiment's runs.

    Args:
        file: a weight file's name or path.
        command: what makes it, such as `train model=…`.
        kind: where parts find it by what it says of itself: its kind, such as `base code encoder`; any name will do.
        of: then, the weight file of the generator that it was made for.
        space: then, the label of the space that it was made for, such as `W+`, if it is for one.
    """

    file: str
    command: str
    kind: str | None = None
    of: str | None = None
    space: str | None = None


@dataclass(frozen=True)
class Contrast:
    """A comparison that was declared before the runs.

    Args:
        row: label of the row that is claimed to be as good or better.
        against: label of the row it is compared with.
        metric: column, such as `mse`.
        margin: 0 or more: by how much the row may be worse, has to be better, or may differ.
        direction: which values are better; as the metric says, by default.
        claim: not worse, better, or as good.
        unit: of the margin: the metric's own, decibels of each image's ratio, or percent of the other row's mean.
        test: paired t-test, Wilcoxon's signed ranks, or the paper's: a t-test with a margin of 1e-8.
    """

    row: str
    against: str
    metric: str
    margin: float = 0.0
    direction: Literal["less", "greater"] | None = None
    claim: Literal["noninferior", "superior", "equivalent"] = "noninferior"
    unit: Literal["own", "dB", "percent"] = "own"
    test: Literal["t", "wilcoxon", "paper"] = "t"


@dataclass(frozen=True)
class Control:
    """How much of what the full row gains over the plain one the control row gains alone.

    Args:
        row: label of the control, such as `F alone`.
        plain: label of the row without what is tested; `best` is the best of the rows without a base code.
        full: label of the row with it; `best` is the best of those with a base code, the control left out.
        metric: column, such as `mse`.
    """

    row: str
    plain: str = "best"
    full: str = "best"
    metric: str = "mse"


@dataclass(frozen=True)
class When:
    """Overrides of the rows that have certain values.

    Args:
        having: what a row must have: `{method: bdinvert}`; a list means any of its values.
        then: overrides that such a row gets, unless it sets them itself.
    """

    having: dict[str, object]
    then: dict[str, object]


@dataclass(frozen=True)
class Experiment:
    """A table of the paper, or an ablation.

    Args:
        name: its folder's name.
        folder: where `experiment.yaml` and `results.csv` are.
        title: the claim, in a line.
        base: overrides of all rows.
        rows: overrides of each row, with an optional `label`; with a grid, each row has all its cells.
        grid: values of keys; every combination is a row, the last key varying fastest.
        exclude: rows that have all of these values are left out.
        when: overrides of some rows.
        table: how the table is drawn.
        figures: what is drawn besides.
        needs: what must exist first.
        contrasts: comparisons declared beforehand.
        control: the row whose share of the gain is told.
        replication: how many images of each row are run again with another seed, which gives the table its floor.
    """

    name: str
    folder: Path
    title: str = ""
    base: dict[str, object] = field(default_factory=dict)
    rows: tuple[dict[str, object], ...] = ()
    grid: dict[str, list[object]] = field(default_factory=dict)
    exclude: tuple[dict[str, object], ...] = ()
    when: tuple[When, ...] = ()
    table: dict[str, object] = field(default_factory=dict)
    figures: tuple[dict[str, object], ...] = ()
    needs: tuple[Need, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    control: Control | None = None
    replication: int = 0


RECORDS = {"when": When, "needs": Need, "contrasts": Contrast}


def experiment_names() -> list[str]:
    """Names of all experiments, such as `figure3` and `figure3/figure3_ffhq`, those of the working folder included."""
    found = ((path.parent, folder) for folder in experiment_folders() for path in folder.glob("**/experiment.yaml"))
    return sorted({own.relative_to(folder).as_posix() for own, folder in found})


def find_experiment(name: str) -> Experiment:
    """The experiment of a name, of `./experiments` before the shipped ones, or in a folder.

    Raises:
        ConfigError: there is none, or its file has an unknown key or a value of the wrong type.
    """
    return read_experiment(_folder(name, name))


def _folder(name: str, key: str) -> Path:
    for folder in (*(parent / name for parent in experiment_folders()), Path(name)):
        if (folder / "experiment.yaml").is_file():
            return folder
    raise ConfigError(f"{key}: there is no such experiment. {suggest(name, experiment_names())}")


def read_experiment(folder: Path) -> Experiment:
    """The experiment in a folder.

    `extends: NAME` in its file takes over whatever the file does not say itself.
    """
    path = folder / "experiment.yaml"
    content = _content(folder)
    found = {key: content.pop(key) for key in (*RECORDS, "control") if key in content}
    records: dict[str, object] = {
        key: _records(kind, found.get(key, ()), f"{path}: {key}") for key, kind in RECORDS.items()
    }
    if "control" in found:
        records["control"] = _record(Control, found["control"], f"{path}: control")
    fields = {name for name in arguments(Experiment) if name not in ("name", "folder")}
    for key, value in content.items():
        if key not in fields:
            raise ConfigError(f"{path}: {key}: no such key. {suggest(key, fields)}")
        content[key] = typed(value, arguments(Experiment)[key].annotation, f"{path}: {key}")
    experiment = Experiment(folder.name, folder, **cast(dict[str, Any], {**content, **records}))
    if not expand(experiment):
        raise ConfigError(f"{path}: it has no rows; give a grid or rows.")
    return experiment


def _content(folder: Path, children: tuple[Path, ...] = ()) -> dict[str, Value]:
    """What a file says, over what the experiment that it extends says; mappings merge key by key, null takes out."""
    path = folder / "experiment.yaml"
    content = read_yaml(path)
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends={show(parent)}: not the name of an experiment.")
    above = _folder(parent, f"{path}: extends={parent}")
    if above in (*children, folder):
        raise ConfigError(f"{path}: extends={parent}: an experiment cannot extend itself.")
    return _over(_content(above, (*children, folder)), content)


def _over(below: dict[str, Value], above: dict[str, Value]) -> dict[str, Value]:
    merged = {**below, **above}
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            merged[key] = {**under, **value}
    return {key: value for key, value in merged.items() if value is not None}


def missing_needs(experiment: Experiment) -> list[Need]:
    """What an experiment needs and is not there."""
    return [need for need in experiment.needs if not _is_there(need)]


def _is_there(need: Need) -> bool:
    from zinv import weights

    try:
        weights.find(need.file)
        return True
    except WeightsError:
        return need.of is not None and _is_found(need)


def _is_found(need: Need) -> bool:
    """Whether a weight file of any name says that it is of this kind, and for this generator and space."""
    from zinv import weights

    try:
        wanted = {"kind": need.kind, "generator": weights.sha256(weights.find(str(need.of)))}
    except WeightsError:
        return False
    wanted |= {"space": need.space} if need.space else {}
    return any(wanted.items() <= weights.metadata(weights.find(name)).items() for name in weights.names())


def expand(experiment: Experiment) -> list[list[str]]:
    """The overrides of every run, base included, in the order of the file.

    A row's label becomes its `name`. Overrides of `when` come before the row's own.
    """
    return [as_overrides({**experiment.base, **row}) for row in _rows(experiment)]


def as_overrides(values: Mapping[str, object]) -> list[str]:
    """A mapping as overrides.

    >>> as_overrides({"space": "zplus", "method.sizes": [4, 8], "name": None})
    ['space=zplus', 'method.sizes=[4,8]', 'name=null']
    """
    return [f"{key}={show(cast(Value, value))}" for key, value in values.items()]


def layer(*layers: Sequence[str]) -> list[str]:
    """Overrides over overrides: a later layer's value of a key replaces an earlier one's.

    >>> layer(["space=z", "seed=1"], ["space=zplus"])
    ['space=zplus', 'seed=1']
    """
    merged: Given = {}
    for overrides in layers:
        merged |= parse_overrides(overrides)
    return [f"{key}={text}" for key, text in merged.items()]


def _rows(experiment: Experiment) -> Iterator[dict[str, object]]:
    cells = [dict(zip(experiment.grid, values, strict=True)) for values in itertools.product(*experiment.grid.values())]
    rows = experiment.rows or (({},) if experiment.grid else ())
    for row in rows:
        for cell in cells:
            own = {("name" if key == "label" else key): value for key, value in {**row, **cell}.items()}
            whole = {**experiment.base, **own}
            if not any(_has(whole, pattern) for pattern in experiment.exclude):
                extra = {k: v for when in experiment.when if _has(whole, when.having) for k, v in when.then.items()}
                yield {**extra, **own}


def _has(row: Mapping[str, object], pattern: Mapping[str, object]) -> bool:
    return all(row.get(key) in (value if isinstance(value, list) else [value]) for key, value in pattern.items())


def _records(kind: type, entries: Value, where: str) -> tuple[object, ...]:
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise ConfigError(f"{where}={show(entries)}: not a list.")
    return tuple(_record(kind, entry, f"{where}[{i}]") for i, entry in enumerate(entries))


def _record(kind: type, entry: object, where: str) -> object:
    """A mapping of the file as its dataclass."""
    known = arguments(kind)
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}={show(cast(Value, entry))}: not a mapping of {', '.join(known)}.")
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}.{key}: no such key. {suggest(str(key), known)}")
    for name, argument in known.items():
        if argument.required and name not in entry:
            raise ConfigError(f"{where}.{name}: give {article(spell(argument.annotation))}.")
    return kind(**{key: typed(value, known[key].annotation, f"{where}.{key}") for key, value in entry.items()})
