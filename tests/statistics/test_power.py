import numpy as np
import pytest
from scipy import stats

from zinv.statistics import images_needed, power


@pytest.mark.parametrize(
    ("claim", "n", "gain", "margin"),
    [
        ("noninferior", 12, 0.1, 0.5),
        ("superior", 20, 0.9, 0.3),
        ("equivalent", 20, 0.0, 0.7),
        ("equivalent", 8, 0.3, 1.2),
        ("equivalent", 5, 0.0, 0.4),
    ],
)
def test_power_is_the_share_of_drawn_tables(claim, n, gain, margin):
    d = np.random.default_rng(0).normal(gain, 1.0, (200_000, n))
    error, t = d.std(axis=1, ddof=1) / np.sqrt(n), stats.t.ppf(0.95, n - 1)
    low, high = d.mean(1) - t * error, d.mean(1) + t * error
    shown = {"noninferior": low > -margin, "superior": low > margin, "equivalent": (low > -margin) & (high < margin)}
    assert power(n, gain, 1.0, margin, claim) == pytest.approx(shown[claim].mean(), abs=0.004)


@pytest.mark.parametrize("claim", ["noninferior", "superior", "equivalent"])
def test_images_needed_are_the_fewest(claim):
    gain, margin = {"noninferior": (0.0, 0.4), "superior": (0.4, 0.0), "equivalent": (0.1, 0.6)}[claim]
    n = images_needed(gain, 1.0, margin, claim)
    assert power(n, gain, 1.0, margin, claim) >= 0.8 > power(n - 1, gain, 1.0, margin, claim)


def test_no_number_of_images_shows_what_is_not_so():
    assert images_needed(-0.1, 1.0, claim="superior") is None
    assert images_needed(0.5, 1.0, 0.4, "equivalent") is None
    assert images_needed(1e-9, 1.0, claim="superior") is None
    assert power(1, 5.0, 1.0) == 0
