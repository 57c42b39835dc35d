"""Portraits as points of a prior: each parameter's Gaussian score, turned by a fixed rotation."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.data.portraits.parameters import ATTRIBUTES, BINARY, DETAIL, GLASSES_RATE, Portraits

ROTATION_SEED = 0


def known_codes(portraits: Portraits, z_dim: int) -> Tensor:
    """A code `(N, z_dim)` of each portrait, distributed as N(0, I) over random portraits.

    Uniform parameters become normal scores; glasses, the one binary parameter, take the tail of theirs. Phases of the
    fine texture fill what is left of the code.
    """
    uniform = torch.cat([(portraits.identity + 1) / 2, _attribute_ranks(portraits.attributes), portraits.detail], 1)
    named = portraits.identity.shape[1] + len(ATTRIBUTES) + len(DETAIL)
    assert named <= z_dim <= uniform.shape[1]
    scores = torch.special.ndtri(uniform[:, :z_dim].double().clamp(1e-4, 1 - 1e-4)).float()
    return scores @ _rotation(z_dim)


def _attribute_ranks(attributes: Tensor) -> Tensor:
    """Attributes to uniform numbers in [0, 1], by the distributions that `sample_portraits` draws them from."""
    ranks = (attributes + 1) / 2
    beard = ATTRIBUTES.index("beard")
    ranks[:, beard] = ranks[:, beard] ** (1 / 1.6)
    for name in BINARY:
        column = ATTRIBUTES.index(name)
        spread = torch.frac(attributes.abs().sum(1) * 1000)  # any number that the other attributes fix
        worn = spread * GLASSES_RATE
        ranks[:, column] = torch.where(attributes[:, column] > 0.5, 1 - worn, spread * (1 - GLASSES_RATE))
    return ranks


def _rotation(dim: int) -> Tensor:
    rng = torch.Generator().manual_seed(ROTATION_SEED)
    return torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))[0].float()
