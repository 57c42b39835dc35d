"""The picture as one segment."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.segmentation.base import Segmentation


class WholeImage(Segmentation):
    """All pixels as one segment, so that one layer takes the picture.

    >>> WholeImage()(torch.zeros(3, 2, 2))
    tensor([[0, 0],
            [0, 0]])
    """

    label = "whole image"

    def __call__(self, image: Tensor, name: str = "") -> Tensor:
        """See `Segmentation`."""
        return torch.zeros(image.shape[-2:], dtype=torch.int64)
