"""Penalties that hold a code's rows near W, on rows of w: SAM's (Parmar et al. 2022), of which e4e has the deltas."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.generators.base import Generator
from zinv.spaces.base import prior_ws

NUM_DRAWS: Final = 5000
INVERSE_SLOPE: Final = 5.0  # of the mapping network's last leaky ReLU, whose slope is .2
RIDGE: Final = 1e-8  # added to the covariance, which then has an inverse


def delta_penalty(ws: Tensor) -> Tensor:
    """How far rows are from the first, `(N,)`: the sum of `|w_i - w_0|`.

    >>> delta_penalty(torch.tensor([[[1.0, 1.0], [1.0, 1.0], [4.0, 5.0]]]))
    tensor([5.])
    """
    return torch.linalg.vector_norm(ws[:, 1:] - ws[:, :1], dim=2).sum(1)


class GaussianPrior:
    """The prior as a normal distribution of v = LeakyReLU_5(w), of each row where each has a w of its own.

    Args:
        generator: whose prior; 5,000 untruncated draws.
    """

    @torch.no_grad()
    def __init__(self, generator: Generator) -> None:
        w = prior_ws(generator, NUM_DRAWS).double().unflatten(-1, (1, -1)).flatten(1, -2)  # (num, 1 or L, D)
        v = F.leaky_relu(w, INVERSE_SLOPE)
        self.mean = v.mean(0)
        away = (v - self.mean).transpose(0, 1)
        covariance = away.mT @ away / (NUM_DRAWS - 1)
        ridge = RIDGE * torch.eye(v.shape[-1], dtype=v.dtype, device=v.device)
        self.precision = torch.linalg.inv(covariance + ridge)

    def penalty(self, ws: Tensor) -> Tensor:
        """`(N,)`: the squared Mahalanobis distances from the mean, summed over rows, in float64 inside."""
        away = (F.leaky_relu(ws.double(), INVERSE_SLOPE) - self.mean).unsqueeze(2)
        distance = (away @ self.precision @ away.mT).flatten(1).sum(1)
        return distance.to(ws.dtype)
