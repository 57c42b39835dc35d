"""LPIPS as a metric."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zinv.metrics.base import Embedding, Metric
from zinv.networks.perceptual import LPIPSWeights, load_lpips
from zinv.weights import find, sha256


class LPIPSDistance(Metric):
    """LPIPS v0.1 (Zhang et al. 2018), with the backbone of a weight file.

    Args:
        weights: torchvision's state dict: "lpips/vgg16", "lpips/alexnet" or a path; "random/vgg16" for tests alone.
        channels: "bgr" repeats an evaluator that read files with OpenCV.
        seed: of random weights.
    """

    higher_is_better = False
    sees = "features"

    def __init__(
        self, weights: LPIPSWeights = "lpips/vgg16", channels: Literal["rgb", "bgr"] = "rgb", seed: int = 0
    ) -> None:
        super().__init__()
        self.lpips = load_lpips(weights, seed)
        self.channels = channels
        self.network = lpips_name(weights, self.lpips.net, seed)
        self.sha256 = weights_sha256(weights)
        self.label = f"LPIPS ({self.lpips.net})" if self.sha256 else f"distance ({self.network})"
        self.name = f"lpips_{self.lpips.backbone.linear}"
        self.min_size = self.lpips.backbone.min_size

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        return self.compare(self.embed(image), self.embed(target))

    def embed(self, image: Tensor) -> Embedding:
        """The backbone's taps."""
        return self.lpips.taps(image.flip(1) if self.channels == "bgr" else image)

    def compare(self, image: Embedding, target: Embedding) -> Tensor:
        """See `Metric`."""
        return self.lpips.between(image, target)

    def describe(self) -> str:
        """See `Metric`."""
        return f"{self.label} v0.1 {self.channels.upper()}"


def lpips_name(weights: str, net: str, seed: int) -> str:
    """What tables call LPIPS' network."""
    return f"random {net}, seed {seed}" if weights.startswith("random/") else f"LPIPS {net}"


def weights_sha256(weights: str) -> str | None:
    """Digest of a weight file; none of weights that are drawn."""
    return None if weights.startswith("random/") else sha256(find(weights))
