"""Identity similarity: cosine of two faces' embeddings."""

from __future__ import annotations

import math
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from zinv.errors import ConfigError, WeightsError
from zinv.images import to_uint8
from zinv.metrics.base import Embedding, Metric
from zinv.metrics.perceptual import weights_sha256
from zinv.weights import Weights, read_state

try:
    from facenet_pytorch import MTCNN, InceptionResnetV1
except ImportError:
    MTCNN = InceptionResnetV1 = None

SIZE: Final = 512  # of an embedding


class IdentitySimilarity(Metric):
    """Cosine of InceptionResnetV1 embeddings (VGGFace2) of the largest faces that MTCNN finds, as the Z+ paper.

    An image in which no face is found scores NaN and counts as missing. One image at a time: the detector fails on a
    batch that mixes images with and without a face.

    Args:
        weights: facenet-pytorch's state dict, by weight name or path; its classifier is not used.
    """

    label, name, higher_is_better = "identity", "identity", True
    network = "VGGFace2 InceptionResnetV1"
    smallest_face = 20
    sees = "identity"

    def __init__(self, weights: Weights = "vggface2") -> None:
        super().__init__()
        self.embedder = load_embedder(weights)
        self.detector = MTCNN(image_size=160, margin=0, min_face_size=self.smallest_face).eval()
        self.requires_grad_(False)
        self.sha256 = weights_sha256(weights)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        return self.compare(self.embed(image), self.embed(target))

    def embed(self, image: Tensor) -> Embedding:
        """The unit vectors `(N, 512)` of the largest faces, NaN where there is none."""
        return (torch.stack([self._face(picture) for picture in image]),)

    def compare(self, image: Embedding, target: Embedding) -> Tensor:
        """See `Metric`."""
        return torch.stack([a @ b for a, b in zip(*image, *target, strict=True)])

    def _face(self, image: Tensor) -> Tensor:
        """The vector of one `(3, H, W)` image."""
        face: Tensor | None = None
        if min(image.shape[-2:]) >= self.smallest_face:
            self.detector.device = image.device
            face = self.detector(Image.fromarray(to_uint8(image[None])[0].numpy()))
        if face is None:
            return image.new_full((SIZE,), math.nan)
        embedding: Tensor = self.embedder(face[None].to(image.device))[0]
        return embedding

    def describe(self) -> str:
        """See `Metric`."""
        return "identity (MTCNN + VGGFace2 cosine; no face: counted as missing)"


def load_embedder(weights: Weights = "vggface2") -> torch.nn.Module:
    """InceptionResnetV1 without its classifier, frozen: `(N, 3, 160, 160)` to unit vectors `(N, 512)`.

    Raises:
        WeightsError: the file is missing or holds another network.
        ConfigError: facenet-pytorch is not installed.
    """
    if InceptionResnetV1 is None:
        raise ConfigError("metric=identity: needs the package facenet-pytorch: pip install facenet-pytorch==2.5.3.")
    state = read_state(weights)
    own = {key: x for key, x in state.items() if not key.startswith("logits.")}
    embedder: torch.nn.Module = InceptionResnetV1(pretrained=None).eval()
    expected = {k: x.shape for k, x in embedder.state_dict().items() if not k.startswith("logits.")}
    if {key: x.shape for key, x in own.items()} != expected:
        raise WeightsError(f"{weights}: not an InceptionResnetV1: other layers or shapes.")
    embedder.load_state_dict(own, strict=False)
    return embedder.requires_grad_(False)
