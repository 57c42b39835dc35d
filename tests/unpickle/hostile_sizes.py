"""Hostile checkpoints that declare, share or nest more than they have, and archives with tricks."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

from tests.unpickle.assembler import (
    Case,
    archive,
    array,
    glob,
    persistent_id,
    pickled,
    storage,
    tensor,
    text,
)
from tests.unpickle.samples import dumps, saved, tensors


def cases() -> Iterator[Case]:
    """The part of the corpus that is about sizes and archives."""
    yield from _sizes()
    yield from _shapes()
    yield from _explosions()
    yield from _archives()


def _sizes() -> Iterator[Case]:
    for size in (2**63, 2**64 - 1, 2**40, 2**31, 1000):
        for code, width in ((b"\x8d", 8), (b"\x8e", 8), (b"\x96", 8), (b"X", 4), (b"B", 4), (b"T", 4)):
            if size < 256**width:
                content = pickled(code + size.to_bytes(width, "little") + b"abc")
                yield Case("declared length", f"{code!r} {size}", content, r"it is [\d,]+ bytes long, but 4 are left")
        content = pickled(b"\x95" + size.to_bytes(8, "little") + b"N")
        yield Case("declared length", f"FRAME {size}", content, r"a frame of [\d,]+ bytes, but 2 are left")
    for size in (2**31 - 1, 2**32 - 1, 256):
        content = pickled(b"\x8b" + size.to_bytes(4, "little") + b"abc")
        yield Case("declared length", f"LONG4 {size}", content, r"a whole number of [\d,]+ bytes")
    yield Case("declared length", "LONG1 255", pickled(b"\x8a\xffabc"), "it is 255 bytes long, but 4 are left")
    yield Case("declared length", "INT of 10^6 digits", b"I" + b"9" * 10**6 + b"\n.", "a line of 1,000,000 bytes")
    yield Case("declared length", "INT of 1000 digits", b"I" + b"9" * 1000 + b"\n.", "is not a whole number")
    yield Case("declared length", "a line without end", b"S'" + b"a" * 10**6, "a line that does not end")
    yield Case("declared length", "LONG_BINPUT 2^32 - 1", pickled(b"Nr\xff\xff\xff\xff"), None)
    yield Case("declared length", "PUT 10^500", b"Np1" + b"0" * 500 + b"\n.", None)
    yield Case("declared length", "GET of nothing", b"g7\n.", "the memo has no entry 7")
    yield Case("declared length", "protocol 255", b"\x80\xff.", "protocol 255; 0 to 5 are known")


def _shapes() -> Iterator[Case]:
    wrong = {
        "beyond the storage": (0, (3,), (1,)),
        "an offset beyond": (1, (2,), (1,)),
        "an offset far beyond": (2**39, (1,), (1,)),
        "a stride beyond": (0, (2,), (2,)),
        "2^39 by 2^39": (0, (2**39, 2**39), (0, 0)),
        "2^41": (0, (2**41,), (0,)),
        "2^100": (0, (2**100,), (1,)),
        "nothing by 2^40 by 2^40": (0, (0, 2**40, 2**40), (1, 1, 1)),
        "a negative side": (0, (-1,), (1,)),
        "a negative stride": (1, (2,), (-1,)),
        "a negative offset": (-1, (1,), (1,)),
        "a float": (0, (2.0,), (1,)),
        "a truth": (0, (True,), (1,)),
        "text": (0, "ab", (1,)),
        "17 sides": (0, (1,) * 17, (1,) * 17),
        "more strides than sides": (0, (2,), (1, 1)),
        "2^33 by stride 0": (0, (2**33,), (0,)),
        "a million by stride 0": (0, (1_000_000,), (0,)),
    }  # fmt: skip
    for name, (offset, shape, stride) in wrong.items():
        content = pickled(tensor(storage(), offset, shape, stride))
        yield Case("declared shape", f"a tensor of {name}", content, "a tensor|tensors that claim")
    for name, shape in {
        "more than its bytes": (3,),
        "2^40": (2**40,),
        "2^40 by 2^40": (2**40, 2**40),
        "negative": (-2,),
        "a float": (2.0,),
    }.items():
        yield Case("declared shape", f"an array of {name}", pickled(array(shape)), "for an array of shape|a tensor")
    many = b"(" + tensor(storage(), 0, (100_000,), (0,)) + b"q\xc8" + b"h\xc8" * 10_000 + b"t"
    yield Case("declared shape", "10,000 times the same view", pickled(many), "tensors that claim")


def _explosions() -> Iterator[Case]:
    doubles = {
        "lists of two lists": b"](h%ch%ce",
        "tuples of two tuples": b"h%ch%c\x86",
        "dicts of two dicts": b"}(K\x00h%cK\x01h%cu",
        "namespaces of two": glob("argparse.Namespace") + b")\x81}(" + text("a") + b"h%c" + text("b") + b"h%cub",
    }
    for name, body in doubles.items():
        rounds = b"".join(body % (i, i) + b"\x940" for i in range(40))
        content = pickled(b"]\x940" + rounds + b"h\x28")
        yield Case("explosion", f"{name}, 40 times", content, "that make more than 500,000 values")
    yield Case("explosion", "DUP, 60 times", pickled(b"N" + b"2\x86" * 60), "that make more than 500,000 values")
    yield Case("explosion", "a list in itself", pickled(b"]\x94h\x00a"), "a list that contains itself")
    yield Case("explosion", "a dict in itself", pickled(b"}\x94K\x01h\x00s"), "a dict that contains itself")
    yield Case("explosion", "a tuple in its list", pickled(b"]\x94h\x00\x85a"), "a list that contains itself")
    own = glob("argparse.Namespace") + b")\x81\x94}" + text("a") + b"h\x00sb"
    yield Case("explosion", "a namespace in itself", pickled(own), "a stub that contains itself")
    for num in (101, 10_000, 100_000):
        yield Case("explosion", f"{num} lists in lists", pickled(b"]" * num + b"a" * (num - 1)), "more than 100 deep")
        yield Case("explosion", f"{num} tuples in tuples", pickled(b")" + b"\x85" * num), "more than 100 deep")
    yield Case("explosion", "a million opcodes", pickled(b"N0" * 500_000 + b"N"), "more than 250,000 opcodes")
    yield Case("explosion", "a million marks", pickled(b"(" * 1_000_000), "more than 250,000 opcodes")
    yield Case("explosion", "a million sets", pickled(b"(" + b"\x8f" * 1_000_000 + b"t"), "more than 250,000 opcodes")
    yield Case("explosion", "a million memos", pickled(b"N" + b"\x94" * 1_000_000), "more than 250,000 opcodes")
    copies = b"(" + b"N" * 10_000 + b"t\x94" + (glob("torch.Size") + b"h\x00\x85R0") * 10_000 + b"N"
    yield Case("explosion", "10,000 copies of 10,000 items", pickled(copies), "more than 250,000 opcodes")
    encode = text("a" * 60_000) + b"\x94" + glob("_codecs.encode") + b"\x94" + text("latin1") + b"\x940"
    encode = encode + b"(" + b"h\x01h\x00h\x02\x86R" * 20_000 + b"t"
    yield Case("explosion", "20,000 times 60,000 bytes", pickled(encode), "more memory than a file of")
    wide = b"(" + (text("\U0001f600" * 16_000)) * 100 + b"t"
    yield Case("explosion", "wide text", pickled(wide), None)
    content = b"B" + struct.pack("<I", 60_000) + bytes(60_000) + b"q\xc80"
    content += glob("numpy.dtype") + dumps(("u1", False, True), 2)[2:-1] + b"Rq\xc90"
    content += glob("numpy.core.numeric._frombuffer") + b"q\xca0"
    one = b"h\xca(h\xc8h\xc9" + dumps((60_000,), 1)[:-1] + text("C") + b"tR"
    yield Case(
        "explosion", "the same bytes as 5,000 arrays", pickled(content + b"(" + one * 5_000 + b"t"), "that claim"
    )
    yield Case("explosion", "the same bytes as 30 arrays", pickled(content + b"(" + one * 30 + b"t"), "that claim")
    storages = b"(" + (storage(15_000, bytes(60_000)) + b"0") * 3 + b"N" * 5 + b"t"
    yield Case("explosion", "storages that nothing uses", pickled(storages), None)


def _archives() -> Iterator[Case]:
    good = saved(tensors())
    pkl = pickled(tensor(persistent_id("storage", "!torch.FloatStorage", "0", "cpu", 2)))
    two = {"a/data.pkl": pkl, "a/data/0": b"\0" * 8}
    plain = archive(two)
    yield Case(
        "archive", "a bomb of a storage", archive({**two, "a/data/0": bytes(10**7)}, zipfile.ZIP_DEFLATED), "compr"
    )
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield Case("archive", f"compressed by method {method}", archive(two, method), "is compressed or encrypted")
    yield Case("archive", "encrypted", _patched(plain, b"PK\1\2", 8, b"\x01\x08"), "is compressed or encrypted")
    yield Case("archive", "sizes that differ", _patched(plain, b"PK\1\2", 24, b"\xff\xff\xff\x7f"), "is compressed or")
    yield Case(
        "archive", "a size beyond the file", _patched(plain, b"PK\1\2", 20, b"\xff\xff\xff\x7f" * 2), "are wanted"
    )
    yield Case(
        "archive", "a start beyond the file", _patched(plain, b"PK\1\2", 42, b"\xff\xff\xff\x7f"), "are wanted of"
    )
    yield Case("archive", "a start elsewhere", _patched(plain, b"PK\1\2", 42, b"\x04\0\0\0"), "where the archive's dir")
    yield Case("archive", "a name that differs", _patched(plain, b"PK\3\4", 30, b"b"), "is not where the archive's dir")
    yield Case(
        "archive", "a header that is none", _patched(plain, b"PK\3\4", 3, b"\5", 1), "is not where the archive's"
    )
    yield Case("archive", "an entry that is none", _patched(plain, b"PK\1\2", 3, b"\5", 1), "directory is damaged")
    yield Case("archive", "a member twice", archive([*two.items(), *two.items()]), "member 'a/data.pkl' is there twice")
    yield Case("archive", "two names, one place", _overlapping(two), "members of the archive overlap")
    for name in ("/etc/passwd", "../a/data/0", "a/../../b", "C:\\a", "a\\..\\b", "C:a"):
        yield Case("archive", f"a member named {name}", archive({**two, name: b"x"}), "a path to elsewhere")
    yield Case("archive", "two pickles", archive({**two, "b/data.pkl": pkl}), "a zip archive with 2 data.pkl")
    yield Case("archive", "no pickle", archive({"a/data/0": b"\0" * 8}), "a zip archive with 0 data.pkl")
    yield Case("archive", "no member", b"PK\3\4" + archive({}), "does not fit it")
    yield Case("archive", "a wheel", archive({"zinv/__init__.py": b"import os"}), "a zip archive with 0 data.pkl")
    yield Case(
        "archive", "TorchScript", archive({**two, "a/constants.pkl": pkl}), "a TorchScript archive, which holds code"
    )
    yield Case("archive", "no storage", archive({"a/data.pkl": pkl}), "the storage 'a/data/0' is not in the archive")
    yield Case("archive", "a short storage", archive({**two, "a/data/0": b"\0" * 7}), "has 7 bytes, not 8")
    yield Case("archive", "big numbers first", archive({**two, "a/byteorder": b"big"}), "in another byte order")
    yield Case("archive", "a long byte order", archive({**two, "a/byteorder": b"little" * 9}), "in another byte order")
    yield Case("archive", "something in front", b"\x80\x02N." + plain, "bytes after its end")
    yield Case("archive", "something behind", plain + b"\x80\x02N.", "without its end")
    yield Case("archive", "a comment", plain[:-2] + b"\2\0hi", "without its end")
    yield Case(
        "archive", "a pickle behind the pickle", archive({**two, "a/data.pkl": pkl + pkl}), "bytes after its end"
    )
    yield Case("archive", "two disks", _patched(plain, b"PK\5\6", 4, b"\1\0"), "does not fit it")
    yield Case(
        "archive", "60,000 members", _patched(plain, b"PK\5\6", 8, b"\x60\xea\x60\xea"), "an archive of 60,000 mem"
    )
    yield Case("archive", "one member more", _patched(plain, b"PK\5\6", 8, b"\3\0\3\0"), "bytes long, but 0 are left")
    yield Case("archive", "one member less", _patched(plain, b"PK\5\6", 8, b"\1\0\1\0"), "after the last entry")
    yield Case("archive", "a directory of 4 GiB", _patched(plain, b"PK\5\6", 12, b"\xff" * 8), "does not fit it")
    at = good.index(b"_rebuild_tensor_v2")
    yield Case("archive", "the pickle changed", good[:at] + b"x" + good[at + 1 :], "not those that were written")
    yield Case("archive", "a storage changed", _changed(plain, b"\0" * 8), "not those that were writ")
    yield Case("archive", "only a header", b"PK\3\4", "without its end")
    yield Case("archive", "only an end", archive({}), "an empty zip archive")


def _patched(content: bytes, mark: bytes, at: int, value: bytes, length: int | None = None) -> bytes:
    """Other bytes in the last record with this mark."""
    start = content.rindex(mark) + at
    return content[:start] + value + content[start + (len(value) if length is None else length) :]


def _overlapping(members: dict[str, bytes]) -> bytes:
    """An archive whose directory gives the first member bytes of the second."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
        first = made.infolist()[0]
        first.file_size = first.compress_size = first.file_size + 9
    return file.getvalue()


def _changed(content: bytes, part: bytes) -> bytes:
    """Another first byte of a part that stands behind the first member's name."""
    at = content.index(part, content.index(b"data/0"))
    return content[:at] + b"x" + content[at + 1 :]
