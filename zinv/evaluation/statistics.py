"""Intervals and tests on values of images. The image is the unit: several values of one are averaged first."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Values: TypeAlias = "NDArray[np.float64]"
Statistic: TypeAlias = "Callable[[Values], float]"
Side: TypeAlias = Literal["two-sided", "greater", "less"]
ALL_SIGNS: Final = 13
"""Up to so many tied differences Wilcoxon's test is exact; SciPy tries all signs one by one, which takes seconds."""


@dataclass(frozen=True)
class Interval:
    """An estimate, the ends of its interval, and the number of values it rests on."""

    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2

    def __contains__(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Difference:
    """Paired difference `a - b`: its mean with a t-interval, and two-sided p-values."""

    mean: Interval
    p_t: float
    p_wilcoxon: float


@dataclass(frozen=True)
class NonInferiority:
    """A one-sided paired test against a margin.

    Attributes:
        mean: mean difference, new minus reference.
        bound: the 95 % confidence bound of that mean, on its worse side; beyond the margin if the test succeeds.
        margin: what was allowed.
        p: p-value of "worse by the margin or more".
        n: number of pairs.
    """

    mean: float
    bound: float
    margin: float
    p: float
    n: int


def known(values: ArrayLike) -> Values:
    """The values that are not NaN."""
    array = np.asarray(values, dtype=np.float64)
    return array[~np.isnan(array)]


def per_image(values: Sequence[float], images: Sequence[Hashable]) -> dict[Hashable, float]:
    """Each image's mean over its values (edits, strengths, seeds), which alone are independent of each other.

    >>> per_image([1.0, 3.0, 5.0], ["ada", "ada", "bob"])
    {'ada': 2.0, 'bob': 5.0}
    """
    groups: dict[Hashable, list[float]] = {}
    for value, image in zip(values, images, strict=True):
        groups.setdefault(image, []).append(value)
    return {image: math.fsum(group) / len(group) for image, group in groups.items()}


def median(values: ArrayLike) -> float:
    """Median of the known values; NaN where there is none."""
    x = known(values)
    return float(np.median(x)) if len(x) else math.nan


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean with its t-interval; the ends are NaN where fewer than two values are known.

    >>> round(mean_interval([1, 2, 3, 4]).half_width, 4)
    2.0543
    """
    x = known(values)
    mean = float(x.mean()) if len(x) else math.nan
    half = _quantile(level, len(x)) * _standard_error(x)
    return Interval(mean, mean - half, mean + half, len(x))


def prediction_interval(values: ArrayLike, num: int, level: float = 0.95) -> Interval:
    """Where the mean of another `num` images of the same population falls, with that probability.

    The half-width is t s sqrt(1/n + 1/num): both samples vary.
    """
    x = known(values)
    mean = float(x.mean()) if len(x) else math.nan
    half = _quantile(level, len(x)) * _standard_error(x) * math.sqrt(1 + len(x) / num)
    return Interval(mean, mean - half, mean + half, len(x))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    level: float = 0.95,
    num_resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Bias-corrected and accelerated bootstrap (Efron, 1987); the percentile one where that is undefined.

    Args:
        values: one value an image.
        statistic: of a vector, such as `numpy.median`.
        level: of confidence.
        num_resamples: draws.
        seed: of the draws.
    """
    x = known(values)
    value = float(statistic(x)) if len(x) else math.nan
    if len(x) < 2 or np.ptp(x) == 0:
        return Interval(value, value, value, len(x)) if len(x) > 1 else Interval(value, math.nan, math.nan, len(x))
    low, high = _bootstrap(x, statistic, level, num_resamples, seed, "BCa")
    if math.isnan(low) or math.isnan(high):
        low, high = _bootstrap(x, statistic, level, num_resamples, seed, "percentile")
    return Interval(value, low, high, len(x))


def share_interval(
    plain: ArrayLike,
    part: ArrayLike,
    whole: ArrayLike,
    level: float = 0.95,
    num_resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """How much of the gain of `whole` over `plain` `part` has, in means over images, with its percentile bootstrap.

    (mean plain - mean part) / (mean plain - mean whole), over the images of which all three are known.

    >>> share_interval([5.0, 7.0], [2.0, 4.0], [1.0, 3.0]).value
    0.75
    """
    x = np.array([plain, part, whole], dtype=np.float64)
    x = x[:, ~np.isnan(x).any(0)]
    n = x.shape[1]
    if n < 2:
        return Interval(math.nan, math.nan, math.nan, n)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=num_resamples)
    first, second, third = x @ np.vstack([np.ones(n), times]).T / n
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (first - second) / (first - third)
    low, high = np.nanquantile(shares[1:], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(shares[0]), float(low), float(high), n)


def paired(a: ArrayLike, b: ArrayLike) -> Values:
    """Differences `a - b` of the pairs in which both are known."""
    return known(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Difference:
    """Whether two rows differ on the same images: t-test and Wilcoxon's signed-rank test, two-sided."""
    d = paired(a, b)
    return Difference(mean_interval(d, level), _p_t(d, 0.0, "two-sided"), _p_wilcoxon(d, 0.0, "two-sided"))


def paired_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the paired t-test alone."""
    return _p_t(paired(a, b), 0.0, "two-sided")


def non_inferiority(
    new: ArrayLike,
    reference: ArrayLike,
    margin: float,
    higher_is_better: bool,
    test: Literal["t", "wilcoxon"] = "t",
    level: float = 0.95,
) -> NonInferiority:
    """Whether the new row is not worse than the reference by `margin` or more, image by image.

    With d = new - reference: where lower is better, H0 is E[d] >= margin; where higher is better, E[d] <= -margin.
    """
    d = paired(new, reference)
    sign = 1.0 if higher_is_better else -1.0
    side: Side = "greater" if higher_is_better else "less"
    p = (_p_t if test == "t" else _p_wilcoxon)(d, -sign * margin, side)
    mean = float(d.mean()) if len(d) else math.nan
    reach = float(stats.t.ppf(level, len(d) - 1)) * _standard_error(d) if len(d) > 1 else math.nan
    return NonInferiority(mean, mean - sign * reach, margin, p, len(d))


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


def _standard_error(x: Values) -> float:
    return float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan


def _quantile(level: float, n: int) -> float:
    return float(stats.t.ppf((1 + level) / 2, n - 1)) if n > 1 else math.nan


def _p_t(d: Values, mean: float, side: Side) -> float:
    if len(d) < 2:
        return math.nan
    if np.ptp(d) == 0:
        return _p_constant(float(d[0]) - mean, side)
    return float(stats.ttest_1samp(d, mean, alternative=side).pvalue)


def _p_wilcoxon(d: Values, centre: float, side: Side) -> float:
    if len(d) < 2:
        return math.nan
    shifted = d - centre
    if not np.any(shifted):
        return 1.0
    tied = not np.all(shifted) or len(np.unique(np.abs(shifted))) < len(shifted)
    if tied and len(shifted) <= ALL_SIGNS:
        return _p_all_signs(shifted[shifted != 0], side)
    return float(stats.wilcoxon(shifted, alternative=side).pvalue)


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


def _bootstrap(
    x: Values, statistic: Statistic, level: float, num: int, seed: int, method: Literal["BCa", "percentile"]
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(seed)
        found = stats.bootstrap(
            (x,), statistic, confidence_level=level, n_resamples=num, method=method, rng=rng
        ).confidence_interval
    return float(found.low), float(found.high)
