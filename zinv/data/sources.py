"""Images that need no file: renders of the portraits domain, and smooth random pictures for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.data.base import DataSource, check_range
from zinv.data.portraits.parameters import ATTRIBUTES, BINARY, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.images import round_8bit
from zinv.seeding import image_rng
from zinv.values import Count

Split = Literal["train", "tune", "held_out"]
SPLIT_SIZE: Final = 1_000_000_000
FIRST_SEED: Final[dict[Split, int]] = {"train": 0, "tune": SPLIT_SIZE, "held_out": 2 * SPLIT_SIZE}
"""Seeds of a split are `FIRST_SEED[split]` and the billion from there; no two splits share one."""


class Portraits(DataSource):
    """Renders of the procedural face domain, rounded to 8 bits as a picture file would be.

    Args:
        split: priors and demo networks are trained on `train`; settings are chosen on `tune`; tables use `held_out`.
        num: number of images.
        start: first image of the split.
        resolution: side R of the pictures.

    >>> Portraits(num=2, start=3).ids
    ['held_out-00003', 'held_out-00004']
    """

    def __init__(self, split: Split = "held_out", num: int = 16, start: int = 0, resolution: Count = 64) -> None:
        check_range(start, num, SPLIT_SIZE)
        self.resolution: int = resolution
        self.ids = [f"{split}-{i:05d}" for i in range(start, start + num)]
        self._first = FIRST_SEED[split] + start

    def image(self, index: int) -> Tensor:
        """The render of one seed."""
        return self.images([index])[0]

    def images(self, indices: Sequence[int]) -> Tensor:
        """The renders of several seeds, drawn together."""
        return round_8bit(render(sample_portraits([self._first + index for index in indices]), self.resolution))

    def origin(self) -> str:
        """First seed, pictures of each person, resolution."""
        return json.dumps([self._first, 1, self.resolution])

    def truth(self, index: int) -> tuple[Tensor, Tensor]:
        """Identity and attribute values from which the portrait was rendered, one vector each."""
        drawn = sample_portraits([self._first + index])
        return drawn.identity[0], drawn.attributes[0]

    def counterfactual(self, index: int, attribute: str, changes: Sequence[float]) -> Tensor | None:
        """Renders of the same person and scene; the value is cut to the domain's, a binary one to 0 or 1."""
        if attribute not in ATTRIBUTES:
            return None
        drawn, column = sample_portraits([self._first + index] * len(changes)), ATTRIBUTES.index(attribute)
        binary = attribute in BINARY
        wanted = (drawn.attributes[:, column] + torch.tensor(changes)).clamp(0 if binary else -1, 1)
        values, places = (wanted.round() if binary else wanted).unique(return_inverse=True)
        distinct = drawn[: len(values)]
        distinct.attributes[:, column] = values
        return round_8bit(render(distinct, self.resolution))[places]


class Toy(DataSource):
    """Smooth random pictures for tests with the toy generators, each seeded by its id.

    >>> Toy(num=2)[1].pixels.shape
    torch.Size([3, 16, 16])
    """

    def __init__(self, num: int = 4, resolution: Count = 16) -> None:
        check_range(0, num)
        self.resolution: int = resolution
        self.ids = [f"toy-{i:05d}" for i in range(num)]

    def image(self, index: int) -> Tensor:
        """One smooth picture, rounded to 8 bits."""
        coarse = torch.randn(1, 3, 4, 4, generator=image_rng(0, self.ids[index]))
        size = (self.resolution, self.resolution)
        return round_8bit(F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)[0].tanh())
