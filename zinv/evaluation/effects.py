"""What edits do beside keeping identity, as blocks under a table: attribute change, drift, distance to the truth."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from zinv.evaluation.edit_means import CHANGE, TRUTH, effects, is_effect, is_single_drift, observer
from zinv.evaluation.edits import read_edits
from zinv.evaluation.fair import equal_change
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row, comparable
from zinv.evaluation.table import (
    BOLD,
    INTERVAL,
    STAR,
    Cell,
    Head,
    Table,
    arrow,
    indistinguishable,
    interval_cell,
    labels,
)
from zinv.statistics import mean_interval

OBSERVERS: Final = {
    "judge": "direction.judge, which fitted nothing",
    "first": "direction.attributes; there is no judge",
}
DRIFTS: Final = (
    "Change: of the direction's own attribute, along the strength's sign. Drift: absolute change of an attribute that "
    "the direction is not of; alone, the mean over all of them. By {}."
)
STEPPED: Final = (
    "An image's mean over its edits but those of strength 0. No drift is bold, since rows change by different amounts."
)
EQUAL: Final = "At equal change, as above."
TRUTHS: Final = (
    "To the truth: the edit against the render of the same person with the attribute so changed, minus the inversion "
    "against its target; 0 is an edit that adds no error."
)


@dataclass(frozen=True, eq=False)
class Column:
    """A metric of edits, its values by image of each row, the rows in bold, and those whose loss descends on it."""

    metric: MetricInfo
    values: Sequence[pd.Series[float]]
    best: Container[int] = ()
    starred: Container[int] = ()


def effect_tables(rows: Sequence[Row]) -> dict[str, Table]:
    """What rows' edits by steps change: `effects`, and `drift` with the attributes one by one; as far as measured.

    Raises:
        ProtocolError: the rows may not share a table.
    """
    rows = comparable(rows)
    columns = []
    for metric in filter(is_effect, rows[0].metrics):
        best = indistinguishable(rows, metric) if metric.name.startswith(TRUTH) else set[int]()
        columns.append(Column(metric, [row.done[metric.name] for row in rows], best, _starred(rows, metric)))
    kinds = (observer(read_edits(row.folder)[1]) for row in rows if row.edits and row.folder)
    bold = [BOLD] if any(column.best for column in columns) else []
    return _blocks(labels(rows), columns, next(filter(None, kinds), ""), [STEPPED, INTERVAL, *bold])


def equal_effect_tables(rows: Sequence[Row]) -> dict[str, Table]:
    """The same of calibrated edits, at the largest change that all rows reach.

    Raises:
        ProtocolError: as `fair_table`.
    """
    equal = equal_change(rows)
    scored = rows[0].metrics
    found = [{metric.name: (metric, values) for metric, values in effects(f, scored)} for f in equal.frames.values()]
    known = {name: metric for each in found for name, (metric, _) in each.items()}
    nothing = pd.Series(dtype=float)
    columns = [
        Column(metric, [each[name][1] if name in each else nothing for each in found], (), _starred(rows, metric))
        for name, metric in known.items()
    ]
    kinds = map(observer, equal.frames.values())
    return _blocks(list(equal.frames), columns, next(filter(None, kinds), ""), [EQUAL, INTERVAL])


def beside(tables: Sequence[Table]) -> Table:
    """Tables of the same rows as one, for formats that have no width: a head that is there already stays out."""
    columns: dict[str, tuple[Head, tuple[Cell, ...]]] = {}
    for table in tables:
        for i, head in enumerate(table.heads):
            columns.setdefault(head.text, (head, tuple(row[i] for row in table.rows)))
    heads, cells = zip(*columns.values(), strict=True)
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Table(heads, tuple(zip(*cells, strict=True)), tuple(notes))


def _blocks(names: Sequence[str], columns: Sequence[Column], kind: str, notes: Sequence[str]) -> dict[str, Table]:
    single = [column for column in columns if is_single_drift(column.metric)]
    whole = [column for column in columns if column not in single]
    told = [DRIFTS.format(OBSERVERS[kind])] if kind else []
    stars = [STAR] if any(column.starred for column in whole) else []
    truth = [TRUTHS] if any(column.metric.name.startswith(TRUTH) for column in whole) else []
    blocks = {"effects": (whole, [*told, *truth]), "drift": (single if len(single) > 1 else [], [])}
    return {
        name: _block(names, chosen, [*own, *([*notes, *stars] if name == "effects" else [])])
        for name, (chosen, own) in blocks.items()
        if chosen
    }


def _block(names: Sequence[str], columns: Sequence[Column], notes: Sequence[str]) -> Table:
    counts = [max(_count(column.values[i]) for column in columns) for i in range(len(names))]
    body = [
        (Cell(name, space=True), *(_cell(column, i) for column in columns), Cell(str(counts[i]) if counts[i] else "–"))
        for i, name in enumerate(names)
    ]
    heads = (Head("space"), *(_head(column.metric) for column in columns), Head("n edited"))
    return Table(heads, tuple(body), (*notes, *_fewer(names, columns, counts)))


def _head(metric: MetricInfo) -> Head:
    return Head(metric.label, "" if metric.name == CHANGE else arrow(metric))


def _cell(column: Column, i: int) -> Cell:
    mean = mean_interval(list(column.values[i]))
    return interval_cell(mean, column.metric.digits, i in column.best, i in column.starred)


def _starred(rows: Sequence[Row], metric: MetricInfo) -> set[int]:
    return {i for i, row in enumerate(rows) if row.in_loss(metric)}


def _fewer(names: Sequence[str], columns: Sequence[Column], counts: Sequence[int]) -> Iterator[str]:
    """A line for each row that has a column of fewer images."""
    for i, (name, count) in enumerate(zip(names, counts, strict=True)):
        each: Mapping[str, int] = {column.metric.label: _count(column.values[i]) for column in columns}
        fewer = [f"{label} {num}" for label, num in each.items() if num < count]
        if fewer:
            yield f"{name}: of {count} images, {', '.join(fewer)}."


def _count(values: pd.Series[float]) -> int:
    return int(values.notna().sum())
