"""Terms of the code alone. A space's own penalty (P_N's) belongs to the space."""

from __future__ import annotations

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
