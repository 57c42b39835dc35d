"""Tables of runs: a row a run, a column a metric of one protocol; or method by space for one metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from zinv.errors import ProtocolError, suggest
from zinv.evaluation.edit_means import is_effect, is_of_edits
from zinv.evaluation.faces import face_notes
from zinv.evaluation.files import Json
from zinv.evaluation.layers import layer_notes
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row, comparable, difference_p
from zinv.statistics import Interval, holm

Extra = Literal["n", "missing", "edits", "steps", "start", "truncation", "scalars", "seconds", "memory"]
EXTRAS: Final[tuple[Extra, ...]] = ("n", "missing", "edits", "steps", "start", "truncation", "scalars")
ALPHA: Final = 0.05
BOLD: Final = f"Bold: the best, and all that a paired t-test does not tell from it (Holm, {ALPHA})."
MEMORY: Final = "GB: the most memory that a process of the run had, networks and its whole batch of images included."
EDITED: Final = (
    "Edited: an image's mean over its edits but those of strength 0; a missing face scores 0. Control: the same, after "
    "random directions that change the pictures as much. No edit: the column of the metric itself."
)
STAR: Final = "* The loss descends on the same network."
INTERVAL: Final = "Mean over images ± half of its 95 % t-interval."


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: words, or a number.
        half: the number after ±.
        bold: among the best.
        star: measured with a network that the loss descends on.
        space: the text is a label such as `F/Z+`.
    """

    text: str
    half: str = ""
    bold: bool = False
    star: bool = False
    space: bool = False


@dataclass(frozen=True)
class Head:
    """A column's head; `arrow` is ↑ where higher is better, ↓ where lower is."""

    text: str
    arrow: str = ""
    space: bool = False


