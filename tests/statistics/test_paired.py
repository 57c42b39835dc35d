import math
import time

import numpy as np
import pytest
from scipy import optimize, stats

from zinv.statistics import compare, effect, holm, paired_difference
from zinv.statistics.paired import p_wilcoxon


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    a = rng.gamma(2.0, 0.01, 50)
    return a, a + rng.normal(0.001, 0.003, 50)


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
    assert p_wilcoxon(np.array(d), 0.0, side) == pytest.approx(stats.wilcoxon(d, alternative=side).pvalue, abs=1e-12)


def test_wilcoxon_of_few_tied_differences_by_hand():
    # ranks 1.5, 1.5, 3: sums 0, 1.5 twice, 3 twice, 4.5 twice, 6, of eight; found 1.5 + 3
    assert p_wilcoxon(np.array([1.0, -1.0, 2.0]), 0.0, "greater") == 3 / 8
    assert p_wilcoxon(np.array([1.0, -1.0, 2.0]), 0.0, "less") == 7 / 8


def test_wilcoxon_of_thirteen_tied_differences_is_quick():
    d = np.repeat([1.0, -2.0, 3.0], [5, 4, 4])
    began = time.process_time()
    for _ in range(20):
        p_wilcoxon(d, 0.0, "two-sided")
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
    found = compare(a, b, 0.002, higher)
    assert found.p == pytest.approx(stats.ttest_1samp(a - b, margin, alternative=side).pvalue)
    rank = compare(a, b, 0.002, higher, test="wilcoxon")
    assert rank.p == pytest.approx(stats.wilcoxon(a - b - margin, alternative=side).pvalue)


def test_the_bound_and_the_p_value_agree(pair):
    a, b = pair
    edge = compare(b, a, 0.0, higher_is_better=False).bound
    assert edge > (b - a).mean()
    assert compare(b, a, edge, higher_is_better=False).p == pytest.approx(0.05)
    edge = compare(a, b, 0.0, higher_is_better=True).bound
    assert compare(a, b, -edge, higher_is_better=True).p == pytest.approx(0.05)


def test_direction_matters():
    better = [0.1, 0.2, 0.15, 0.11]
    worse = [0.2, 0.31, 0.25, 0.2]
    assert compare(better, worse, 0.01, higher_is_better=False).p < 0.01
    assert compare(better, worse, 0.01, higher_is_better=True).p > 0.99


@pytest.mark.parametrize("higher", [True, False])
def test_superiority_and_equivalence_are_scipys(pair, higher):
    a, b = pair
    side, sign = ("greater", 1) if higher else ("less", -1)
    found = compare(a, b, 0.002, higher, "superior")
    assert found.p == pytest.approx(stats.ttest_1samp(a - b, sign * 0.002, alternative=side).pvalue)
    both = compare(a, b, 0.002, higher, "equivalent")
    upper = stats.ttest_1samp(a - b, 0.002, alternative="less").pvalue
    lower = stats.ttest_1samp(a - b, -0.002, alternative="greater").pvalue
    assert both.p == pytest.approx(max(upper, lower))
    assert compare(a, b, 0.002, higher, "equivalent", test="wilcoxon").p == pytest.approx(
        max(
            stats.wilcoxon(a - b - 0.002, alternative="less").pvalue,
            stats.wilcoxon(a - b + 0.002, alternative="greater").pvalue,
        )
    )


def test_a_margin_in_decibels_is_one_on_log_ratios(pair):
    a, b = pair[0] + 0.01, pair[1] + 0.02
    found = compare(a, b, 0.5, False, unit="dB")
    d = 10 * np.log10(a / b)
    assert found.p == pytest.approx(stats.ttest_1samp(d, 0.5, alternative="less").pvalue)
    assert found.mean == pytest.approx(d.mean()) and found.low < found.mean < found.high == found.bound
    with pytest.raises(ValueError, match="a margin in dB is for positive values"):
        compare([0.1, 0.2], [0.0, 0.1], 0.5, False, unit="dB")
    with pytest.raises(ValueError, match="margin -1: not 0 or more"):
        compare([0.1, 0.2], [0.0, 0.1], -1, False)


@pytest.mark.parametrize("higher", [True, False])
def test_a_margin_in_percent_is_of_the_references_mean(pair, higher):
    a, b = pair[0] + 0.05, pair[1] + 0.05
    found = compare(a, b, 3.0, higher, unit="percent")
    side, part = ("greater", 0.97) if higher else ("less", 1.03)
    assert found.p == pytest.approx(stats.ttest_1samp(a - part * b, 0.0, alternative=side).pvalue)
    assert found.mean == pytest.approx(100 * (a.mean() / b.mean() - 1))

    # Fieller's bounds are where that test gives .05
    def excess(ratio, side):
        return stats.ttest_1samp(a - ratio * b, 0.0, alternative=side).pvalue - 0.05

    ends = [optimize.brentq(excess, 0.5, 1.5, args=(side,)) for side in ("greater", "less")]
    assert (found.low, found.high) == pytest.approx((100 * (ends[0] - 1), 100 * (ends[1] - 1)))


def test_the_papers_numbers_cannot_all_be_of_means():
    # Table 1: F/Z+'s SSIM is 2e-5 below F/W+(P_N)'s; whatever the spread, p > .5 at a margin of 1e-8
    for spread in (1e-6, 1e-4, 1e-2):
        d = np.linspace(-spread, spread, 50) - 2e-5
        assert compare(0.8 + d, np.full(50, 0.8), 1e-8, higher_is_better=True).p > 0.5
        assert compare(0.8 + d, np.full(50, 0.8), 1e-8, higher_is_better=False).p < 0.5


def test_effect_sizes_by_hand():
    # differences -1, -2, -3, 1: mean -1.25, s 1.7078; Hedges with 3 degrees of freedom; ranks 1.5, 3, 4, 1.5
    found = effect([1.0, 2.0, 3.0, 9.0], [2.0, 4.0, 6.0, 8.0])
    j = math.gamma(1.5) / (math.sqrt(1.5) * math.gamma(1.0))
    assert found.d == pytest.approx(j * -1.25 / 1.7078251) and found.rank == -0.7 and found.median == -1.5
    logs = np.log(np.array([1 / 2, 1 / 2, 1 / 2, 9 / 8]))
    expected = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (found.log_ratio.low, found.log_ratio.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(effect([-1.0, 2.0], [1.0, 2.0]).log_ratio.value)
