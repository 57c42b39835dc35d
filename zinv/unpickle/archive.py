"""torch's zip archives: members stored as they are, each its own piece of the file."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from zinv.errors import CheckpointError
from zinv.unpickle.allowed import Rules
from zinv.unpickle.machine import Machine
from zinv.unpickle.opcodes import run
from zinv.unpickle.records import Storage
from zinv.unpickle.source import Cursor, Span, check, shown
from zinv.unpickle.streams import storage_of

HEADER: Final = struct.Struct("<4s5H3I2H")
ENTRY: Final = struct.Struct("<4s6H3I5H2I")
END: Final = struct.Struct("<4s4H2IH")
ZIP64: Final = 56 + 20
MOST_MEMBERS: Final = 20_000
ENCRYPTED: Final = 0x2041


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Attributes:
        span: its bytes.
        crc: the CRC-32 that they must have; 0 where the writer left it out.
        packed: whether they are compressed or encrypted, which torch never does.
    """

    span: Span
    crc: int
    packed: bool


def read_archive(span: Span, classes: Collection[tuple[str, str]]) -> object:
    """What the pickle of a torch archive holds; storages are found, and not yet read.

    Raises:
        CheckpointError: member, place and what is wrong there.
    """
    found = members(span)
    folder = _folder(found)
    pickle = found[f"{folder}data.pkl"]
    check(pickle.span, pickle.span.crc32(), pickle.crc)
    machine = Machine(Cursor(pickle.span), Rules(classes, span.source.budget), _Storages(found, folder))
    try:
        content = run(machine)
        if machine.cursor.left:
            raise CheckpointError(f"{machine.cursor.left:,} bytes after its end")
    except CheckpointError as error:
        raise CheckpointError(f"member {shown(f'{folder}data.pkl')}: {error}") from None
    return content


class _Storages:
    """Storages of an archive, by persistent id."""

    def __init__(self, found: dict[str, Member], folder: str):
        self.found, self.folder = found, folder
        self.known: dict[str, Storage] = {}

    def __call__(self, key: object) -> object:
        storage = storage_of(key)
        name = f"{self.folder}data/{key[2]}"  # type: ignore[index]
        if name not in self.found:
            raise CheckpointError(f"the storage {shown(name)} is not in the archive")
        member = self.found[name]
        if member.span.length != storage.num_bytes:
            raise CheckpointError(f"{shown(name)} has {member.span.length:,} bytes, not {storage.num_bytes:,}")
        storage.payload, storage.crc = member.span, member.crc
        known = self.known.setdefault(name, storage)
        if known.dtype is not storage.dtype:
            raise CheckpointError(f"{shown(name)} with two types")
        return known


def _folder(found: dict[str, Member]) -> str:
    """The one folder in which torch keeps everything, with its slash.

    Raises:
        CheckpointError: it is an archive of another kind.
    """
    folders = [name.removesuffix("data.pkl") for name in found if name == "data.pkl" or name.endswith("/data.pkl")]
    names = [PurePosixPath(name).name for name in found]
    if "constants.pkl" in names:
        raise CheckpointError("a TorchScript archive, which holds code")
    if names and all(name.endswith(".npy") for name in names):
        raise CheckpointError("an archive of numpy arrays (.npz), not a checkpoint")
    if len(folders) != 1:
        raise CheckpointError(f"a zip archive with {len(folders)} data.pkl; one of torch has one")
    if packed := next((name for name, member in found.items() if member.packed), None):
        raise CheckpointError(f"member {shown(packed)} is compressed or encrypted; torch stores members as they are")
    order = found.get(f"{folders[0]}byteorder")
    if order and (order.span.length > 8 or order.span.peek() != b"little"):
        raise CheckpointError("its numbers are in another byte order")
    return folders[0]


def members(span: Span) -> dict[str, Member]:
    """Members of a zip archive by name; nothing is unpacked.

    Raises:
        CheckpointError: members that are twice there, overlapping, outside of the file, or named like paths.
    """
    start, size, num = _directory(span)
    cursor, found, taken = Cursor(span.part(start, size)), dict[str, Member](), list[tuple[int, int]]()
    for _ in range(num):
        name, member, begin = _entry(span, cursor)
        if name in found:
            raise CheckpointError(f"member {shown(name)} is there twice")
        found[name] = member
        taken.append((begin, member.span.start - span.start + member.span.length))
    if cursor.left:
        raise CheckpointError(f"{cursor.left} bytes after the last entry of the archive's directory")
    taken = [*sorted(taken), (start, start)]
    if any(end > begin for (_, end), (begin, _) in zip(taken, taken[1:], strict=False)):
        raise CheckpointError("members of the archive overlap")
    return found


def _directory(span: Span) -> tuple[int, int, int]:
    """Start, size and number of entries of the directory; between it and its own end only zip64's copy of it fits."""
    last = span.length - END.size
    fields = END.unpack(span.peek(last, END.size)) if last >= 0 else (b"",)
    if fields[0] != b"PK\5\6":
        raise CheckpointError("a zip archive without its end: truncated, or something was added")
    _, disk, directory_disk, num_here, num, size, start, comment = fields
    if disk or directory_disk or num != num_here or comment or last - start - size not in (0, ZIP64):
        raise CheckpointError("the end of the archive does not fit it: truncated, changed, or of 4 GiB and more")
    if num > MOST_MEMBERS:
        raise CheckpointError(f"an archive of {num:,} members")
    return start, size, num


def _entry(span: Span, cursor: Cursor) -> tuple[str, Member, int]:
    """The next member that the directory names, and where its own header begins."""
    fields = ENTRY.unpack(cursor.take(ENTRY.size))
    signature, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, _, _, _, begin = (
        fields
    )
    if signature != b"PK\1\2":
        raise CheckpointError("the archive's directory is damaged")
    name = _name(cursor.take(name_size))
    cursor.skip(extra_size + comment_size)
    header = HEADER.unpack(span.part(begin, HEADER.size).peek())
    start = begin + HEADER.size + header[-2] + header[-1]
    if header[0] != b"PK\3\4" or span.part(begin + HEADER.size, header[-2]).peek() != name.encode():
        raise CheckpointError(f"member {shown(name)} is not where the archive's directory says")
    return name, Member(span.part(start, packed), crc, bool(flags & ENCRYPTED or method or packed != size)), begin


def _name(content: bytes) -> str:
    try:
        name = content.decode()
    except UnicodeError:
        raise CheckpointError(f"a member named {shown(content)}") from None
    if not name or name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
        raise CheckpointError(f"a member named {shown(name)}, a path to elsewhere")
    return name
