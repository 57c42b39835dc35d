"""Terms of the code alone, and the penalty on noise maps. A space's own penalty (P_N's) belongs to the space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.losses.base import LossTerm, Prepared


class CodeL2(LossTerm):
    """Mean square of the code's coordinates, whatever the space."""

    label = "code L2"

    def prepare(self, target: Tensor) -> Prepared:
        """Nothing."""
        return ()

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        return code.flatten(1).square().mean(1)


def noise_penalty(maps: Sequence[Tensor]) -> Tensor:
    """How far noise maps are from white, `(N,)`: squared correlations of neighbours (Karras et al. 2020, appendix D).

    Summed over maps and, in each, over its halvings down to 8 pixels: `mean(n n_x)^2 + mean(n n_y)^2`, with the map
    shifted by one, around the border.

    Args:
        maps: `(N, 1, h, w)`, one a noise layer.
    """
    return torch.stack([_correlation(x) for x in maps]).sum(0)


def _correlation(x: Tensor) -> Tensor:
    neighbours = [(x * x.roll(1, axis)).mean((1, 2, 3)) for axis in (2, 3)]
    here = neighbours[0].square() + neighbours[1].square()
    return here if x.shape[-1] <= 8 else here + _correlation(F.avg_pool2d(x, 2))


def whitened(x: Tensor) -> Tensor:
    """Noise maps `(N, 1, h, w)` with mean 0 and root mean square 1 each."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x * x.square().mean((1, 2, 3), keepdim=True).rsqrt()
