"""Masks of one's own: a folder of label maps, of whatever face parser or object detector made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zinv.errors import DataError
from zinv.segmentation.base import Segmentation, numbered
from zinv.weights import Content


class Masks(Segmentation):
    """PNG label maps by image id: `ID.png` has one channel, and each of its values is a segment; 0 is the background.

    Args:
        path: the folder; its content counts in the name of a run.

    Raises:
        DataError: there is no such folder, or no PNG file in it.
    """

    label = "own masks"

    def __init__(self, path: Content) -> None:
        self.folder = Path(path).expanduser()
        if not self.folder.is_dir():
            raise DataError(f"segmentation.path={path}: there is no such folder.")
        if not any(self.folder.glob("*.png")):
            raise DataError(f"segmentation.path={path}: there is no label map (ID.png) in this folder.")

    def __call__(self, image: Tensor, name: str = "") -> Tensor:
        """Labels of the map of an id.

        Raises:
            DataError: there is no map of this id, or it is of another size, of several channels, empty or unreadable.
        """
        labels = _read(self.folder / f"{name}.png")
        height, width = image.shape[-2:]
        if labels.shape != (height, width):
            found = " x ".join(map(str, reversed(labels.shape)))
            raise DataError(f"{name}.png: a label map of {found} pixels for a picture of {width} x {height}.")
        if not labels.any():
            raise DataError(f"{name}.png: an empty label map, 0 everywhere. segmentation=whole takes the whole image.")
        return numbered(torch.from_numpy(labels.astype(np.int64)))


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise DataError(f"{path.name}: no such label map in {path.parent}.")
    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path.name}: not a readable label map ({error}).") from error
    if labels.ndim != 2:
        raise DataError(f"{path.name}: {labels.shape[2]} channels; a label map has one.")
    return labels
