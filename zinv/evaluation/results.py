"""What an experiment commits (`results.csv`), how a new run of it differs, published numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pandas as pd
import yaml

from zinv.errors import ProtocolError, StoreError, suggest
from zinv.evaluation.files import replace_text
from zinv.evaluation.records import MetricInfo, Scalar, number
from zinv.evaluation.rows import Row, comparable
from zinv.evaluation.table import Cell, Head, Table, chosen_metrics, labels
from zinv.statistics import median, prediction_interval, share_interval

COLUMNS: Final = (
    "row",
    "metric",
    "mean",
    "half_width",
    "median",
    "n",
    "missing",
    "run",
    "commit",
    "code",
    "protocol",
)


class Control(Protocol):
    """A row and how much of what `full` gains over `plain` it gains alone; either may be `best`."""

    @property
    def row(self) -> str: ...  # noqa: D102
    @property
    def plain(self) -> str: ...  # noqa: D102
    @property
    def full(self) -> str: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Published:
    """Means that somebody published: by row label and column, over `images` images."""

    title: str
    images: int
    values: Mapping[str, Mapping[str, float]]

    @classmethod
    def read(cls, path: Path) -> Published:
        """From a YAML file with these three keys.

        Raises:
            StoreError: it is missing or of another form.
        """
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(str(content["title"]), int(content["images"]), content["values"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path}: not a file of published numbers ({' '.join(str(error).split())}).") from error


def results(rows: Sequence[Row]) -> Iterator[dict[str, Scalar]]:
    """One line for each run and metric."""
    for label, row in zip(labels(rows), rows, strict=True):
        for metric in row.metrics:
            mean = row.mean(metric.name)
            yield {
                "row": label,
                "metric": metric.name,
                "mean": mean.value,
                "half_width": mean.half_width,
                "median": median(row.values(metric.name)),
                "n": mean.n,
                "missing": row.missing(metric.name),
                "run": row.header.run,
                "commit": row.header.commit,
                "code": "+".join(row.header.code),
                "protocol": row.header.protocol.digest[:8],
            }


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Write `results.csv`, the protocol's line above it.

    Raises:
        ProtocolError: the rows may not share a table.
    """
    rows = comparable(rows)
    text = io.StringIO()
    text.write(f"# {rows[0].header.protocol.line}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([number(line[name]) for name in COLUMNS] for line in results(rows))
    replace_text(path, text.getvalue())


def read_results(path: Path) -> pd.DataFrame:
    """The lines of a `results.csv`.

    Raises:
        StoreError: it is missing or of another form.
    """
    try:
        frame = pd.read_csv(path, comment="#", dtype=dict.fromkeys(("row", "run", "commit", "code", "protocol"), str))
        return frame[list(COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: not a results file ({' '.join(str(error).split())}).") from error


def differences(rows: Sequence[Row], path: Path) -> Table:
    """How the means of runs differ from those of a committed `results.csv`."""
    before = {(str(old.row), str(old.metric)): old for old in read_results(path).itertuples()}
    body = []
    for line in results(comparable(rows)):
        key = (str(line["row"]), str(line["metric"]))
        old = before.pop(key, None)
        other = old is not None and str(old.protocol) != line["protocol"]
        then = float(str(old.mean)) if old else math.nan
        body.append(_difference(*key, float(number(line["mean"])), then, "another protocol" if other else ""))
    gone = [_difference(*key, math.nan, float(str(old.mean)), "not run now") for key, old in before.items()]
    heads = ("space", "metric", "now", "committed", "difference", "%", "remark")
    return Table(tuple(map(Head, heads)), (*body, *gone), (f"Committed: {path}.",))


def _difference(row: str, metric: str, now: float, then: float, remark: str) -> tuple[Cell, ...]:
    percent = 100 * (now - then) / then if then else math.nan
    numbers = (_number(now), _number(then), _number(now - then, "+"), _number(percent, "+", 3))
    return (Cell(row, space=True), Cell(metric), *map(Cell, numbers), Cell(remark))


def against(rows: Sequence[Row], published: Published) -> Table:
    """Rows beside published means, and whether those lie where the mean of that many other images would (95 %).

    Raises:
        ProtocolError: no row has a published number.
    """
    body = [
        _against_line(row, column, value, published.images)
        for row in comparable(rows)
        for column, value in published.values.get(row.label, {}).items()
        if column in row.header.protocol.columns
    ]
    if not body:
        names = ", ".join(row.label for row in rows)
        raise ProtocolError(f"{published.title} has no number of {names}. {suggest(rows[0].label, published.values)}")
    heads = ("space", "metric", "mean", "published", "difference", "95 % interval of another mean", "inside")
    notes = (
        rows[0].header.protocol.line,
        f"Published: {published.title}, over {published.images} images, which are not these.",
    )
    return Table(tuple(map(Head, heads)), tuple(body), notes)


def control_line(rows: Sequence[Row], control: Control) -> str:
    """How much of the full row's gain over the plain one the control row has alone, as a line under a table.

    Raises:
        ProtocolError: there is no such row or metric.
    """
    by_label = dict(zip(labels(rows), comparable(rows), strict=True))
    (metric,) = chosen_metrics(rows[0], [control.metric])
    names = [_side(by_label, control, metric, name) for name in ("plain", "row", "full")]
    means = [by_label[name].mean(metric.name).value for name in names]
    plain, alone, full = (f"{name} ({mean:.{metric.digits}f})" for name, mean in zip(names, means, strict=True))
    if not (means[2] > means[0] if metric.higher_is_better else means[2] < means[0]):
        return f"Control: {full} gains nothing over {plain} in {metric.label}."
    columns = pd.concat([by_label[name].done[metric.name] for name in names], axis=1, join="inner")
    share = share_interval(*columns.to_numpy(float).T)
    return (
        f"Control: {alone} has {share.value:.0%} of what {full} gains over {plain} in {metric.label} "
        f"(95 % bootstrap interval over images: {share.low:.0%} to {share.high:.0%})."
    )


def _side(rows: Mapping[str, Row], control: Control, metric: MetricInfo, side: str) -> str:
    """The label that a control names, or the best of the rows without (plain) or with (full) a base code."""
    label = str(getattr(control, side))
    if label == "best":
        fitting = [name for name, row in rows.items() if bool(row.setting("base code")) == (side == "full")]
        means = {name: rows[name].mean(metric.name).value for name in fitting if name != control.row}
        known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
        label = (max if metric.higher_is_better else min)(known, key=known.__getitem__, default="best")
    if label not in rows:
        raise ProtocolError(f"control {side} {label}: no such row. {suggest(label, rows)}")
    return label


def _against_line(row: Row, column: str, value: float, images: int) -> tuple[Cell, ...]:
    (metric,) = chosen_metrics(row, [column])
    interval = prediction_interval(row.values(column), images)
    low, high, mean = (f"{x:.{metric.digits}f}" for x in (interval.low, interval.high, interval.value))
    half = f"{row.mean(column).half_width:.{metric.digits}f}"
    return (
        Cell(row.label, space=True),
        Cell(metric.label),
        Cell(mean, half),
        Cell(f"{value:.5f}"),
        Cell(f"{interval.value - value:+.{metric.digits}f}"),
        Cell(f"{low} to {high}"),
        Cell("yes" if value in interval else "no"),
    )


def _number(value: float, sign: str = "", digits: int = 6) -> str:
    return "–" if math.isnan(value) else f"{value:{sign}.{digits}g}"
