"""Penalties on rows of w against scipy and values worked by hand."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import mahalanobis

from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.losses.near_w import GaussianPrior, delta_penalty
from zinv.spaces.base import prior_ws


def test_deltas_by_hand():
    ws = torch.zeros(2, 3, 2)
    ws[0, 1], ws[0, 2] = torch.tensor([3.0, 4.0]), torch.tensor([0.0, -2.0])
    assert delta_penalty(ws).tolist() == [7.0, 0.0]
    assert delta_penalty(ws[:, :1]).tolist() == [0.0, 0.0]


def test_deltas_of_equal_rows_have_a_gradient_of_zero():
    ws = torch.ones(1, 3, 2, requires_grad=True)
    delta_penalty(ws).sum().backward()
    assert ws.grad is not None and not ws.grad.any()


def test_deltas_gradient():
    ws = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(delta_penalty, ws)


def test_the_gaussian_is_scipys_mahalanobis_distance():
    toy = toy_stylegan2()
    v = prior_ws(toy, 5000).double().numpy()
    v = np.where(v > 0, v, 5 * v)
    precision = np.linalg.inv(np.cov(v, rowvar=False) + 1e-8 * np.eye(16))
    ws = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    rows = np.where(ws > 0, ws, 5 * ws).astype(float)
    expected = [sum(mahalanobis(row, v.mean(0), precision) ** 2 for row in image) for image in rows]
    np.testing.assert_allclose(GaussianPrior(toy).penalty(ws).numpy(), expected, rtol=1e-5)


def test_over_the_prior_the_gaussian_is_its_dimension():
    """The mean squared Mahalanobis distance of the very draws is (n - 1) / n of the dimension, for each row."""
    for toy, rows in ((toy_stylegan2(), 1), (toy_stylegan1(w_per_layer=True), 6)):
        w = prior_ws(toy, 5000)
        found = GaussianPrior(toy).penalty(w[:, None] if w.dim() == 2 else w).mean()
        assert abs(float(found) / (16 * rows * 4999 / 5000) - 1) < 1e-3


def test_the_gaussians_gradient():
    prior = GaussianPrior(toy_stylegan2())
    ws = torch.randn(1, 2, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(prior.penalty, ws)
