"""What a pickle is read into: plain data, and stubs for instances of classes that are never imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.unpickle.source import Span

Plain: TypeAlias = (
    "bool | int | float | str | bytes | Tensor | list[Plain] | tuple[Plain, ...] | dict[Key, Plain] | Stub | None"
)
"""What `load` returns. There is no circle in it, and walking every path takes a bounded time."""

Key: TypeAlias = "str | int | None"

PERSISTENT: Final = "torch_utils.persistence"
"""The module under which the stubs of NVIDIA's persistent classes are kept; their own module's source is ignored."""


@dataclass(frozen=True)
class Stub:
    """An instance of a class that the file names, as data: nothing was imported, called or executed.

    Attributes:
        module: of the class. `PERSISTENT` for NVIDIA's persistent classes, which carry their source instead.
        name: of the class, with dots if it is nested.
        state: what the pickle would have handed to `__setstate__` or put into `__dict__`.
        args: what the pickle would have called the class with.
    """

    module: str
    name: str
    state: dict[str, Plain] = field(default_factory=dict)
    args: tuple[Plain, ...] = ()


# Below: what a pickle holds while it is read. None of it comes out of `load`.


@dataclass(frozen=True)
class Global:
    """A name that the pickle gives, on the list or among the classes that were asked for; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False)
class Text:
    """Long text, not yet decoded: an embedded source, or an array that an old protocol wrote as text."""

    span: Span
    encoding: str


Payload: TypeAlias = Span | bytes | bytearray
"""Bytes in the file, or in memory where they were decoded from text."""


def length(payload: Payload) -> int:
    """Number of bytes."""
    return payload.length if isinstance(payload, Span) else len(payload)


@dataclass(eq=False)
class Storage:
    """The numbers behind tensors.

    Attributes:
        dtype: of each number.
        num: how many numbers.
        payload: their bytes; None until a stream has come to them.
        crc: the CRC-32 that the bytes must have; 0 where the file says none.
    """

    dtype: torch.dtype
    num: int
    payload: Payload | None = None
    crc: int = 0

    @property
    def num_bytes(self) -> int:
        """How many bytes its numbers take."""
        return self.num * self.dtype.itemsize


@dataclass(eq=False)
class Array:
    """A tensor's place in its storage; empty while numpy has not yet given its state."""

    storage: Storage | None = None
    offset: int = 0
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()

    def claimed(self) -> int:
        """Bytes that a copy of it takes, whatever its storage has."""
        return math.prod(self.shape) * self.storage.dtype.itemsize if self.storage else 0


@dataclass(eq=False)
class NumpyDtype:
    """A numpy dtype by its short name, `f4`."""

    code: str


LARGEST: Final = 1 << 40
MOST_DIMS: Final = 16


def place(storage: Storage, offset: object, shape: object, stride: object) -> Array:
    """A tensor inside its storage.

    Raises:
        CheckpointError: it is not inside, or these are not numbers.
    """
    sides, steps = counts(shape, "shape"), counts(stride, "stride")
    (start,) = counts((offset,), "offset")
    if len(sides) != len(steps):
        raise CheckpointError(f"a tensor of shape {sides} with stride {steps}")
    last = start + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if start > storage.num or (0 not in sides and last >= storage.num):
        raise CheckpointError(
            f"a tensor of shape {sides}, stride {steps} and offset {start} in a storage of {storage.num:,} numbers"
        )
    return Array(storage, start, sides, steps)


def counts(value: object, what: str) -> tuple[int, ...]:
    """A few non-negative numbers whose product is not absurd.

    Raises:
        CheckpointError: they are something else.
    """
    if not isinstance(value, tuple | list) or len(value) > MOST_DIMS:
        raise CheckpointError(f"a tensor's {what} is not a tuple of at most {MOST_DIMS} numbers")
    if not all(type(side) is int and 0 <= side <= LARGEST for side in value):
        raise CheckpointError(f"a tensor's {what} has an entry that is not a number from 0 to {LARGEST:,}")
    if what == "shape" and math.prod(max(side, 1) for side in value) > LARGEST:
        raise CheckpointError(f"a tensor of shape {tuple(value)}")
    return tuple(value)
