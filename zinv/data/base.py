"""What every data source is: a list of ids, and one picture an id."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zinv.errors import DataError


class Image(NamedTuple):
    """One target: `pixels` `(3, R, R)` in [-1, 1], or the reason (`failure`) why there are none."""

    id: str
    pixels: Tensor | None
    failure: str = ""
    note: str = ""


class DataSource(Dataset[Image], ABC):
    """Target images. A subclass sets `ids` and `resolution`, and gives `image`.

    Attributes:
        ids: unique names that are safe as folder names, in the order in which tables list them.
        resolution: side R of the pictures; None until `match` sets it.
        remark: a sentence on them that is printed under every table, or nothing.
    """

    ids: Sequence[str]
    resolution: int | None = None
    remark: str = ""

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Picture `index` as `(3, R, R)` float32 in [-1, 1].

        Raises:
            DataError: it cannot be read or does not fit; a run records that and goes on.
        """

    def images(self, indices: Sequence[int]) -> Tensor:
        """Several pictures `(N, 3, R, R)`, one after another; overridden where they come faster together.

        Raises:
            DataError: one of them cannot be used.
        """
        return torch.stack([self.image(index) for index in indices])

    def counterfactual(self, index: int, attribute: str, changes: Sequence[float]) -> Tensor | None:
        """Picture `index` as it were with an attribute changed by each of so much, `(N, 3, R, R)`.

        None where the source cannot know.
        """
        return None

    def note(self, index: int) -> str:
        """What the reader of a result should know about this picture, or nothing."""
        return ""

    def settings(self) -> str:
        """What, beside class and resolution, decides the pixels of an id."""
        return ""

    def match(self, resolution: int) -> None:
        """Take the generator's resolution, if none was given.

        Raises:
            DataError: another one was given.
        """
        if self.resolution not in (None, resolution):
            raise DataError(f"data.resolution={self.resolution}: the generator makes pictures of {resolution} pixels.")
        self.resolution = resolution

    def fingerprint(self) -> str:
        """16 hex digits that tell two image sets apart by ids and preparation, without reading a picture."""
        kind = f"{type(self).__module__}.{type(self).__qualname__}:{self.resolution}:{self.settings()}"
        return hashlib.sha256("\n".join([kind, *self.ids]).encode()).hexdigest()[:16]

    def origin(self) -> str:
        """What, with its first pictures, names a cache of them; overridden where a cache can grow with `num`."""
        return self.fingerprint()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.ids)

    def __getitem__(self, index: int) -> Image:
        """Image `index`; one that cannot be used comes with its reason instead of pixels."""
        name = self.ids[index]
        try:
            return Image(name, self.image(index), note=self.note(index))
        except DataError as error:
            return Image(name, None, failure=str(error))


def check_range(start: int, num: int | None, limit: int | None = None) -> None:
    """Refuse a `start` or `num` that no source can have.

    >>> check_range(0, 0)
    Traceback (most recent call last):
    zinv.errors.DataError: data.num=0: at least one image is needed.
    """
    if num is not None and num < 1:
        raise DataError(f"data.num={num}: at least one image is needed.")
    if start < 0:
        raise DataError(f"data.start={start}: it begins at 0.")
    if limit is not None and start + (num or 0) > limit:
        raise DataError(f"data.start={start} and data.num={num}: there are {limit} images.")
