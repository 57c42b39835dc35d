"""Mutations of checkpoint files: random ones of bytes, and ones that know opcodes, nested storages and zip archives."""

from __future__ import annotations

import io
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63, 2**64 - 1)
HOSTILE = (
    *(b"cos\nsystem\nX\x04\0\0\0true\x85R", b"cbuiltins\neval\nX\x01\0\0\x001\x85R", b"(X\x04\0\0\0trueios\nsystem\n"),
    *(
        b"\x8c\x05posix\x8c\x06system\x93",
        b"\x82\x01",
        b"\x97",
        b"(",
        b"1",
        b"0",
        b"2",
        b"}",
        b"]",
        b")",
        b"N",
        b"\x8f",
    ),
    *(b"R", b"b", b"\x81", b"\x92", b"o", b"s", b"u", b"a", b"e", b"\x90", b"\x93", b"Q", b"t", b"\x86", b"\x94", b"."),
    *(b"h\x00", b"h\x01", b"q\x00", b"j\xff\xff\xff\xff", b"K\xff", b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 9),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch.storage\n_load_from_bytes\n", b"c_codecs\nencode\n"),
    *(b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n"),
    *(b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"cdnnlib.tflib.network\nNetwork\n"),
    *(b"ccopyreg\n_reconstructor\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"\x8b\xff\xff\xff\x7f"),
)


# Random


def bits(content: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 32))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def random_bytes(content: bytes, rng: random.Random, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 2, 16))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def numbers(content: bytes, rng: random.Random, other: bytes) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    value = rng.choice([value for value in EXTREMES if value < 256**width])
    at = rng.randrange(len(content))
    return content[:at] + value.to_bytes(width, "little") + content[at + width :]


