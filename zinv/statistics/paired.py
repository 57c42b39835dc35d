"""Paired tests: whether a row is not worse than another, better, or as good, image by image; and their correction.

With a difference d = new - reference and a margin m of 0 or more, where lower is better:

- noninferior: H0 is E[d] >= m, "worse by the margin or more";
- superior: H0 is E[d] >= -m, "not better by more than the margin";
- equivalent: both E[d] >= m and E[d] <= -m are rejected (two one-sided tests; Schuirmann, 1987).

Where higher is better, d is taken with the other sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from zinv.statistics.intervals import Interval, Values, known, mean_interval, standard_error

Side: TypeAlias = Literal["two-sided", "greater", "less"]
Claim: TypeAlias = Literal["noninferior", "superior", "equivalent"]
Unit: TypeAlias = Literal["own", "dB", "percent"]
Test: TypeAlias = Literal["t", "wilcoxon"]
_PValue: TypeAlias = "Callable[[Values, float, Side], float]"
CLAIMS: Final[tuple[Claim, ...]] = get_args(Claim)
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
ALL_SIGNS: Final = 13
"""Up to so many tied differences Wilcoxon's test is exact; SciPy tries all signs one by one, which takes seconds."""


@dataclass(frozen=True)
class Difference:
    """Paired difference `a - b`: its mean with a t-interval, and two-sided p-values."""

    mean: Interval
    p_t: float
    p_wilcoxon: float


@dataclass(frozen=True)
class Comparison:
    """What a paired test of a claim found.

    Attributes:
        mean: difference, new minus reference, in the margin's unit: of the means, or of the mean decibels.
        low: its lower 95 % bound, one-sided.
        high: its upper 95 % bound, one-sided; both are the 90 % interval.
        bound: of those the one that has to be inside the margin; for equivalence, the one further from 0.
        margin: what was allowed or asked for.
        p: p-value.
        n: number of pairs.
    """

    mean: float
    low: float
    high: float
    bound: float
    margin: float
    p: float
    n: int


@dataclass(frozen=True)
class Effect:
    """How large a paired difference is, new minus reference.

    Attributes:
        d: mean over standard deviation of the differences (Cohen's d_z), corrected for few images (Hedges, 1981).
        rank: share of the ranks that are positive minus that of the negative (Kerby, 2014): -1 to 1.
        median: of the differences.
        log_ratio: mean of log(new / reference) with its t-interval; NaN where a value is not positive.
    """

    d: float
    rank: float
    median: float
    log_ratio: Interval


