"""What metrics saw of pictures that are compared more than once, and how much of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import ref

from torch import Tensor

from zinv.metrics.base import Embedding

Key: TypeAlias = tuple[str, str, str]
"""A metric's column, and how the picture was rounded and resized before."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture `(1, 3, R, R)` that is compared more than once, and what metrics saw of it: each looks once.

    With a shelf what was forgotten there is looked at again.
    """

    pixels: Tensor
    shelf: Shelf | None = None
    embeddings: dict[Key, Embedding] = field(default_factory=dict)

    def embedding(self, key: Key, make: Callable[[Tensor], Embedding]) -> Embedding:
        """What a metric sees of the picture, made if it is not there."""
        if key not in self.embeddings:
            self.embeddings[key] = make(self.pixels)
        found = self.embeddings[key]
        if self.shelf:
            self.shelf.used(self, key)
        return found


class Shelf:
    """Keeps what metrics saw of several pictures within a number of bytes.

    What was used longest ago is forgotten first, and the last used is always kept. What it saw of a picture ends with
    the picture.

    Args:
        limit: bytes of all embeddings together.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._places: dict[tuple[ref[Seen], Key], int] = {}  # bytes, by last use

    @property
    def num_bytes(self) -> int:
        """Bytes of what is kept."""
        return sum(size for (seen, _), size in self._places.items() if seen())

    def used(self, seen: Seen, key: Key) -> None:
        """Note that an embedding was made or used, and forget others if there are too many."""
        self._places = {place: size for place, size in self._places.items() if place[0]() and place != (ref(seen), key)}
        self._places[ref(seen), key] = sum(tensor.nbytes for tensor in seen.embeddings[key])
        while len(self._places) > 1 and self.num_bytes > self.limit:
            oldest, forgotten = next(iter(self._places))
            del self._places[oldest, forgotten]
            if picture := oldest():
                del picture.embeddings[forgotten]
