"""Superpixels: segments by colour and place, without any weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from skimage.segmentation import felzenszwalb, slic
from torch import Tensor

from zinv.segmentation.base import Segmentation, numbered
from zinv.values import Count, Positive


class Superpixels(Segmentation):
    """scikit-image's SLIC (Achanta et al. 2012) or graph-based segments (Felzenszwalb and Huttenlocher 2004).

    Args:
        kind: slic: compact segments of like size; felzenszwalb: as few as the edges ask for.
        num: segments, about so many (SLIC).
        compactness: of place against colour (SLIC).
        scale: larger segments where it is higher (Felzenszwalb).
    """

    def __init__(
        self,
        kind: Literal["slic", "felzenszwalb"] = "slic",
        num: Count = 50,
        compactness: Positive = 10.0,
        scale: Positive = 100.0,
    ) -> None:
        self.kind, self.num, self.compactness, self.scale = kind, num, compactness, scale
        self.label = f"SLIC, about {num}" if kind == "slic" else f"Felzenszwalb, scale {scale:g}"

    def __call__(self, image: Tensor, name: str = "") -> Tensor:
        """See `Segmentation`."""
        pixels = ((image.detach().double().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).cpu().numpy()
        return numbered(torch.from_numpy(self._labels(pixels).astype(np.int64)))

    def _labels(self, pixels: np.ndarray) -> np.ndarray:
        found: np.ndarray
        if self.kind == "slic":
            found = slic(pixels, n_segments=self.num, compactness=self.compactness, start_label=0, channel_axis=-1)
        else:
            found = felzenszwalb(pixels, scale=self.scale, channel_axis=-1)
        return found
