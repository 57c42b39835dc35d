"""Values of images and intervals. The image is the unit: several values of one are averaged, or drawn, together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Values: TypeAlias = "NDArray[np.float64]"
Statistic: TypeAlias = "Callable[[Values], float]"
How: TypeAlias = Literal["t", "BCa", "percentile"]
WITH_AXIS: Final = (np.mean, np.median)
"""Statistics that SciPy may take of all draws at once, where each image has one value: some 25 times as fast."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
        n: number of images it rests on.
        how: by the t distribution, or by which bootstrap.
    """

    value: float
    low: float
    high: float
    n: int
    how: How = "t"

    @property
    def half_width(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2

    def __contains__(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high


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
    half = _quantile(level, len(x)) * standard_error(x)
    return Interval(mean, mean - half, mean + half, len(x))


def prediction_interval(values: ArrayLike, num: int, level: float = 0.95) -> Interval:
    """Where the mean of another `num` images of the same population falls, with that probability.

    The half-width is t s sqrt(1/n + 1/num): both samples vary.
    """
    x = known(values)
    mean = float(x.mean()) if len(x) else math.nan
    half = _quantile(level, len(x)) * standard_error(x) * math.sqrt(1 + len(x) / num)
    return Interval(mean, mean - half, mean + half, len(x))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    level: float = 0.95,
    num_resamples: int = 9999,
    seed: int = 0,
    images: Sequence[Hashable] | None = None,
) -> Interval:
    """Bias-corrected and accelerated bootstrap over images (Efron, 1987); the percentile one where that is undefined.

    It is undefined where no draw lies on one side of the estimate, or leaving out an image never changes it. Where no
    draw differs from it at all, the interval is the estimate.

    Args:
        values: one value an image, or several with `images`.
        statistic: of a vector, such as `numpy.median`.
        level: of confidence.
        num_resamples: draws.
        seed: of the draws.
        images: which image each value is of; all values of an image are drawn together.

    >>> bootstrap_interval([0.0] * 9 + [1.0], np.median, num_resamples=99).how
    'percentile'
    """
    groups = _groups(values, images)
    if not groups:
        return Interval(math.nan, math.nan, math.nan, 0, "BCa")
    value = float(statistic(np.concatenate(groups)))
    if len(groups) < 2:
        return Interval(value, math.nan, math.nan, len(groups), "BCa")
    ends = _bootstrap(groups, statistic, level, num_resamples, seed, "BCa")
    if not any(map(math.isnan, ends)):
        return Interval(value, *ends, len(groups), "BCa")
    return Interval(
        value, *_bootstrap(groups, statistic, level, num_resamples, seed, "percentile"), len(groups), "percentile"
    )


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


def standard_error(x: Values) -> float:
    """Standard error of the mean; NaN of fewer than two values."""
    return float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan


def _quantile(level: float, n: int) -> float:
    return float(special.stdtrit(n - 1, (1 + level) / 2)) if n > 1 else math.nan


def _groups(values: ArrayLike, images: Sequence[Hashable] | None) -> list[Values]:
    """The known values, image by image."""
    if images is None:
        return [np.array([x]) for x in known(values)]
    found: dict[Hashable, list[float]] = {}
    for value, image in zip(np.asarray(values, dtype=np.float64), images, strict=True):
        if not math.isnan(value):
            found.setdefault(image, []).append(float(value))
    return [np.array(group) for group in found.values()]


def _bootstrap(
    groups: Sequence[Values],
    statistic: Statistic,
    level: float,
    num: int,
    seed: int,
    method: Literal["BCa", "percentile"],
) -> tuple[float, float]:
    def of_drawn(drawn: NDArray[np.int64]) -> float:
        return statistic(np.concatenate([groups[i] for i in drawn]))

    alone = statistic in WITH_AXIS and all(len(group) == 1 for group in groups)
    sample = np.concatenate(groups) if alone else np.arange(len(groups))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (sample,),
            statistic if alone else of_drawn,
            confidence_level=level,
            n_resamples=num,
            method=method,
            vectorized=alone,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)
