"""A file read piece by piece, and the budget that keeps what it asks for below what its size explains."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from zinv.errors import CheckpointError

OPCODES: Final = 250_000
"""A generator, its average, a discriminator and their optimisers at 1024 pixels take below 100,000."""

ALLOWANCE: Final = 16 << 20
WINDOW: Final = 16 << 10
LONGEST_SHOWN: Final = 80
CHUNK: Final = 1 << 20


def shown(text: str | bytes) -> str:
    """A name of the file as one short line of printable ASCII."""
    line = ascii(text[:LONGEST_SHOWN])
    return line if len(text) <= LONGEST_SHOWN else f"{line}..."


class Budget:
    """What one file may still cost: opcodes, and bytes of memory, 1.5 times its size and 16 MiB."""

    def __init__(self, size: int):
        self.size = size
        self.opcodes = OPCODES
        self.bytes = size + size // 2 + ALLOWANCE

    def work(self, num: int = 1) -> None:
        """Take opcodes, or copies of items by them.

        Raises:
            CheckpointError: none are left.
        """
        self.opcodes -= num
        if self.opcodes < 0:
            raise CheckpointError(f"more than {OPCODES:,} opcodes, several times what a checkpoint has")

    def spend(self, num: int) -> None:
        """Take bytes of memory, before they are allocated.

        Raises:
            CheckpointError: none are left.
        """
        self.bytes -= num
        if self.bytes < 0:
            raise CheckpointError(f"it asks for more memory than a file of {self.size:,} bytes explains")


class Source:
    """Bytes of known number.

    Attributes:
        fill: reads from a start into all of a view.
        size: how many bytes there are.
        budget: what reading them may cost.
    """

    def __init__(self, fill: Callable[[int, memoryview], None], size: int, budget: Budget):
        self.fill, self.size, self.budget = fill, size, budget

    def all(self) -> Span:
        """The whole of it."""
        return Span(self, 0, self.size)


def file_source(file: io.FileIO) -> Source:
    """A file that is open for reading, with a budget of its own."""

    def fill(start: int, view: memoryview) -> None:
        file.seek(start)
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise CheckpointError(f"the file ended at byte {start + done} while it was read")
            done += count

    size = os.fstat(file.fileno()).st_size
    return Source(fill, size, Budget(size))


def memory_source(content: bytes | bytearray, budget: Budget) -> Source:
    """Bytes that were decoded from text."""

    def fill(start: int, view: memoryview) -> None:
        view[:] = memoryview(content)[start : start + len(view)]

    return Source(fill, len(content), budget)


@dataclass(frozen=True, eq=False)
class Span:
    """A piece of a source, which costs no memory until it is read."""

    source: Source
    start: int
    length: int

    def read(self) -> bytes:
        """Its bytes, paid for."""
        self.source.budget.spend(self.length)
        return self.peek()

    def peek(self, start: int = 0, length: int | None = None) -> bytes:
        """Bytes for a moment only; the caller keeps them short."""
        content = bytearray(self.length - start if length is None else length)
        self.source.fill(self.start + start, memoryview(content))
        return bytes(content)

    def part(self, start: int, length: int) -> Span:
        """A piece of this piece.

        Raises:
            CheckpointError: it is not inside.
        """
        if start < 0 or length < 0 or start + length > self.length:
            raise CheckpointError(f"bytes {start} to {start + length} are wanted of {self.length}")
        return Span(self.source, self.start + start, length)

    def chunks(self) -> Iterator[bytes]:
        """All of it, a mebibyte at a time."""
        for start in range(0, self.length, CHUNK):
            yield self.peek(start, min(CHUNK, self.length - start))

    def crc32(self) -> int:
        """Its CRC-32."""
        crc = 0
        for chunk in self.chunks():
            crc = zlib.crc32(chunk, crc)
        return crc


def check(span: Span, crc: int, written: int) -> None:
    """Compare the CRC-32 of a piece with the one that was written; one of 0 was not computed.

    Raises:
        CheckpointError: they differ.
    """
    if written not in (0, crc):
        raise CheckpointError(f"byte {span.start}: {span.length:,} bytes are not those that were written (CRC-32)")


class Cursor:
    """Reads a span from its start to its end; what is skipped is never read."""

    def __init__(self, span: Span):
        self.span = span
        self.position = 0
        self._window, self._from = b"", 0

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return self.span.length - self.position

    def take(self, num: int) -> bytes:
        """The next few bytes.

        Raises:
            CheckpointError: there are fewer.
        """
        self._require(num)
        start = self.position - self._from
        if start < 0 or start + num > len(self._window):
            self._window = self.span.peek(self.position, min(self.left, max(num, WINDOW)))
            self._from, start = self.position, 0
        self.position += num
        return self._window[start : start + num]

    def number(self, num: int) -> int:
        """The next `num` bytes as an unsigned little-endian number."""
        return int.from_bytes(self.take(num), "little")

    def skip(self, num: int) -> Span:
        """The next bytes, unread.

        Raises:
            CheckpointError: there are fewer.
        """
        self._require(num)
        self.position += num
        return self.span.part(self.position - num, num)

    def line(self) -> Span:
        """The bytes up to the next line feed, unread, without it.

        Raises:
            CheckpointError: there is none.
        """
        start = self.position
        while self.left:
            self.take(1)
            at = self._window.find(b"\n", self.position - 1 - self._from)
            self.position = self._from + (at + 1 if at >= 0 else len(self._window))
            if at >= 0:
                return self.span.part(start, self.position - 1 - start)
        raise CheckpointError("a line that does not end")

    def _require(self, num: int) -> None:
        if num > self.left:
            raise CheckpointError(f"it is {num:,} bytes long, but {self.left:,} are left")
