"""Declared contrasts: paired tests of what an experiment claims, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from zinv.errors import ProtocolError, suggest
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row, comparable, pairs
from zinv.evaluation.table import ALPHA, Cell, Head, Table, chosen_metrics, labels
from zinv.statistics import (
    Claim,
    Comparison,
    Effect,
    Interval,
    Test,
    Unit,
    bootstrap_interval,
    compare,
    effect,
    holm,
    images_needed,
)

PAPER_MARGIN: Final = 1e-8
PAPER: Final = (
    "The paper's test: not worse by 1e-8 or more, taken as a one-sided paired t-test (it names none). Its p-values are "
    ".002983 (MSE) and .001609 (SSIM), n = 50; but its Table 1 has F/Z+ below F/W+(P_N) in SSIM (.81477, .81479) by a "
    "thousand times the margin and more: no test of means in the right direction then has p < .5."
)
AFTER: Final = "declared after the run"
PAIR: Final = ("row", "against", "metric")
HEADS: Final = (*PAIR, "difference", "95 % bound", "claim", "n", "p", "p (Holm)", "p (Wilcoxon)", "shown")
SIZES: Final = (*PAIR, "mean difference", "95 % BCa", "median", "ratio", "d", "rank", "images for .8")
WORDS: Final = {"noninferior": "not worse", "superior": "better", "equivalent": "equal"}
TESTS: Final = f"Paired tests, the image as the unit; shown: p < {ALPHA} after Holm's correction for their number."
MEANING: Final = (
    "ratio: geometric mean of row / against, with its 95 % t-interval. d: mean over standard deviation of differences "
    "(for few images). rank: share of positive ranks minus that of negative ones. images for .8: how many give the "
    "claim this power, were the difference and its spread as found."
)


class Contrast(Protocol):
    """A comparison declared before the runs: see `zinv.config.experiment.Contrast`."""

    @property
    def row(self) -> str: ...  # noqa: D102
    @property
    def against(self) -> str: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def margin(self) -> float: ...  # noqa: D102
    @property
    def claim(self) -> Claim: ...  # noqa: D102
    @property
    def unit(self) -> Unit: ...  # noqa: D102
    @property
    def test(self) -> Literal["t", "wilcoxon", "paper"]: ...  # noqa: D102
    @property
    def direction(self) -> Literal["less", "greater"] | None: ...  # noqa: D102


@dataclass(frozen=True)
class Tested:
    """A contrast with what its tests found.

    Attributes:
        contrast: as declared.
        new: the row claimed to be as good or better.
        reference: the row it is compared with.
        metric: the column.
        higher: whether the claim takes higher values as better.
        found: by the contrast's own test.
        p_wilcoxon: of the same claim by signed ranks.
        effect: how large the difference is.
        interval: of the mean difference, by bootstrap over images.
        before: whether it was declared before both runs.
    """

    contrast: Contrast
    new: Row
    reference: Row
    metric: MetricInfo
    higher: bool
    found: Comparison
    p_wilcoxon: float
    effect: Effect
    interval: Interval
    before: bool = True

    @property
    def above_floor(self) -> bool:
        """Whether the difference clears its limit by more than two runs of the same cell may differ."""
        floor, limit = self._floor(), -self.found.margin if self.contrast.claim != "superior" else self.found.margin
        gain = self.found.mean if self.higher else -self.found.mean
        return (-abs(gain) if self.contrast.claim == "equivalent" else gain) - floor > limit

    def images(self) -> int | None:
        """Images needed for a power of .8; None if no number is enough, or the margin is in percent."""
        a, b = pairs(self.new, self.reference, self.metric.name)
        d = 10 * np.log10(a / b) if self.contrast.unit == "dB" else a - b
        d = d[~np.isnan(d)]
        spread = float(d.std(ddof=1)) if len(d) > 1 else 0.0
        if self.contrast.unit == "percent" or not spread > 0:
            return None
        gain = float(d.mean()) if self.higher else -float(d.mean())
        return images_needed(gain, spread, self.found.margin, self.contrast.claim)

    def _floor(self) -> float:
        """The larger floor of the two rows, in the margin's unit."""
        own = max(self.new.floor(self.metric.name), self.reference.floor(self.metric.name))
        mean = abs(self.reference.mean(self.metric.name).value)
        if self.contrast.unit == "own" or not own:
            return own
        return 100 * own / mean if self.contrast.unit == "percent" else 10 * math.log10(1 + own / mean)


def tested(rows: Sequence[Row], contrasts: Sequence[Contrast], before: Sequence[bool] | None = None) -> list[Tested]:
    """Test contrasts.

    Args:
        rows: runs that may share a table.
        contrasts: what is claimed of them.
        before: whether each was declared before both of its runs; all were, by default.

    Raises:
        ProtocolError: a contrast names a row or metric that is not there, or its margin does not fit the values.
    """
    by_label = dict(zip(labels(rows), comparable(rows), strict=True))
    flags = [True] * len(contrasts) if before is None else before
    return [_tested(by_label, contrast, flag) for contrast, flag in zip(contrasts, flags, strict=True)]


