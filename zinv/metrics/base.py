"""The Metric: one number an image, never reduced over the batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from zinv.errors import ProtocolError

Embedding: TypeAlias = tuple[Tensor, ...]
"""What a metric sees of pictures, each by itself: tensors with a row a picture."""


class Metric(nn.Module, ABC):
    """How near an image is to its target; both `(N, 3, H, W)` float32 in [-1, 1].

    Attributes:
        label: as tables print it.
        name: its column.
        higher_is_better: which way is up.
        sees: what it compares; edits are scored by who is shown, and how far the picture is from the inversion's.
        digits: decimals that tables print.
        min_size: images with fewer pixels a side are refused.
        network: the network that it measures with, so that a table can mark it where the loss descends on the same.
        sha256: digest of that network's weights.
    """

    label: str
    name: str
    higher_is_better: ClassVar[bool]
    sees: ClassVar[Literal["pixels", "features", "identity"]] = "pixels"
    digits: ClassVar[int] = 4
    min_size: int = 1
    network: str | None = None
    sha256: str | None = None

    @abstractmethod
    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Values `(N,)` float32; NaN where an image cannot be scored."""

    def embed(self, image: Tensor) -> Embedding:
        """What `compare` needs of pictures: a metric with a network shows them to it here, and overrides both.

        A picture that is compared several times is then embedded once.
        """
        return (image,)

    def compare(self, image: Embedding, target: Embedding) -> Tensor:
        """The value of `forward` from what `embed` gave of both."""
        value: Tensor = self(*image, *target)
        return value

    def describe(self) -> str:
        """What is computed, in the words of the protocol line."""
        return self.label

    def check_size(self, image: Tensor) -> None:
        """Refuse images that the metric is not defined for.

        Raises:
            ProtocolError: a side is smaller than `min_size`.
        """
        size = min(image.shape[-2:])
        if size < self.min_size:
            raise ProtocolError(f"{self.name}: needs {self.min_size} pixels a side, the images have {size}.")


def exact(image: Tensor) -> Tensor:
    """Float64, where the device has it: sums of millions of terms that come out the same in any order."""
    return image if image.device.type == "mps" else image.to(torch.float64)
