"""Metrics of the demo domain, by networks of its own: not LPIPS, not VGGFace2, and never called so."""

from __future__ import annotations

from torch import Tensor

from zinv.metrics.base import Embedding, Metric
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
        return self.compare(self.embed(image), self.embed(target))

    def embed(self, image: Tensor) -> Embedding:
        """Feature maps."""
        return self.net.features(image)

    def compare(self, image: Embedding, target: Embedding) -> Tensor:
        """See `Metric`."""
        return self.net.distance(image, target)

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
        return self.compare(self.embed(image), self.embed(target))

    def embed(self, image: Tensor) -> Embedding:
        """Unit vectors `(N, D)`."""
        return (self.net(image),)

    def compare(self, image: Embedding, target: Embedding) -> Tensor:
        """See `Metric`."""
        return (image[0] * target[0]).sum(1)

    def describe(self) -> str:
        """See `Metric`."""
        return "portrait identity cosine at 64 pixels"
