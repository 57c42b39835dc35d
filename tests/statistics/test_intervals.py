import math

import numpy as np
import pytest
from scipy import stats

from zinv.statistics import bootstrap_interval, mean_interval, per_image, prediction_interval, share_interval


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    a = rng.gamma(2.0, 0.01, 50)
    return a, a + rng.normal(0.001, 0.003, 50)


def test_mean_interval_is_scipys(pair):
    found = mean_interval([*pair[0], math.nan])
    expected = stats.ttest_1samp(pair[0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high)) and found.n == 50


def test_too_few_values_have_no_interval():
    assert math.isnan(mean_interval([1.0]).half_width) and mean_interval([1.0]).value == 1
    assert math.isnan(mean_interval([math.nan]).value) and mean_interval([]).n == 0


def test_prediction_interval_by_hand():
    # mean 2.5, s = sqrt(5/3), t(.975, 3) = 3.182446, sqrt(1/4 + 1/4) = .7071068
    found = prediction_interval([1, 2, 3, 4], num=4)
    assert found.half_width == pytest.approx(3.182446 * math.sqrt(5 / 3) * 0.7071068, rel=1e-6) and 2.5 in found


def test_prediction_interval_holds_its_promise():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(500, 25))
    inside = [row[20:].mean() in prediction_interval(row[:20], num=5) for row in draws]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_bootstrap_is_scipys_bca(pair, statistic):
    found = bootstrap_interval(pair[0], statistic, num_resamples=999, seed=5)
    rng = np.random.default_rng(5)
    expected = stats.bootstrap((pair[0],), statistic, n_resamples=999, method="BCa", vectorized=False, rng=rng)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval))
    assert found.value == statistic(pair[0])


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_all_draws_at_once_give_what_one_after_another_gives(pair, statistic):
    """The second statistic is unknown to zinv, and so is taken of one draw after another."""
    at_once, each = (bootstrap_interval(pair[0], s, num_resamples=999) for s in (statistic, lambda x: statistic(x)))
    assert at_once == each


def test_bootstrap_falls_back_where_bca_is_undefined():
    found = bootstrap_interval([0.0] * 19 + [1.0], np.median, num_resamples=200)
    assert math.isfinite(found.low) and math.isfinite(found.high)
    assert bootstrap_interval([2.0, 2.0]).half_width == 0


def test_the_image_is_the_unit():
    assert per_image([1.0, 2.0, 6.0], ["b", "a", "b"]) == {"b": 3.5, "a": 2.0}


def test_a_share_of_a_gain_by_hand():
    # the third image is not known everywhere; the first has 6 of 8, the second 6 of 16, their means (15 - 9) / (15 - 3)
    found = share_interval([10, 20, 99], [4, 14, math.nan], [2, 4, 1])
    assert (found.value, found.n) == (0.5, 2)
    assert found.low == pytest.approx(6 / 16) and found.high == pytest.approx(6 / 8)  # either image twice
    assert math.isnan(share_interval([1.0], [1.0], [1.0]).value)


def test_a_shares_interval_is_that_of_a_bootstrap_of_pairs():
    rng = np.random.default_rng(1)
    plain, part, whole = rng.normal([[10.0], [5.0], [2.0]], 1.0, (3, 40))

    def share(a, b, c, axis):
        return (a.mean(axis) - b.mean(axis)) / (a.mean(axis) - c.mean(axis))

    expected = stats.bootstrap(
        (plain, part, whole), share, paired=True, method="percentile", vectorized=True, rng=np.random.default_rng(2)
    ).confidence_interval
    found = share_interval(plain, part, whole)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_an_images_values_are_drawn_together():
    values, images = [1.0, 3.0, 10.0, 2.0, 4.0, 11.0], ["a", "b", "c"] * 2
    found = bootstrap_interval(values, images=images, num_resamples=999)
    alone = bootstrap_interval([1.5, 3.5, 10.5], num_resamples=999)  # as many values of each image: the mean of means
    assert (found.low, found.high, found.n, found.how) == (
        pytest.approx(alone.low),
        pytest.approx(alone.high),
        3,
        alone.how,
    )
    counted_apart = bootstrap_interval(values, num_resamples=999)
    assert counted_apart.n == 6 and counted_apart.half_width < found.half_width


def test_the_fallback_is_the_percentile_bootstrap_of_scipy():
    x = [0.0] * 19 + [1.0]
    found = bootstrap_interval(x, np.median, num_resamples=200)
    rng = np.random.default_rng(0)
    expected = stats.bootstrap((x,), np.median, n_resamples=200, method="percentile", vectorized=False, rng=rng)
    assert (found.low, found.high) == tuple(expected.confidence_interval) and found.how == "percentile"
