"""`RowEncoder`: what encoders of a whole picture into a latent space have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

Sizes = Mapping[str, "int | str | list[int]"]


class RowEncoder(nn.Module, ABC):
    """Pictures `(N, 3, H, W)` in [-1, 1] to rows `(N, num_rows, dim)` in a space's coordinates, before retraction.

    Args:
        size: side of the pictures that the first layer sees; others are resized.
        num_rows: rows of the space.
        dim: of a row.

    Attributes:
        kind: what its weight file says that it is.
        model: the preset that trains it.
    """

    kind: ClassVar[str]
    model: ClassVar[str]

    def __init__(self, size: int, num_rows: int, dim: int) -> None:
        super().__init__()
        self.size, self.num_rows, self.dim = size, num_rows, dim

    @abstractmethod
    def architecture(self) -> Sizes:
        """The constructor's arguments."""

    @abstractmethod
    def centre(self, prior: Tensor) -> None:
        """Start from the mean and spread of a space's prior rows `(M, num_rows, dim)`."""

    @classmethod
    @abstractmethod
    def small(cls, size: int, num_rows: int, dim: int) -> Self:
        """A narrow one, for tests."""

    @classmethod
    def untrained(cls, seed: int, size: int, prior: Tensor) -> Self:
        """A narrow one with random weights, frozen: for the toy generators, whose pictures mean nothing."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = cls.small(size, *prior.shape[1:])
        encoder.centre(prior)
        return encoder.eval().requires_grad_(False)

    def metadata(self, generator: str, resolution: int, space: str, truncation: str) -> dict[str, str]:
        """What a file says beside the tensors: the architecture, and what it was trained for."""
        trained = {"generator": generator, "resolution": str(resolution), "space": space, "truncation": truncation}
        return {"kind": self.kind, "architecture": json.dumps(dict(self.architecture())), **trained}
