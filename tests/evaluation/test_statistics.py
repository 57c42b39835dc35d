import math
import time

import numpy as np
import pytest
from scipy import stats

from zinv.evaluation.statistics import (
    _p_wilcoxon,
    bootstrap_interval,
    holm,
    mean_interval,
    non_inferiority,
    paired_difference,
    per_image,
    prediction_interval,
    share_interval,
)


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


def test_bootstrap_falls_back_where_bca_is_undefined():
    found = bootstrap_interval([0.0] * 19 + [1.0], np.median, num_resamples=200)
    assert math.isfinite(found.low) and math.isfinite(found.high)
    assert bootstrap_interval([2.0, 2.0]).half_width == 0


def test_paired_difference_is_scipys(pair):
    a, b = pair
    found = paired_difference([*a, math.nan, 1.0], [*b, 1.0, math.nan])
    assert found.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.mean.n == 50 and found.mean.value == pytest.approx((a - b).mean())


@pytest.mark.parametrize("side", ["two-sided", "less", "greater"])
@pytest.mark.parametrize(
    "d",
    [
        [1.0, -1.0, 2.0],
        [0.0, 1.0, 2.0, -3.0],
        [2.0, 2.0, 2.0, 2.0],
        [-1.0, -1.0, -2.0, 0.0, 0.0],
        [0.5, -0.5, 0.25, 0.25, 1.0, -2.0, 0.0, 3.0],
    ],
)
def test_wilcoxon_of_few_tied_differences_is_scipys_over_all_signs(d, side):
    assert _p_wilcoxon(np.array(d), 0.0, side) == pytest.approx(stats.wilcoxon(d, alternative=side).pvalue, abs=1e-12)


def test_wilcoxon_of_few_tied_differences_by_hand():
    # ranks 1.5, 1.5, 3: sums 0, 1.5 twice, 3 twice, 4.5 twice, 6, of eight; found 1.5 + 3
    assert _p_wilcoxon(np.array([1.0, -1.0, 2.0]), 0.0, "greater") == 3 / 8
    assert _p_wilcoxon(np.array([1.0, -1.0, 2.0]), 0.0, "less") == 7 / 8


def test_wilcoxon_of_thirteen_tied_differences_is_quick():
    d = np.repeat([1.0, -2.0, 3.0], [5, 4, 4])
    began = time.process_time()
    for _ in range(20):
        _p_wilcoxon(d, 0.0, "two-sided")
    assert time.process_time() - began < 1  # SciPy: 7 s and more for each


def test_equal_rows_do_not_differ():
    found = paired_difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert found.p_t == 1 and found.p_wilcoxon == 1
    assert paired_difference([2.0, 3.0], [1.0, 2.0]).p_t == 0


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.02, 0.5]) == pytest.approx([0.08, 0.04, 0.06, 0.5])
    adjusted = holm([0.02, math.nan, 0.9])
    assert adjusted[0] == pytest.approx(0.06) and math.isnan(adjusted[1]) and adjusted[2] == 1
    assert holm([]) == []


@pytest.mark.parametrize(("higher", "side", "margin"), [(False, "less", 0.002), (True, "greater", -0.002)])
def test_non_inferiority_is_the_one_sided_paired_test(pair, higher, side, margin):
    a, b = pair
    found = non_inferiority(a, b, 0.002, higher)
    assert found.p == pytest.approx(stats.ttest_1samp(a - b, margin, alternative=side).pvalue)
    rank = non_inferiority(a, b, 0.002, higher, test="wilcoxon")
    assert rank.p == pytest.approx(stats.wilcoxon(a - b - margin, alternative=side).pvalue)


def test_the_bound_and_the_p_value_agree(pair):
    a, b = pair
    edge = non_inferiority(b, a, 0.0, higher_is_better=False).bound
    assert edge > (b - a).mean()
    assert non_inferiority(b, a, edge, higher_is_better=False).p == pytest.approx(0.05)
    edge = non_inferiority(a, b, 0.0, higher_is_better=True).bound
    assert non_inferiority(a, b, -edge, higher_is_better=True).p == pytest.approx(0.05)


def test_direction_matters():
    better = [0.1, 0.2, 0.15, 0.11]
    worse = [0.2, 0.31, 0.25, 0.2]
    assert non_inferiority(better, worse, 0.01, higher_is_better=False).p < 0.01
    assert non_inferiority(better, worse, 0.01, higher_is_better=True).p > 0.99


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
