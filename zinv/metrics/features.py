"""Feature vectors of pictures, for distances of whole sets: Inception's for KID, and the demo domain's own."""

from __future__ import annotations

import io
from typing import Final

import torch
from torch import Tensor, nn

from zinv import weights
from zinv.errors import ConfigError, WeightsError
from zinv.images import to_uint8
from zinv.metrics.perceptual import weights_sha256
from zinv.networks.portraits import PerceptualNet, load_perceptual
from zinv.weights import Weights

try:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
except ImportError:
    FeatureExtractorInceptionV3 = None

LAYER: Final = "2048"


class SetFeatures(nn.Module):
    """Pictures to vectors.

    Attributes:
        label: of the kernel distance of two sets of these vectors; only Inception's is called KID.
        sha256: digest of the network's weights.
    """

    label: str
    sha256: str | None

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1], taken as 8-bit, to `(N, D)`."""
        raise NotImplementedError


class InceptionFeatures(SetFeatures):
    """The 2,048 pooled features of torch-fidelity's Inception v3, the network of FID and KID.

    Args:
        name: torch-fidelity's weight file.
    """

    label = "KID"

    def __init__(self, name: Weights = "inception/fidelity") -> None:
        super().__init__()
        if FeatureExtractorInceptionV3 is None:
            raise ConfigError("direction.kid: needs the package torch-fidelity: pip install torch-fidelity==0.4.0.")
        content = io.BytesIO()
        torch.save(weights.read_state(name), content)  # read safely; the package would unpickle whatever it is given
        content.seek(0)
        try:
            network = FeatureExtractorInceptionV3("inception", [LAYER], feature_extractor_weights_path=content)
        except RuntimeError as error:
            raise WeightsError(f"{name}: not torch-fidelity's Inception v3: other layers or shapes.") from error
        self.network: nn.Module = network.eval().requires_grad_(False)
        self.sha256 = weights_sha256(name)

    def forward(self, images: Tensor) -> Tensor:
        """See `SetFeatures`."""
        (features,) = self.network(to_uint8(images).permute(0, 3, 1, 2).contiguous().to(images.device))
        vectors: Tensor = features.flatten(1).float()
        return vectors


class PortraitFeatures(SetFeatures):
    """Means over places of the demo domain's perceptual feature maps.

    Args:
        name: its weight file.
    """

    label = "portrait kernel distance"

    def __init__(self, name: Weights = "portraits/perceptual") -> None:
        super().__init__()
        self.network, self.sha256 = load_perceptual(name), weights_sha256(name)

    def forward(self, images: Tensor) -> Tensor:
        """See `SetFeatures`."""
        levels = to_uint8(images).to(images).permute(0, 3, 1, 2) / 127.5 - 1
        return torch.cat([x.mean((2, 3)) for x in self.network.features(levels)], 1)


def load_features(name: Weights) -> SetFeatures:
    """The features of a weight file: the demo domain's, if it says so, or else torch-fidelity's."""
    path = weights.find(name)
    is_portraits = path.suffix == ".safetensors" and weights.metadata(path).get("kind") == PerceptualNet.kind
    return PortraitFeatures(name) if is_portraits else InceptionFeatures(name)