@dataclass(frozen=True)
class Table:
    """Heads, rows of cells, and the lines under them; `formats` prints it."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def make_table(
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    extras: Sequence[Extra] = EXTRAS,
    median: bool = False,
    common: bool = False,
) -> Table:
    """Rows of runs.

    Args:
        rows: runs, in the order of the table.
        columns: metrics; by default all but those that `zinv.evaluation.effects` has in blocks of their own.
        extras: columns besides, which are left out where no run has them.
        median: print medians with bootstrap intervals too.
        common: use the images that all rows have, where the sets differ.

    Raises:
        ProtocolError: the rows may not share a table, or there is no such metric.
    """
    asked = len(rows[0].records) if rows else 0
    rows = comparable(rows, common)
    metrics = [m for m in chosen_metrics(rows[0], columns) if columns or not is_effect(m)]
    parts = [_label_column(rows)]
    for metric in metrics:
        parts.append(_metric_column(rows, metric))
        parts += [_median_column(rows, metric)] if median else []
    parts += [column for extra in extras if (column := _extra_column(rows, extra, metrics))]
    heads = tuple(head for head, _ in parts)
    cells = tuple(zip(*(column for _, column in parts), strict=True))
    memory = (MEMORY,) if "memory" in extras and any(row.memory for row in rows) else ()
    return Table(heads, cells, (*notes(rows, metrics, median, asked), *memory))


def pivot(rows: Sequence[Row], column: str, common: bool = False) -> Table:
    """Methods down, spaces across, the mean of one metric inside.

    Raises:
        ProtocolError: the rows may not share a table, two are of one method and space, or there is no such metric.
    """
    rows = comparable(rows, common)
    (metric,) = chosen_metrics(rows[0], [column])
    places = [(str(row.setting("method") or ""), str(row.setting("space") or row.label)) for row in rows]
    twice = next((place for place, count in Counter(places).items() if count > 1), None)
    if twice:
        raise ProtocolError(f"two runs are of method '{twice[0]}' in space '{twice[1]}': this table has room for one.")
    best = indistinguishable(rows, metric)
    cells = {
        place: metric_cell(row, metric, i in best) for i, (place, row) in enumerate(zip(places, rows, strict=True))
    }
    methods, spaces = (list(dict.fromkeys(part)) for part in zip(*places, strict=True))
    heads = (Head(f"{metric.label} {arrow(metric)}"), *(Head(space, space=True) for space in spaces))
    body = tuple((Cell(method), *(cells.get((method, space), Cell("–")) for space in spaces)) for method in methods)
    return Table(heads, body, notes(rows, [metric], False, len(rows[0].records)))


def chosen_metrics(row: Row, columns: Sequence[str] | None) -> list[MetricInfo]:
    """The metrics of these columns, in their order.

    Raises:
        ProtocolError: the protocol has no such metric.
    """
    known = {metric.name: metric for metric in row.metrics}
    for name in columns or ():
        if name not in known:
            raise ProtocolError(
                f"{name}: protocol {row.header.protocol.name} has no such metric. {suggest(name, known)}"
            )
    return [known[name] for name in columns or known]


def arrow(metric: MetricInfo) -> str:
    """Which way is better."""
    return "↑" if metric.higher_is_better else "↓"


def indistinguishable(rows: Sequence[Row], metric: MetricInfo) -> set[int]:
    """Places of the best mean and of all rows that a paired t-test (Holm) cannot tell from it; none if all alone.

    Where cells were run again, also of all that lie within the floor of the best; none if no row lies beyond it.
    """
    means = [row.mean(metric.name).value for row in rows]
    known = [i for i, mean in enumerate(means) if not math.isnan(mean)]
    if len(known) < 2:
        return set()
    best = (max if metric.higher_is_better else min)(known, key=lambda i: means[i])
    others, floor = [i for i in known if i != best], rows[best].floor(metric.name)
    p_values = holm([difference_p(rows[i], rows[best], metric.name) for i in others])
    near = {i for i in others if abs(means[i] - means[best]) <= max(rows[i].floor(metric.name), floor)}
    if floor and len(near) == len(others):
        return set()
    return {best} | near | {i for i, p in zip(others, p_values, strict=True) if not p < ALPHA}


def metric_cell(row: Row, metric: MetricInfo, bold: bool) -> Cell:
    """Mean ± half-width with the metric's decimals."""
    return interval_cell(row.mean(metric.name), metric.digits, bold, row.in_loss(metric))


def notes(rows: Sequence[Row], metrics: Sequence[MetricInfo], median: bool, asked: int) -> tuple[str, ...]:
    """The lines under a table: protocol, the pictures, what the marks mean, what is missing, which code."""
    shared = len(rows[0].records)
    remarks = dict.fromkeys(str(row.setting("remark") or "") for row in rows)
    lines = [rows[0].header.protocol.line, *filter(None, remarks), INTERVAL]
    lines += ["Medians with half of their 95 % bootstrap interval (BCa)."] if median else []
    lines += list(dict.fromkeys(row.edits.line for row in rows if row.edits))
    lines += [EDITED] if any(metric.name.startswith("edited_") for metric in metrics) else []
    lines += face_notes(rows, labels(rows), metrics)
    lines += [f"{label}: {row.quality}." for label, row in zip(labels(rows), rows, strict=True) if row.quality]
    lines += [BOLD] if len(rows) > 1 else []
    lines += _floor_note(rows)
    lines += [STAR] if any(row.in_loss(metric) for row in rows for metric in metrics) else []
    lines += [f"On the {shared} images that all rows have."] if shared < asked else []
    lines += [
        f"{row.label}: {row.header.left} of {row.header.images} images are not done." for row in rows if row.header.left
    ]
    return (*lines, *layer_notes(rows, labels(rows)), *_untrained_note(rows), *_code_note(rows))


def _untrained_note(rows: Sequence[Row]) -> list[str]:
    settings = ("encoder", "start")
    named = zip(rows, labels(rows), strict=True)
    names = [name for row, name in named if any(str(row.setting(key)).startswith("untrained") for key in settings)]
    return [f"Untrained encoder, so that the numbers mean nothing: {', '.join(names)}."] if names else []


