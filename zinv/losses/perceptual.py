"""Perceptual terms: LPIPS, one layer of VGG16, and the demo domain's own distance."""

from __future__ import annotations

from torch import Tensor

from zinv.errors import ConfigError
from zinv.images import Resize, resize
from zinv.losses.base import LossTerm, Prepared
from zinv.metrics.perceptual import lpips_name
from zinv.metrics.portraits import PortraitPerceptual
from zinv.networks.perceptual import LPIPSWeights, load_lpips
from zinv.networks.portraits import load_perceptual
from zinv.values import Whole
from zinv.weights import Weights


class LPIPSTerm(LossTerm):
    """LPIPS v0.1, by default as BDInvert descends on it: at 256 pixels, the two images resized by different filters.

    Args:
        weights: "lpips/vgg16", "lpips/alexnet", a path, or "random/vgg16" for benchmarks.
        size: pixels a side that larger images are resized to; none: full resolution.
        resize: filter of the reconstruction, which gradients go through.
        target_resize: filter of the target.
        seed: of random weights.
    """

    def __init__(
        self,
        weights: LPIPSWeights = "lpips/vgg16",
        size: int | None = 256,
        resize: Resize = "bicubic_no_antialias",
        target_resize: Resize = "lanczos",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if resize in ("lanczos", "bilinear_pil"):
            raise ConfigError(f"lpips.resize={resize}: has no gradient; it can be the target's filter alone.")
        self.lpips = load_lpips(weights, seed)
        self.network = lpips_name(weights, self.lpips.net, seed)
        self.label = self.network
        self.size, self.resize, self.target_resize = size, resize, target_resize

    def prepare(self, target: Tensor) -> Prepared:
        """Taps of the resized target."""
        return self.lpips.taps(resize(target, self._size(target), self.target_resize))

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        assert isinstance(prepared, tuple)
        return self.lpips.between(self.lpips.taps(resize(image, self._size(image), self.resize)), prepared)

    def _size(self, image: Tensor) -> int:
        size = min(self.size or image.shape[-1], image.shape[-1])
        if size < self.lpips.backbone.min_size:
            raise ConfigError(f"{self.network}: needs {self.lpips.backbone.min_size} pixels a side, not {size}.")
        return size


class VGGTerm(LossTerm):
    """Mean squared difference of VGG16's features at one layer, full resolution (IDInvert: after conv4_3's ReLU).

    Args:
        weights: torchvision's VGG16, "lpips/vgg16", a path, or "random/vgg16".
        layer: of its convolutions, activations and poolings, counted from 0.
        seed: of random weights.
    """

    def __init__(self, weights: LPIPSWeights = "lpips/vgg16", layer: Whole = 22, seed: int = 0) -> None:
        super().__init__()
        self.lpips, self.layer = load_lpips(weights, seed), layer
        self.network = self.label = f"VGG16 layer {layer}"

    def prepare(self, target: Tensor) -> Prepared:
        """Features of the target."""
        return self._features(target)

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        assert isinstance(prepared, Tensor)
        return (self._features(image) - prepared).square().mean((1, 2, 3))

    def _features(self, image: Tensor) -> Tensor:
        features: Tensor = self.lpips.features[: self.layer + 1]((image - self.lpips.mean) / self.lpips.std)
        return features


class PortraitPerceptualTerm(LossTerm):
    """The demo domain's own perceptual distance, as the metric of that name.

    Args:
        weights: the network's weight file.
    """

    label = "portrait perceptual"
    network = PortraitPerceptual.network

    def __init__(self, weights: Weights = "portraits/perceptual") -> None:
        super().__init__()
        self.net = load_perceptual(weights)

    def prepare(self, target: Tensor) -> Prepared:
        """Features of the target."""
        return self.net.features(target)

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        assert isinstance(prepared, tuple)
        return self.net.distance(self.net.features(image), prepared)
