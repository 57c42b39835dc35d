"""The kernel distance against torch-fidelity's own, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zinv.statistics import kernel_distance


@pytest.mark.parametrize(("num", "other", "largest"), [(40, 25, 1000), (60, 60, 20)])
def test_as_torch_fidelity(num: int, other: int, largest: int):
    """Its formula on its own subsets; the published function is called with the same arguments."""
    metric_kid = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((num, 16)), 0.8 * rng.standard_normal((other, 16)) + 0.3
    size = min(num, other, largest)
    theirs = metric_kid.kid_features_to_metric(
        torch.tensor(a), torch.tensor(b), kid_subsets=20, kid_subset_size=size, verbose=False
    )
    ours = kernel_distance(a, b, subsets=20, largest=largest)
    assert ours.size == size
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6, abs=1e-12)


def test_a_set_of_equal_distribution_is_near_0_and_another_is_not():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 300, 8))
    assert abs(kernel_distance(a, b, subsets=2).mean) < 0.02
    assert kernel_distance(a, b + 1, subsets=2).mean > 1


def test_one_vector_is_no_set():
    with pytest.raises(ValueError, match="needs two vectors of each set; there are 1 and 3"):
        kernel_distance(np.zeros((1, 2)), np.zeros((3, 2)))
