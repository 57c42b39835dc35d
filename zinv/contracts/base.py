"""The Contract: promises of a kind of part, and how they are put to the test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.generators.base import Generator
from zinv.weights import digest

IDS = ("ada", "ben", "cy")
TOLERANCE = 1e-4  # relative; float32 sums in another order stay far below
FEW_STEPS = 1e-3  # after some steps of descent


class Broken(Exception):
    """A promise that a part does not keep, and how."""


class Contract:
    """The promises of one kind of part."""

    def promises(self) -> dict[str, Callable[[], None]]:
        """Each promise by its words, in the order of the file."""
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        methods = [getattr(self, name) for name in names]
        return {(inspect.getdoc(method) or "").rstrip("."): method for method in methods}


def require(condition: bool, message: str) -> None:
    """Raise Broken if a promise is not kept."""
    if not condition:
        raise Broken(message)


def require_shape(name: str, value: object, shape: Sequence[int]) -> None:
    """It is a finite tensor of this shape."""
    if not isinstance(value, Tensor):
        raise Broken(f"{name}: it is {type(value).__name__}, not a tensor")
    require(tuple(value.shape) == tuple(shape), f"{name}: its shape is {tuple(value.shape)}, not {tuple(shape)}")
    require(bool(torch.isfinite(value).all()), f"{name}: it is not finite everywhere")


def require_equal(name: str, value: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """It is what is expected, NaN where that is; 0 asks for the same bits."""
    require(value.shape == expected.shape, f"{name}: its shape is {tuple(value.shape)}, not {tuple(expected.shape)}")
    same = torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    require(same, f"{name}: it differs by up to {float((value - expected).detach().abs().max()):.2g}")


def state_of(generator: Generator) -> str:
    """A digest of its tensors, and what of it is trainable."""
    trainable = [name for name, parameter in generator.named_parameters() if parameter.requires_grad]
    return digest(generator.state_dict()) + ",".join(trainable)


def normal(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Normal numbers, always the same."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def pictures(size: int, seed: int = 0) -> Tensor:
    """A smooth picture for each of the ids, always the same."""
    return F.interpolate(normal((len(IDS), 3, 4, 4), seed), (size, size), mode="bicubic").tanh()
