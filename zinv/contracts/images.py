"""What a DataSource and a Segmentation promise."""

from __future__ import annotations

import torch

from zinv.contracts.base import IDS, Contract, pictures, require, require_shape
from zinv.data.base import DataSource
from zinv.data.folder import safe_id
from zinv.segmentation.base import Segmentation


class DataContract(Contract):
    """A DataSource."""

    def __init__(self, source: DataSource) -> None:
        self._source = source

    def ids(self) -> None:
        """Ids are unique and safe as file names."""
        ids = self._source.ids
        require(len(self._source) == len(ids) > 0, "there are no ids")
        require(len(set(ids)) == len(ids), "an id comes twice")
        unsafe = [name for name in ids if safe_id(name) != name]
        require(not unsafe, f"not safe as a file name: {unsafe[:1]}")

    def pictures(self) -> None:
        """Pictures are (3, R, R) float32 in [-1, 1], the same at each call."""
        for i in {0, len(self._source) - 1}:
            name, picture = self._source.ids[i], self._source.image(i)
            side = self._source.resolution or picture.shape[-1]
            require_shape(name, picture, (3, side, side))
            require(picture.dtype == torch.float32, f"{name}: it is {picture.dtype}, not float32")
            require(bool((picture.abs() <= 1).all()), f"{name}: it leaves [-1, 1]")
            require(torch.equal(picture, self._source.image(i)), f"{name}: another picture at the second call")


class SegmentationContract(Contract):
    """A Segmentation, on pictures of a size."""

    def __init__(self, segmentation: Segmentation, size: int = 64) -> None:
        self._segmentation, self._picture = segmentation, pictures(size)[0]
        self._given = self._picture.clone()

    def labels(self) -> None:
        """Labels are int64 numbers from 0 on, one a pixel, none left out."""
        labels = self._segmentation(self._picture, IDS[0])
        require(bool(self._segmentation.label), "label is empty")
        require_shape("labels", labels, tuple(self._picture.shape[-2:]))
        require(labels.dtype == torch.int64, f"labels are {labels.dtype}, not int64")
        found = labels.unique().tolist()
        require(found == list(range(len(found))), f"labels are {found[:8]}, not the numbers from 0 on")

    def pure(self) -> None:
        """The same picture has the same labels, and is left as it was."""
        first, second = (self._segmentation(self._picture, IDS[0]) for _ in range(2))
        require(torch.equal(first, second), "a second call gives other labels")
        require(torch.equal(self._picture, self._given), "a call changed its picture")
