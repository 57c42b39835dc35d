"""Metrics of the demo domain, by networks of its own: not LPIPS, not VGGFace2, and never called so."""

from __future__ import annotations

from torch import Tensor

from zinv.metrics.base import Metric
from zinv.metrics.perceptual import weights_sha256
from zinv.networks.portraits import load_identity, load_perceptual
from zinv.weights import Weights


class PortraitPerceptual(Metric):
    """Distance in the features of the demo domain's own network; 1 is the average of two random portraits.

    Args:
        weights: the network's weight file.
    """

    label, name, higher_is_better = "portrait perceptual", "portrait_perceptual", False
    network = "portrait perceptual"
    sees = "features"

    def __init__(self, weights: Weights = "portraits/perceptual") -> None:
        super().__init__()
        self.net = load_perceptual(weights)
        self.sha256 = weights_sha256(weights)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        distance: Tensor = self.net(image, target)
        return distance

    def describe(self) -> str:
        """See `Metric`."""
        return "portrait perceptual distance at 64 pixels"


class PortraitIdentity(Metric):
    """Cosine of the demo domain's own identity embeddings; nothing is detected, its portraits are aligned.

    Args:
        weights: the network's weight file.
    """

    label, name, higher_is_better = "portrait identity", "portrait_identity", True
    network = "portrait identity"
    sees = "identity"

    def __init__(self, weights: Weights = "portraits/identity") -> None:
        super().__init__()
        self.net = load_identity(weights)
        self.sha256 = weights_sha256(weights)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        cosine: Tensor = (self.net(image) * self.net(target)).sum(1)
        return cosine

    def describe(self) -> str:
        """See `Metric`."""
        return "portrait identity cosine at 64 pixels"
