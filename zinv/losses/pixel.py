"""Terms of pixels."""

from __future__ import annotations

from torch import Tensor

from zinv.losses.base import LossTerm, Prepared


class MSETerm(LossTerm):
    """Mean squared error over pixels and channels at the generator's resolution, in [-1, 1] units, not clipped."""

    label = "MSE"

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        return difference(image, prepared).square().mean((1, 2, 3))


class L1Term(LossTerm):
    """Mean absolute error over pixels and channels, in [-1, 1] units."""

    label = "L1"

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        return difference(image, prepared).abs().mean((1, 2, 3))


def difference(image: Tensor, prepared: Prepared) -> Tensor:
    """Image minus target."""
    assert isinstance(prepared, Tensor)
    return image - prepared