def cut(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def removed(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _slice(content, rng)
    return content[:start] + content[end:]


def repeated(content: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _slice(content, rng)
    at = rng.randrange(len(content))
    return content[:at] + content[start:end] + content[at:]


def spliced(content: bytes, rng: random.Random, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


def _slice(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, start + rng.choice((1, 2, 4, 16, 256, 4096))


# Opcodes

Tokens = list[bytes]
Edit = Callable[[Tokens, random.Random, bytes], None]


@lru_cache(maxsize=512)
def tokens(content: bytes) -> tuple[bytes, ...]:
    """The opcodes of a file's pickles with their arguments, and what follows them as one piece."""
    found, start = [], 0
    try:
        while True:
            places = [place for _, _, place in pickletools.genops(content[start:])]
            ends = [*places[1:], places[-1] + 1]
            found += [content[start + a : start + b] for a, b in zip(places, ends, strict=True)]
            start += ends[-1]
    except (ValueError, UnicodeError, IndexError, OverflowError):
        return (*found, content[start:])


def opcodes(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to four opcodes removed, repeated, swapped, made extreme, hostile or of another file."""
    return _edited(content, rng, other, (_drop, _repeat, _swap, _extreme, _extreme, _hostile, _hostile, _graft))


def names(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """One to four names, or numbers below 256, that stand elsewhere in the file: a pickle as sound as before."""
    return _edited(content, rng, other, (_rename, _rename, _renumber))


def _edited(content: bytes, rng: random.Random, other: bytes, edits: Sequence[Edit]) -> bytes:
    changed = list(tokens(content))
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(edits)(changed, rng, other)
    return b"".join(changed)


def _rename(changed: Tokens, rng: random.Random, other: bytes) -> None:
    _exchange(changed, rng, b"X\x8c")


def _renumber(changed: Tokens, rng: random.Random, other: bytes) -> None:
    _exchange(changed, rng, b"K")


def _exchange(changed: Tokens, rng: random.Random, codes: bytes) -> None:
    places = [i for i, token in enumerate(changed) if token[:1] in codes]
    if places:
        changed[rng.choice(places)] = changed[rng.choice(places)]


def _drop(changed: Tokens, rng: random.Random, other: bytes) -> None:
    if changed:
        del changed[rng.randrange(len(changed))]


def _repeat(changed: Tokens, rng: random.Random, other: bytes) -> None:
    if changed:
        at = rng.randrange(len(changed))
        changed[at:at] = changed[at : at + rng.choice((1, 1, 3, 10))] * rng.choice((1, 1, 2, 1000))


def _swap(changed: Tokens, rng: random.Random, other: bytes) -> None:
    if changed:
        a, b = rng.randrange(len(changed)), rng.randrange(len(changed))
        changed[a], changed[b] = changed[b], changed[a]


def _extreme(changed: Tokens, rng: random.Random, other: bytes) -> None:
    """Another argument of an opcode that has one: an extreme number, or other text."""
    with_argument = [i for i, token in enumerate(changed) if len(token) > 1]
    if with_argument:
        at = rng.choice(with_argument)
        token = changed[at]
        width = min(rng.choice((1, 2, 4, 8)), len(token) - 1)
        value = rng.choice([value for value in EXTREMES if value < 256**width])
        changed[at] = token[:1] + value.to_bytes(width, "little") + token[1 + width :]


def _hostile(changed: Tokens, rng: random.Random, other: bytes) -> None:
    at = rng.randrange(len(changed) + 1)
    changed[at:at] = [rng.choice(HOSTILE) * rng.choice((1, 1, 1, 2, 200))]


def _graft(changed: Tokens, rng: random.Random, other: bytes) -> None:
    theirs = tokens(other)
    start, at = rng.randrange(len(theirs)), rng.randrange(len(changed) + 1)
    changed[at:at] = theirs[start : start + rng.choice((1, 5, 50))]


def nested(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """A storage inside a pickle with other opcodes or bytes, its length set right."""
    changed = list(tokens(content))
    wrapped = [i for i, token in enumerate(changed) if token[:1] in b"BC" and MAGIC in token]
    if wrapped:
        at = rng.choice(wrapped)
        inner = changed[at][5 if changed[at][:1] == b"B" else 2 :]
        inner = rng.choice((opcodes, opcodes, bits, numbers, cut, repeated))(inner, rng, other)
        changed[at] = b"B" + struct.pack("<I", len(inner)) + inner
    return b"".join(changed)


# Archives


def in_archive(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """An archive whose pickle has other opcodes; checksums are right."""
    return _rewritten(content, lambda pickled: opcodes(pickled, rng, other))


def names_in_archive(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """An archive whose pickle has other names; checksums are right."""
    return _rewritten(content, lambda pickled: names(pickled, rng, other))


def members(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """An archive with a member dropped, repeated, renamed, resized or compressed."""
    found = _members(content)
    at = rng.randrange(len(found))
    name, member = found[at]
    found[at : at + 1] = rng.choice(
        (
            [],
            [found[at]] * 2,
            [(rng.choice(found)[0], member)],
            [(rng.choice(("../", "/", "a/", "C:")) + name, member)],
            [(name, member[: rng.randrange(len(member) + 1)])],
            [(name, member + b"\0" * rng.choice((1, 4, 1 << 16)))],
            [(name, rng.choice(found)[1])],
        )
    )
    return _zipped(found, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


def directory(content: bytes, rng: random.Random, other: bytes) -> bytes:
    """An extreme number in one of the archive's own records."""
    mark = rng.choice((b"PK\1\2", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6"))
    places = [i for i in range(len(content)) if content.startswith(mark, i)]
    at = (rng.choice(places) if places else 0) + rng.randrange(4, 46)
    width = rng.choice((1, 2, 4))
    value = rng.choice([value for value in EXTREMES if value < 256**width])
    return content[:at] + value.to_bytes(width, "little") + content[at + width :]


def _rewritten(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    found = _members(content)
    return _zipped([(name, change(member) if name.endswith(".pkl") else member) for name, member in found])


@lru_cache(maxsize=64)
def _unzipped(content: bytes) -> tuple[tuple[str, bytes], ...]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return tuple((name, archive.read(name)) for name in archive.namelist())


def _members(content: bytes) -> list[tuple[str, bytes]]:
    return list(_unzipped(content))


def _zipped(content: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, member in content:
            archive.writestr(name, member)
    return file.getvalue()


Mutation = Callable[[bytes, random.Random, bytes], bytes]

RANDOM: dict[str, Mutation] = {
    "bits": bits,
    "bytes": random_bytes,
    "numbers": numbers,
    "cut": cut,
    "removed": removed,
    "repeated": repeated,
    "spliced": spliced,
}
PICKLED: dict[str, Mutation] = {"opcodes": opcodes, "names": names, "nested storages": nested}
ZIPPED: dict[str, Mutation] = {
    "opcodes in an archive": in_archive,
    "names in an archive": names_in_archive,
    "members": members,
    "directory": directory,
}


def choose(content: bytes, rng: random.Random) -> tuple[str, Mutation]:
    """A mutation that fits a file, by name: as often one that knows the file as one that does not."""
    aware = ZIPPED if content.startswith(b"PK") else PICKLED
    name, mutation = rng.choice(list(rng.choice((RANDOM, aware)).items()))
    return name, mutation
