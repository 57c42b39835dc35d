"""Edits compared at equal change: how often it is reached, identity at the largest that all rows reach, and on the way.

A comparison over what each row happens to reach would favour the row that gives up on hard images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from zinv.errors import ProtocolError
from zinv.evaluation.edits import EditHeader, read_edits
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row, comparable
from zinv.evaluation.table import Cell, Head, Table, arrow, interval_cell, labels
from zinv.statistics import mean_interval

Key = tuple[str, str, bool]
"""An image, a direction, and whether the change is positive."""


@dataclass(frozen=True)
class Side:
    """The calibrated edits of one row.

    Attributes:
        label: of the row.
        reached: identity to the input by amount, of each image, direction and sign; a missing face scores 0.
        asked: amounts that were to be reached, by the same.
        start: identity of each image's inversion, before any edit.
        control: identity after a random direction that changed the picture as much, by amount.
        judged: change of the attribute that the second network sees, along the amount's sign, by amount.
    """

    label: str
    reached: Mapping[Key, Mapping[float, float]]
    asked: Mapping[Key, int]
    start: Mapping[str, float]
    control: Mapping[Key, Mapping[float, float]] = field(default_factory=dict)
    judged: Mapping[Key, Mapping[float, float]] = field(default_factory=dict)

    @property
    def reach_rate(self) -> float:
        """Share of all amounts that were reached."""
        return sum(map(len, self.reached.values())) / sum(self.asked.values())


def make_side(label: str, frame: pd.DataFrame, column: str, start: Mapping[str, float]) -> Side:
    """From rows of an `edits.csv`; amounts of 0 are left out.

    Args:
        label: of the row.
        frame: its edits.
        column: identity to the input.
        start: identity of each image's inversion.
    """
    reached: dict[Key, dict[float, float]] = {}
    control: dict[Key, dict[float, float]] = {}
    judged: dict[Key, dict[float, float]] = {}
    asked: dict[Key, int] = {}
    for row in frame[frame["strength"] != 0].to_dict("records"):
        key = (str(row["image"]), str(row["direction"]), row["strength"] > 0)
        asked[key] = asked.get(key, 0) + 1
        values = reached.setdefault(key, {})
        if row["status"] == "ok":
            values[abs(row["strength"])] = _or_zero(row[column])
            if not math.isnan(row.get("control_step", math.nan)):
                control.setdefault(key, {})[abs(row["strength"])] = _or_zero(row[f"control_{column}"])
            if not math.isnan(seen := row.get("judge_change", math.nan)):
                judged.setdefault(key, {})[abs(row["strength"])] = math.copysign(1, row["strength"]) * seen
    return Side(label, reached, asked, start, control, judged)


def alike(sides: Sequence[Side]) -> list[Side]:
    """The sides, all asked for what any was asked for: what a row has no inversion of, it does not reach."""
    asked: dict[Key, int] = {}
    for side in sides:
        asked |= {key: max(count, asked.get(key, 0)) for key, count in side.asked.items()}
    return [replace(side, asked=asked) for side in sides]


def _or_zero(value: float) -> float:
    """A missing face scores 0."""
    return 0.0 if math.isnan(value) else float(value)


def largest_common(sides: Sequence[Side]) -> dict[Key, float]:
    """The largest amount that all sides reach, by image, direction and sign; those without one are left out.

    >>> a = Side("a", {("ada", "smile", True): {0.5: 0.9, 1.0: 0.8}}, {}, {})
    >>> b = Side("b", {("ada", "smile", True): {0.5: 0.7}}, {}, {})
    >>> largest_common([a, b])
    {('ada', 'smile', True): 0.5}
    """
    shared = [key for key in sides[0].reached if all(key in side.reached for side in sides)]
    both = {key: set.intersection(*(set(side.reached[key]) for side in sides)) for key in shared}
    return {key: max(amounts) for key, amounts in both.items() if amounts}


def at_common(side: Side, common: Mapping[Key, float]) -> dict[str, float]:
    """Identity at the largest common change: each image's mean over directions and signs."""
    return _by_image((key[0], side.reached[key][amount]) for key, amount in common.items())


