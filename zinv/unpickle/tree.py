"""From what a pickle built to plain data: no circles, bounded walks, tensors read last."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.unpickle.builders import NUMPY, kind
from zinv.unpickle.records import Array, NumpyDtype, Plain, Storage, Stub, Text
from zinv.unpickle.source import Budget, Span, check

DEEPEST: Final = 100
MOST_NODES: Final = 500_000
CLAIM: Final = 4
CLAIM_ALLOWANCE: Final = 1 << 20


@dataclass(frozen=True)
class Extent:
    """What walking a value by every path would meet: values, bytes of tensors, and how deep."""

    nodes: int = 1
    claimed: int = 0
    depth: int = 1


def verify(root: object, budget: Budget) -> None:
    """Check that walking a value, even by every path, is short.

    Raises:
        CheckpointError: it contains itself, shares its parts into an explosion, is too deep, or its tensors claim more
            than a file of this size explains.
    """
    done: dict[int, Extent] = {}
    open_, stack = set[int](), [(root, False)]
    while stack:
        value, complete = stack.pop()
        if complete:
            open_.remove(id(value))
            done[id(value)] = _extent(value, done, budget.size)
        elif id(value) in open_:
            raise CheckpointError(f"{kind(value)} that contains itself")
        elif id(value) not in done:
            if len(open_) == DEEPEST:
                raise CheckpointError(f"values inside one another, more than {DEEPEST} deep")
            open_.add(id(value))
            stack += [(value, True), *((part, False) for part in _parts(value))]


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, Stub):
        return (value.state, value.args)
    return value if isinstance(value, list | tuple) else ()


def _extent(value: object, done: dict[int, Extent], size: int) -> Extent:
    inside = [done[id(part)] for part in _parts(value)]
    nodes = 1 + sum(extent.nodes for extent in inside)
    claimed = sum((extent.claimed for extent in inside), value.claimed() if isinstance(value, Array) else 0)
    depth = 1 + max((extent.depth for extent in inside), default=0)
    if depth > DEEPEST:
        raise CheckpointError(f"values inside one another, more than {DEEPEST} deep")
    if nodes > MOST_NODES:
        raise CheckpointError(f"shared parts that make more than {MOST_NODES:,} values")
    if claimed > CLAIM * size + CLAIM_ALLOWANCE:
        raise CheckpointError(f"tensors that claim {claimed:,} bytes and more, in a file of {size:,}")
    return Extent(nodes, claimed, depth)


class Tree:
    """Plain data of what a pickle built. Its tensors are on the meta device until they are filled.

    Attributes:
        plain: the whole tree.
    """

    def __init__(self, root: object, budget: Budget):
        verify(root, budget)
        self._budget = budget
        self._arrays: dict[int, tuple[Tensor, Array]] = {}
        self.plain = _Copy(self._leaf).of(root)

    def fill(self, chosen: Plain) -> Plain:
        """A part of the tree with its tensors read.

        Raises:
            CheckpointError: the file is damaged there.
        """
        return _Copy(_Reader(self._arrays, self._budget)).of(chosen)

    def _leaf(self, value: object) -> Plain:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Array):
            return self._meta(value)
        if isinstance(value, Span | bytes | bytearray):
            return value.read() if isinstance(value, Span) else bytes(value)
        if isinstance(value, Text):
            return self._decoded(value)
        if isinstance(value, NumpyDtype):
            return str(NUMPY[value.code][0])
        raise CheckpointError(f"{kind(value)} where data should be")

    def _meta(self, array: Array) -> Tensor:
        if array.storage is None:
            raise CheckpointError("a numpy array without content")
        meta = torch.empty_strided(array.shape, array.stride, dtype=array.storage.dtype, device="meta")
        self._arrays[id(meta)] = (meta, array)
        return meta

    def _decoded(self, text: Text) -> str:
        self._budget.spend(4 * text.span.length)
        try:
            return text.span.peek().decode(text.encoding)
        except UnicodeError:
            raise CheckpointError(f"byte {text.span.start}: text that cannot be decoded") from None


class _Copy:
    """Copies containers, sharing what is shared, and asks `leaf` for the rest."""

    def __init__(self, leaf: Callable[[object], Plain]):
        self._leaf = leaf
        self._copies: dict[int, tuple[object, Plain]] = {}

    def of(self, value: object) -> Plain:
        if id(value) not in self._copies:
            self._copies[id(value)] = (value, self._copy(value))
        return self._copies[id(value)][1]

    def _copy(self, value: object) -> Plain:
        if isinstance(value, dict):
            return {key: self.of(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.of(part) for part in value]
        if isinstance(value, tuple):
            return tuple(self.of(part) for part in value)
        if isinstance(value, Stub):
            state = {key: self.of(part) for key, part in value.state.items()}
            return Stub(value.module, value.name, state, tuple(self.of(part) for part in value.args))
        return self._leaf(value)


class _Reader:
    """Reads tensors, each storage once."""

    def __init__(self, arrays: dict[int, tuple[Tensor, Array]], budget: Budget):
        self._arrays, self._budget = arrays, budget
        self._buffers: dict[int, Tensor] = {}

    def __call__(self, value: object) -> Plain:
        if not isinstance(value, Tensor):
            return value  # type: ignore[return-value]
        array = self._arrays[id(value)][1]
        assert array.storage is not None
        if id(array.storage) not in self._buffers:
            self._buffers[id(array.storage)] = self._read(array.storage)
        return self._buffers[id(array.storage)].as_strided(array.shape, array.stride, array.offset)

    def _read(self, storage: Storage) -> Tensor:
        payload = storage.payload
        if isinstance(payload, bytearray) and payload:
            return _typed(torch.frombuffer(payload, dtype=torch.uint8), storage.dtype)
        self._budget.spend(storage.num_bytes)
        numbers = torch.empty(storage.num_bytes, dtype=torch.uint8)
        view = numbers.numpy().data
        if isinstance(payload, Span):
            payload.source.fill(payload.start, view)
            check(payload, zlib.crc32(view), storage.crc)
        elif payload:
            view[:] = payload
        return _typed(numbers, storage.dtype)


def _typed(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes as numbers; as truth values any byte but 0 is true."""
    return numbers.ne(0) if dtype is torch.bool else numbers.view(dtype)
