"""Formats as tables: a tensor's name here, its name there, and what to do with it on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Tensors


class Change(NamedTuple):
    """A tensor's way from a file to zinv, and back."""

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]


def _same(x: Tensor) -> Tensor:
    return x


def _turn(x: Tensor) -> Tensor:
    return x.flip(-2, -1)


def _drop(x: Tensor) -> Tensor:
    """Without a first axis of 1; as it is if that is longer, so that its shape is refused later."""
    return x.squeeze(0) if x.dim() else x


SAME: Final = Change(_same, _same)
TURNED: Final = Change(_turn, _turn)  # up-sampling as a convolution is the other's as a transposed one
ONE_LESS: Final = Change(lambda x: x + 1, lambda x: x - 1)  # the layer adds 1 itself
ONE_ROW: Final = Change(_drop, lambda x: x[None])
MAP: Final = Change(lambda x: _drop(_drop(x)), lambda x: x[None, None])
COLUMN: Final = Change(lambda x: x.flatten(), lambda x: x.view(1, -1, 1, 1))


Pairs: TypeAlias = Mapping[str, tuple[str, Change] | str]
"""Endings of names here and there; what changes on the way, if anything does."""


class Renaming(NamedTuple):
    """One tensor: its name in zinv, its name in the format, how one becomes the other."""

    ours: str
    theirs: str
    change: Change = SAME


def rename(pairs: Pairs, ours: str, theirs: str) -> Iterator[Renaming]:
    """The tensors of one layer, whose names begin with `ours` here and `theirs` there."""
    for end, pair in pairs.items():
        other, change = (pair, SAME) if isinstance(pair, str) else pair
        yield Renaming(f"{ours}.{end}", f"{theirs}.{other}", change)


def read_all(renamings: Iterable[Renaming], tensors: Tensors) -> dict[str, Tensor]:
    """Tensors under zinv's names, each taken out of those of the file.

    Raises:
        CheckpointError: one is missing, or has other axes; named as in the file.
    """
    return {ours: _read(theirs, change, tensors.take(theirs)) for ours, theirs, change in renamings}


def _read(name: str, change: Change, tensor: Tensor) -> Tensor:
    try:
        return change.read(tensor).contiguous()
    except (RuntimeError, IndexError):
        raise CheckpointError(f"{name}: shape {tuple(tensor.shape)} does not fit the architecture") from None


def write_all(renamings: Iterable[Renaming], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the format's names."""
    return {theirs: change.write(tensors[ours]).contiguous() for ours, theirs, change in renamings}