def control_at_common(side: Side, common: Mapping[Key, float]) -> dict[str, float]:
    """The same of the random directions that changed the pictures as much; of edits without one, nothing."""
    pairs = ((key, side.control.get(key, {}).get(amount)) for key, amount in common.items())
    return _by_image((key[0], value) for key, value in pairs if value is not None)


def difference(side: Side, other: Side) -> dict[str, float]:
    """How much more identity a side keeps than another, by image, at the largest change that these two reach.

    >>> a = Side("a", {("ada", "smile", True): {0.5: 0.75, 1.0: 0.25}}, {}, {})
    >>> b = Side("b", {("ada", "smile", True): {0.5: 0.5}}, {}, {})
    >>> difference(a, b)
    {'ada': 0.25}
    """
    common = largest_common([side, other])
    one, two = at_common(side, common), at_common(other, common)
    return {image: one[image] - two[image] for image in one}


def judged_at_common(side: Side, common: Mapping[Key, float]) -> dict[str, float]:
    """The change there that the second network sees, by image; of edits that it has not seen, nothing."""
    pairs = ((key, side.judged.get(key, {}).get(amount)) for key, amount in common.items())
    return _by_image((key[0], value) for key, value in pairs if value is not None)


def unedited(side: Side, common: Mapping[Key, float]) -> dict[str, float]:
    """Identity of the inversions of the images that are compared, before any edit."""
    return _by_image((key[0], side.start[key[0]]) for key in common)


def area(side: Side, common: Mapping[Key, float]) -> dict[str, float]:
    """Mean identity on the way from no change to the largest common one (trapezoids), by image as above."""
    return _by_image((key[0], _mean_height(side, key, amount)) for key, amount in common.items())


def _mean_height(side: Side, key: Key, amount: float) -> float:
    points = sorted((x, y) for x, y in side.reached[key].items() if x <= amount)
    x, y = zip((0.0, side.start[key[0]]), *points, strict=True)
    return float(np.trapezoid(y, x)) / amount


