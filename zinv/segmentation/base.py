"""The Segmentation: a picture cut into parts, each of which a method treats alike."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Segmentation(ABC):
    """Labels of the pixels of one picture at a time.

    Attributes:
        label: as the settings of a run print it.
    """

    label: str

    @abstractmethod
    def __call__(self, image: Tensor, name: str = "") -> Tensor:
        """Labels `(H, W)` int64 from 0 on, none left out, of a picture `(3, H, W)` in [-1, 1].

        Args:
            image: the picture.
            name: its id.

        Raises:
            DataError: this picture cannot be segmented; a run records that and goes on.
        """


def numbered(labels: Tensor) -> Tensor:
    """Labels as the numbers from 0 on, in their order.

    >>> numbered(torch.tensor([[7, 7], [3, 255]]))
    tensor([[1, 1],
            [0, 2]])
    """
    return torch.unique(labels, return_inverse=True)[1]