def paired(a: ArrayLike, b: ArrayLike) -> Values:
    """Differences `a - b` of the pairs in which both are known."""
    return known(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Difference:
    """Whether two rows differ on the same images: t-test and Wilcoxon's signed-rank test, two-sided."""
    d = paired(a, b)
    return Difference(mean_interval(d, level), p_t(d), p_wilcoxon(d))


def paired_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the paired t-test alone."""
    return p_t(paired(a, b))


def compare(
    new: ArrayLike,
    reference: ArrayLike,
    margin: float,
    higher_is_better: bool,
    claim: Claim = "noninferior",
    unit: Unit = "own",
    test: Test = "t",
    level: float = 0.95,
) -> Comparison:
    """Test a claim about two rows on the same images.

    Args:
        new: one value an image.
        reference: one value an image, in the same order.
        margin: 0 or more.
        higher_is_better: of these values.
        claim: what is to be shown.
        unit: of the margin: the values' own; `dB`, of each image's ratio; or `percent` of the reference's mean.
        test: t-test, or Wilcoxon's signed ranks.
        level: of the one-sided bounds.

    Raises:
        ValueError: the margin is negative, or a ratio is asked of values that are not positive.

    >>> found = compare([1.0, 2.0, 3.0], [1.5, 2.4, 3.6], margin=0.0, higher_is_better=False, claim="superior")
    >>> round(found.mean, 3), round(found.p, 4)
    (-0.5, 0.0065)
    """
    if not margin >= 0:
        raise ValueError(f"margin {margin}: not 0 or more")
    x, y = _both_known(new, reference)
    if unit != "own" and not (np.all(x > 0) and np.all(y > 0)):
        raise ValueError(f"a margin in {unit} is for positive values")
    mean, low, high = _estimate(x, y, unit, level)
    p = _p_claim(x, y, margin, 1.0 if higher_is_better else -1.0, claim, unit, p_t if test == "t" else p_wilcoxon)
    bound = low if higher_is_better else high
    if claim == "equivalent":
        bound = max(low, high, key=abs)
    return Comparison(mean, low, high, bound, margin, p, len(x))


def effect(new: ArrayLike, reference: ArrayLike) -> Effect:
    """Effect sizes of a paired difference.

    >>> found = effect([1.0, 2.0, 3.0, 9.0], [2.0, 4.0, 6.0, 8.0])
    >>> found.median, found.rank
    (-1.5, -0.7)
    """
    x, y = _both_known(new, reference)
    d, n = x - y, len(x)
    spread = float(d.std(ddof=1)) if n > 1 else math.nan
    size = float(d.mean()) / spread if spread > 0 else math.nan
    logs = np.log(x / y) if n and np.all(x > 0) and np.all(y > 0) else np.array([])
    return Effect(size * _few(n), _rank(d), float(np.median(d)) if n else math.nan, mean_interval(logs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values for their number (Holm, 1979). A NaN stays NaN and counts.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [math.nan] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    for rank, i in enumerate(order):
        if not math.isnan(p_values[i]):
            highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
            adjusted[i] = highest
    return adjusted


def p_t(d: Values, centre: float = 0.0, side: Side = "two-sided") -> float:
    """p-value of the t-test that differences have this mean; its limit where all are equal; NaN of fewer than two."""
    if len(d) < 2:
        return math.nan
    if np.ptp(d) == 0:
        return _p_constant(float(d[0]) - centre, side)
    t = (float(d.mean()) - centre) / standard_error(d)
    if side == "two-sided":
        return 2 * float(special.stdtr(len(d) - 1, -abs(t)))
    return float(special.stdtr(len(d) - 1, t if side == "less" else -t))


def p_wilcoxon(d: Values, centre: float = 0.0, side: Side = "two-sided") -> float:
    """p-value of Wilcoxon's test that differences are symmetric about a centre; NaN of fewer than two."""
    if len(d) < 2:
        return math.nan
    shifted = d - centre
    if not np.any(shifted):
        return 1.0
    tied = not np.all(shifted) or len(np.unique(np.abs(shifted))) < len(shifted)
    if tied and len(shifted) <= ALL_SIGNS:
        return _p_all_signs(shifted[shifted != 0], side)
    return float(stats.wilcoxon(shifted, alternative=side).pvalue)


def _both_known(a: ArrayLike, b: ArrayLike) -> tuple[Values, Values]:
    both = np.array([a, b], dtype=np.float64)
    x, y = both[:, ~np.isnan(both).any(0)]
    return x, y


def _p_claim(x: Values, y: Values, margin: float, sign: float, claim: Claim, unit: Unit, test: _PValue) -> float:
    """p-value of a claim; `sign` is 1 where higher is better."""
    if claim == "noninferior":
        return _p_above(x, y, -margin, sign, unit, test)
    if claim == "superior":
        return _p_above(x, y, margin, sign, unit, test)
    # new above reference by -margin, and reference above new by -margin
    return max(_p_above(x, y, -margin, 1.0, unit, test), _p_above(x, y, -margin, -1.0, unit, test))


def _p_above(x: Values, y: Values, limit: float, sign: float, unit: Unit, test: _PValue) -> float:
    """p-value of sign * (x - y) being at most `limit`, so that a small one says it is above."""
    if unit == "dB":
        return test(10 * np.log10(x / y), sign * limit, "greater" if sign > 0 else "less")
    if unit == "percent":
        return test(x - y * (1 + sign * limit / 100), 0.0, "greater" if sign > 0 else "less")
    return test(x - y, sign * limit, "greater" if sign > 0 else "less")


def _estimate(x: Values, y: Values, unit: Unit, level: float) -> tuple[float, float, float]:
    """Difference in the unit, and its one-sided bounds."""
    if unit == "percent":
        return _percent(x, y, level)
    found = mean_interval(10 * np.log10(x / y) if unit == "dB" else x - y, 2 * level - 1)
    return found.value, found.low, found.high


def _percent(x: Values, y: Values, level: float) -> tuple[float, float, float]:
    """100 (mean x / mean y - 1), and Fieller's bounds (1954): the ratios r at which mean(x - r y) is t errors off 0."""
    if len(x) < 2:
        return (100 * float(x.mean() / y.mean() - 1) if len(x) else math.nan), math.nan, math.nan
    t = float(special.stdtrit(len(x) - 1, level))
    (a, c), (_, b) = np.cov(x, y) * t**2 / len(x)
    # (mx - r my)^2 = a - 2 r c + r^2 b
    first, half, last = float(y.mean() ** 2 - b), float(x.mean() * y.mean() - c), float(x.mean() ** 2 - a)
    root = half**2 - first * last
    ends = [(half - math.sqrt(root)) / first, (half + math.sqrt(root)) / first] if first > 0 else [math.nan, math.nan]
    return 100 * float(x.mean() / y.mean() - 1), 100 * (ends[0] - 1), 100 * (ends[1] - 1)


def _few(n: int) -> float:
    """Hedges' correction of a standardised mean difference with n - 1 degrees of freedom."""
    return math.exp(math.lgamma((n - 1) / 2) - math.lgamma((n - 2) / 2)) / math.sqrt((n - 1) / 2) if n > 2 else math.nan


def _rank(d: Values) -> float:
    d = d[d != 0]
    if not len(d):
        return math.nan
    ranks = stats.rankdata(np.abs(d))
    return round(float((ranks * np.sign(d)).sum() / ranks.sum()), 12)


def _p_all_signs(d: Values, side: Side) -> float:
    """Exact p-value of the sum of the positive ranks: how many of the 2^n signs give each sum."""
    ranks = np.rint(2 * stats.rankdata(np.abs(d))).astype(int)  # doubled: ranks of ties are halves
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    found, share = int(ranks[d > 0].sum()), ways / 2.0 ** len(d)
    greater, less = float(share[found:].sum()), float(share[: found + 1].sum())
    return {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[side]


def _p_constant(shift: float, side: Side) -> float:
    """The limit of the t-test's p-value where all differences are equal."""
    supported = shift != 0 if side == "two-sided" else shift > 0 if side == "greater" else shift < 0
    return 0.0 if supported else 1.0