def contrast_table(rows: Sequence[Row], contrasts: Sequence[Contrast], before: Sequence[bool] | None = None) -> Table:
    """Contrasts as paired tests against their margins, those declared beforehand corrected for their number (Holm).

    Raises:
        ProtocolError: a contrast names a row or metric that is not there, or its margin does not fit the values.
    """
    tests = tested(rows, contrasts, before)
    corrected = iter(holm([test.found.p for test in tests if test.before]))
    body = tuple(_line(test, next(corrected) if test.before else math.nan) for test in tests)
    return Table(tuple(map(Head, HEADS)), body, (rows[0].header.protocol.line, TESTS, *_notes(tests)))


def size_table(rows: Sequence[Row], contrasts: Sequence[Contrast]) -> Table:
    """How large the differences of contrasts are: bootstrap interval, median, ratio, effect sizes, images needed.

    Raises:
        ProtocolError: as `contrast_table`.
    """
    body = tuple(_size_line(test) for test in tested(rows, contrasts))
    return Table(tuple(map(Head, SIZES)), body, (MEANING,))


def find_row(rows: Mapping[str, Row], label: str, contrast: Contrast) -> Row:
    """The row of a label.

    Raises:
        ProtocolError: there is none.
    """
    if label not in rows:
        words = f"contrast {contrast.row} against {contrast.against}"
        raise ProtocolError(f"{words}: no row '{label}'. {suggest(label, rows)}")
    return rows[label]


def _tested(rows: Mapping[str, Row], contrast: Contrast, before: bool) -> Tested:
    new, reference = (find_row(rows, label, contrast) for label in (contrast.row, contrast.against))
    (metric,) = chosen_metrics(new, [contrast.metric])
    a, b = pairs(new, reference, metric.name)
    higher = metric.higher_is_better if contrast.direction is None else contrast.direction == "greater"
    margin = PAPER_MARGIN if contrast.test == "paper" else contrast.margin
    kinds: tuple[Test, Test] = ("t" if contrast.test == "paper" else contrast.test, "wilcoxon")
    try:
        found, ranks = (compare(a, b, margin, higher, contrast.claim, contrast.unit, kind) for kind in kinds)
    except ValueError as error:
        raise ProtocolError(f"contrast {contrast.row} against {contrast.against} in {metric.name}: {error}.") from error
    return Tested(
        contrast, new, reference, metric, higher, found, ranks.p, effect(a, b), bootstrap_interval(a - b), before
    )


def _line(test: Tested, corrected: float) -> tuple[Cell, ...]:
    found = test.found
    numbers = [_number(found.mean), _number(found.bound), _claim(test), str(found.n)]
    p_values = map(_number, (found.p, corrected, test.p_wilcoxon))
    return (*_pair(test), *map(Cell, (*numbers, *p_values, _shown(test, corrected))))


def _size_line(test: Tested) -> tuple[Cell, ...]:
    logs, interval = test.effect.log_ratio, test.interval
    low, high = (_number(math.exp(end), 4) for end in (logs.low, logs.high))
    ratio = "–" if math.isnan(logs.value) else f"{math.exp(logs.value):.4g} ({low} to {high})"
    how = "" if interval.how == "BCa" else f" ({interval.how})"
    ends = f"{_number(interval.low, 4)} to {_number(interval.high, 4)}{how}"
    sizes = (_number(test.effect.d, 3), _number(test.effect.rank, 3), str(test.images() or "–"))
    words = (_number(interval.value), ends, _number(test.effect.median, 4), ratio, *sizes)
    return (*_pair(test), *map(Cell, words))


def _pair(test: Tested) -> tuple[Cell, Cell, Cell]:
    c = test.contrast
    return Cell(c.row, space=True), Cell(c.against, space=True), Cell(test.metric.name)


def _claim(test: Tested) -> str:
    """`not worse by 1e-08`, `better`, `equal within 0.1 dB`."""
    unit = {"own": "", "dB": " dB", "percent": " %"}[test.contrast.unit]
    link = "within" if test.contrast.claim == "equivalent" else "by"
    return WORDS[test.contrast.claim] + (f" {link} {test.found.margin:g}{unit}" if test.found.margin else "")


def _shown(test: Tested, corrected: float) -> str:
    if not test.before:
        return AFTER
    if not corrected < ALPHA:
        return "no"
    return "yes" if test.above_floor else "under the floor"


def _notes(tests: Sequence[Tested]) -> list[str]:
    lines = [PAPER] if any(test.contrast.test == "paper" for test in tests) else []
    for test in (test for test in tests if test.higher != test.metric.higher_is_better):
        c = test.contrast
        better = "higher" if test.metric.higher_is_better else "lower"
        lines.append(
            f"{c.row} against {c.against}: direction: {c.direction}, but {better} {test.metric.label} is better."
        )
    if any(not test.before for test in tests):
        lines.append(
            f"{AFTER}: experiment.yaml had no such contrast when these runs began; not corrected for, not shown."
        )
    return lines


def _number(value: float, digits: int = 6) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}g}"