def _by_image(values: Iterator[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for image, value in values:
        found.setdefault(image, []).append(value)
    return {image: float(np.mean(each)) for image, each in found.items()}


def reached_by_all(frames: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The edits `(image, direction, strength)` that have a result in every row, and a note if that leaves some out.

    Raises:
        ProtocolError: there is none.
    """
    keyed = {label: frame.set_index(["image", "direction", "strength"]) for label, frame in frames.items()}
    done = [{*frame.index[frame["status"] == "ok"]} for frame in keyed.values()]
    shared, every = set.intersection(*done), set.union(*({*frame.index} for frame in keyed.values()))
    if not shared:
        raise ProtocolError("no edit is reached by all rows.")
    kept = {label: frame[frame.index.isin(shared)].reset_index() for label, frame in keyed.items()}
    told = f"On the {len(shared):,} of {len(every):,} edits that all rows reach."
    return kept, (told,) if len(shared) < len(every) else ()


@dataclass(frozen=True)
class EqualChange:
    """Rows of calibrated edits, and where they meet.

    Attributes:
        rows: that may share a table.
        metric: of identity.
        sides: of the rows.
        common: the largest amount that all reach, by image, direction and sign.
        frames: the edits by that amount, by label.
    """

    rows: Sequence[Row]
    metric: MetricInfo
    sides: Sequence[Side]
    common: Mapping[Key, float]
    frames: Mapping[str, pd.DataFrame]


def equal_change(rows: Sequence[Row]) -> EqualChange:
    """Where rows of calibrated edits meet.

    Raises:
        ProtocolError: a row has no calibrated edits, the rows have different ones, or nothing in common.
    """
    rows = comparable(rows)
    found = [_edits_of(row) for row in rows]
    (metric,) = found[0][0].edits.identity[:1] or (None,)
    if metric is None:
        raise ProtocolError(f"{rows[0].label}: its edits were measured without an identity metric.")
    names = labels(rows)
    sides = alike(
        [
            make_side(name, frame, metric.name, _starts(row, metric))
            for name, row, (_, frame) in zip(names, rows, found, strict=True)
        ]
    )
    common = largest_common(sides)
    if not any(largest_common([sides[0], side]) for side in sides[1:] or sides):
        raise ProtocolError("no change is reached by two rows for any image and direction.")
    frames = {name: _at(frame, common) for name, (_, frame) in zip(names, found, strict=True)}
    return EqualChange(rows, metric, sides, common, frames)


def fair_table(rows: Sequence[Row]) -> Table:
    """Rows of calibrated edits at equal change; differences are from the first row, image by image.

    Raises:
        ProtocolError: as `equal_change`.
    """
    equal = equal_change(rows)
    sides, common, metric = equal.sides, equal.common, equal.metric
    judge = any(side.judged for side in sides)
    body = [_line(side, common, sides[0] if i else None, metric, judge) for i, side in enumerate(sides)]
    heads = (Head("space"), Head("reached"), Head(f"{metric.label} at equal change", arrow(metric)))
    more = (
        Head("difference"),
        Head("its n"),
        Head(f"{metric.label} on the way", arrow(metric)),
        Head("no edit"),
        Head("control"),
        *([Head("judge")] if judge else []),
        Head("n"),
    )
    return Table((*heads, *more), tuple(body), _notes(equal.rows, sides, common, sides[0].label))


def _at(frame: pd.DataFrame, common: Mapping[Key, float]) -> pd.DataFrame:
    """The edits by the common amount."""
    keys = zip(frame["image"], frame["direction"], frame["strength"], strict=True)
    return frame[[abs(amount) == common.get((image, name, amount > 0)) for image, name, amount in keys]]


def _edits_of(row: Row) -> tuple[EditHeader, pd.DataFrame]:
    if row.edits is None or row.folder is None:
        raise ProtocolError(f"{row.label}: it has no edits. Make some with direction=NAME direction.amount=attribute.")
    if row.edits.amount == "step":
        raise ProtocolError(
            f"{row.label}: its edits are by steps of the direction, and equal steps are no equal edits. "
            "Make calibrated ones with direction.amount=attribute, image or w."
        )
    return read_edits(row.folder)


def _starts(row: Row, metric: MetricInfo) -> dict[str, float]:
    values = row.done[metric.name].fillna(0.0)
    return {str(name): float(value) for name, value in values.items()}


def _line(
    side: Side, common: Mapping[Key, float], first: Side | None, metric: MetricInfo, judge: bool
) -> tuple[Cell, ...]:
    equal, on_the_way = at_common(side, common), area(side, common)
    apart = [*difference(side, first).values()] if first else []
    cells = [interval_cell(mean_interval(values), metric.digits) for values in ([*equal.values()], apart)]
    cells.append(Cell(str(len(apart)) if first else "–"))
    controls = [on_the_way, unedited(side, common), control_at_common(side, common)]
    controls += [judged_at_common(side, common)] if judge else []
    rest = [interval_cell(mean_interval(list(each.values())), metric.digits) for each in controls]
    return (Cell(side.label, space=True), Cell(f"{side.reach_rate:.1%}"), *cells, *rest, Cell(str(len(equal))))


def _notes(rows: Sequence[Row], sides: Sequence[Side], common: Mapping[Key, float], first: str) -> tuple[str, ...]:
    edits = rows[0].edits
    assert edits is not None
    num = len(sides[0].asked)
    lines = [
        rows[0].header.protocol.line,
        edits.line,
        f"At equal change: for each image, direction and sign the largest change that all rows reach; "
        f"{num - len(common)} of {num} have none. Mean over images of their means ± half of its 95 % t-interval; "
        "a missing face scores 0.",
        "On the way: mean identity from no change to that one.",
        f"Differences are from {first}, image by image, at the largest change that it and the row reach.",
        "No edit: identity of the inversions. Control: after random directions that change the pictures as much.",
    ]
    if common:
        mean = float(np.mean([*_by_image((key[0], amount) for key, amount in common.items()).values()]))
        by = " by the network that the steps were calibrated with" if edits.amount == "attribute" else ""
        lines.append(f"Equal change is {mean:.3g} on average{by}.")
    if any(side.judged for side in sides):
        lines.append("Judge: the change of the attribute there that the other network sees.")
    return tuple(lines)
