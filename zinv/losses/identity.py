"""Identity terms, 1 - cosine of two faces' embeddings: the demo domain's own, and VGGFace2's."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from zinv.images import resize
from zinv.losses.base import LossTerm, Prepared
from zinv.metrics.identity import IdentitySimilarity, load_embedder
from zinv.metrics.portraits import PortraitIdentity
from zinv.networks.portraits import load_identity
from zinv.weights import Weights

CROP: Final = (35 / 256, 223 / 256, 32 / 256, 220 / 256)  # top, bottom, left, right of an aligned face (pSp, e4e)
SIDE: Final = 160


class PortraitIdentityTerm(LossTerm):
    """1 - cosine of the demo domain's own identity embeddings.

    Args:
        weights: the network's weight file.
    """

    label = "portrait identity"
    network = PortraitIdentity.network

    def __init__(self, weights: Weights = "portraits/identity") -> None:
        super().__init__()
        self.net = load_identity(weights)

    def prepare(self, target: Tensor) -> Prepared:
        """The targets' embeddings."""
        return self.net(target)

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        return distance(self.net(image), prepared)


class IdentityTerm(LossTerm):
    """1 - cosine of VGGFace2 embeddings of aligned faces, cut out where FFHQ's alignment puts them; nothing is found.

    e4e descends on ArcFace's embeddings instead.

    Args:
        weights: facenet-pytorch's state dict.
    """

    label = "identity"
    network = IdentitySimilarity.network

    def __init__(self, weights: Weights = "vggface2") -> None:
        super().__init__()
        self.net = load_embedder(weights)

    def prepare(self, target: Tensor) -> Prepared:
        """The targets' embeddings."""
        return self._embed(target)

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        return distance(self._embed(image), prepared)

    def _embed(self, image: Tensor) -> Tensor:
        top, bottom, left, right = (round(share * image.shape[-1]) for share in CROP)
        embedding: Tensor = self.net(resize(image[..., top:bottom, left:right], SIDE, "bilinear"))
        return embedding


def distance(a: Tensor, b: Prepared) -> Tensor:
    """1 - cosine `(N,)` of unit vectors."""
    assert isinstance(b, Tensor)
    return 1 - (a * b).sum(1)