def _floor_note(rows: Sequence[Row]) -> list[str]:
    num = max(row.num_rerun for row in rows)
    lacking = [row.label for row in rows if row.num_rerun and math.isinf(row.floor(row.metrics[0].name))]
    line = f"Nothing is bold or called shown that lies within what running {num} images of a cell again changes."
    return ([line] if num else []) + ([f"Not run again yet: {', '.join(lacking)}."] if lacking else [])


def _code_note(rows: Sequence[Row]) -> list[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({str(code): int(count) for code, count in row.records["code"].value_counts().items()})
    several = ", ".join(f"{code} ({count} images)" for code, count in sorted(counts.items()))
    return [f"Several code digests: {several}."] if len(counts) > 1 else []


def labels(rows: Sequence[Row]) -> list[str]:
    """Names of rows; those that share a label are told apart by method, then by the digits of the run."""
    names = _tell_apart([row.label for row in rows], [f"{row.setting('method')} {row.label}" for row in rows])
    return _tell_apart(names, [f"{name} {row.header.run[-8:]}" for name, row in zip(names, rows, strict=True)])


def _tell_apart(names: Sequence[str], longer: Sequence[str]) -> list[str]:
    count = Counter(names)
    return [long if count[name] > 1 else name for name, long in zip(names, longer, strict=True)]


def _label_column(rows: Sequence[Row]) -> tuple[Head, list[Cell]]:
    return Head("space"), [Cell(name, space=True) for name in labels(rows)]


def _metric_column(rows: Sequence[Row], metric: MetricInfo) -> tuple[Head, list[Cell]]:
    best = indistinguishable(rows, metric)
    return Head(metric.label, arrow(metric)), [metric_cell(row, metric, i in best) for i, row in enumerate(rows)]


def _median_column(rows: Sequence[Row], metric: MetricInfo) -> tuple[Head, list[Cell]]:
    cells = [interval_cell(row.median(metric.name), metric.digits, star=row.in_loss(metric)) for row in rows]
    return Head(f"{metric.label} median", arrow(metric)), cells


def interval_cell(interval: Interval, digits: int, bold: bool = False, star: bool = False) -> Cell:
    """An interval's value ± half of its width."""
    if math.isnan(interval.value):
        return Cell("–")
    half = "" if math.isnan(interval.half_width) else f"{interval.half_width:.{digits}f}"
    return Cell(f"{interval.value:.{digits}f}", half, bold, star)


def _extra_column(rows: Sequence[Row], extra: Extra, metrics: Sequence[MetricInfo]) -> tuple[Head, list[Cell]] | None:
    texts = [_extra(row, extra, metrics) for row in rows]
    head = {"seconds": "s/image", "memory": "GB"}.get(extra, extra)
    return (Head(head), [Cell(text or "–") for text in texts]) if any(texts) else None


def _extra(row: Row, extra: Extra, metrics: Sequence[MetricInfo]) -> str:
    if extra == "n":
        return str(len(row.done))
    if extra == "missing":
        return _missing(row, metrics)
    if extra == "edits":
        return row.num_edits
    if extra == "seconds":
        return "" if row.seconds is None else f"{row.seconds:.3g}"
    if extra == "memory":
        return "" if row.memory is None else f"{row.memory / 1e9:.3g}"
    return _words(row.setting("num_steps" if extra == "steps" else extra))


def _missing(row: Row, metrics: Sequence[MetricInfo]) -> str:
    failed = len(row.records) - len(row.done)
    counts = {metric.label: row.missing(metric.name) - failed for metric in metrics if not is_of_edits(metric)}
    parts = [f"{failed} failed"] if failed else []
    return ", ".join([*parts, *(f"{count} {label}" for label, count in counts.items() if count)]) or "0"


def _words(value: Json) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
