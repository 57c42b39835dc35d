"""A loss term of one's own: where a picture has its edges."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.errors import ConfigError
from zinv.losses.base import LossTerm, Prepared


class Edges(LossTerm):
    """Mean absolute difference of image gradients, over pixels, channels and both axes.

    A gradient is the difference of two pixels that lie `distance` apart. Constant shifts of brightness cost nothing.

    Args:
        distance: pixels between the two.

    >>> target, term = torch.zeros(1, 3, 8, 8), Edges()
    >>> term(target + 1, torch.zeros(1, 16), term.prepare(target))
    tensor([0.])
    """

    label = "edges"

    def __init__(self, distance: int = 1) -> None:
        super().__init__()
        if distance < 1:
            raise ConfigError(f"loss.options.mylab.losses.Edges.distance={distance}: at least 1 pixel.")
        self.distance = distance

    def prepare(self, target: Tensor) -> Prepared:
        """Gradients of the targets, computed once a batch."""
        return self.gradients(target)

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """One value an image `(N,)`."""
        pairs = zip(self.gradients(image), prepared, strict=True)
        return torch.stack([(ours - theirs).abs().mean((1, 2, 3)) for ours, theirs in pairs]).mean(0)

    def gradients(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Along x and along y."""
        far = self.distance
        return image[..., far:] - image[..., :-far], image[..., far:, :] - image[..., :-far, :]
