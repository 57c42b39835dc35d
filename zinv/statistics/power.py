"""Power of paired t-tests, and how many images they need."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy import stats

from zinv.statistics.paired import Claim

MOST_IMAGES: Final = 10**7
POINTS: Final = 2001  # of the integral over the sample's standard deviation; 1e-6 and better


def power(
    n: int, gain: float, spread: float, margin: float = 0.0, claim: Claim = "noninferior", level: float = 0.95
) -> float:
    """Probability that `compare` with its t-test shows a claim at p < 1 - level.

    Args:
        n: number of images.
        gain: true mean difference, positive where the new row is better.
        spread: standard deviation of the differences between images.
        margin: of the claim.
        claim: what is to be shown.
        level: 1 minus the error allowed.

    >>> round(power(50, gain=0.0, spread=1.0, margin=0.5), 3)
    0.967
    """
    if n < 2:
        return 0.0
    if claim == "equivalent":
        return _power_equivalent(n, gain / spread, margin / spread, level)
    ahead = gain + margin if claim == "noninferior" else gain - margin
    return float(stats.nct.sf(stats.t.ppf(level, n - 1), n - 1, math.sqrt(n) * ahead / spread))


def images_needed(
    gain: float,
    spread: float,
    margin: float = 0.0,
    claim: Claim = "noninferior",
    wanted: float = 0.8,
    level: float = 0.95,
) -> int | None:
    """The fewest images with which the power is `wanted`; None if no number is enough (up to ten million).

    >>> images_needed(gain=0.5, spread=1.0, claim="superior")
    27
    """

    def enough(n: int) -> bool:
        return power(n, gain, spread, margin, claim, level) >= wanted

    high = 2
    while not enough(high):
        if high > MOST_IMAGES or not _reachable(gain, margin, claim):
            return None
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _reachable(gain: float, margin: float, claim: Claim) -> bool:
    """Whether the claim is true, so that its power grows to 1."""
    ahead = {"noninferior": gain + margin, "superior": gain - margin, "equivalent": margin - abs(gain)}
    return ahead[claim] > 0


def _power_equivalent(n: int, gain: float, margin: float, level: float) -> float:
    """Both one-sided tests at once: the integral over the sample's standard deviation s, in units of the true one.

    Given s, the mean has to lie within margin - t s / sqrt(n) of 0 on both sides.
    """
    u = (np.arange(POINTS) + 0.5) / POINTS
    s = np.sqrt(stats.chi2.ppf(u, n - 1) / (n - 1))
    room = np.maximum(0.0, margin - stats.t.ppf(level, n - 1) * s / math.sqrt(n))
    inside = stats.norm.cdf((room - gain) * math.sqrt(n)) - stats.norm.cdf((-room - gain) * math.sqrt(n))
    return float(inside.mean())
