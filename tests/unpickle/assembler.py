"""Parts of pickles and archives, to make files that no library writes."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from typing import NamedTuple

import torch

from tests.unpickle.samples import dumps, saved

COMMAND = "touch canary"
MODULE = "zinv_canary"  # a module that makes the canary when it is imported


class Case(NamedTuple):
    """A hostile file.

    Attributes:
        kind: what it tries.
        name: how.
        content: its bytes.
        message: what the error must say, as a regular expression; None where plain data may come out.
    """

    kind: str
    name: str
    content: bytes
    message: str | None


def glob(name: str) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def pickled(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def pickles_of(stream: bytes) -> list[bytes]:
    """The five pickles of a torch stream, and the storages."""
    file, ends = io.BytesIO(stream), [0]
    for _ in range(5):
        unpickler = pickle._Unpickler(file)  # type: ignore[attr-defined]
        unpickler.persistent_load = lambda key: key
        unpickler.find_class = lambda module, name: name
        unpickler.dispatch = {**unpickler.dispatch, ord("R"): lambda self: self.stack.pop()}
        unpickler.load()
        ends.append(file.tell())
    return [stream[a:b] for a, b in zip(ends, [*ends[1:], len(stream)], strict=True)]


def nested(content: bytes) -> bytes:
    body = glob("torch.storage._load_from_bytes") + b"B" + struct.pack("<I", len(content)) + content + b"\x85R"
    return pickled(body)


def archive(members: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items() if isinstance(members, dict) else members:
            made.writestr(name, content)
    return file.getvalue()


def persistent_id(*key: object) -> bytes:
    """A pickle with one persistent id, whose second entry may be the name of a storage type."""
    parts = [glob(part[1:]) if isinstance(part, str) and part.startswith("!") else dumps(part, 2)[2:-1] for part in key]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(storage: bytes, offset: int = 0, shape: object = (2,), stride: object = (1,)) -> bytes:
    rest = b"".join(dumps(value, 1)[:-1] for value in (offset, shape, stride, False, None))
    return glob("torch._utils._rebuild_tensor_v2") + b"(" + storage + rest + b"tR"


def storage(num: int = 2, content: bytes = b"\0" * 8, kind: str = "!torch.FloatStorage", key: str = "0") -> bytes:
    """A storage that torch has wrapped into bytes."""
    parts = pickles_of(saved(torch.arange(2.0), archive=False))
    inner = [*parts[:3], pickled(persistent_id("storage", kind, key, "cpu", num, None)), dumps(["0"], 2)]
    wrapped = b"".join(inner) + struct.pack("<Q", num) + content
    return nested(wrapped)[2:-1]


def array(
    shape: object = (2,), content: object = b"\0" * 8, dtype: str = "f4", order: str = "<", fields: object = None
) -> bytes:
    made = (
        glob("numpy.core.multiarray._reconstruct") + glob("numpy.ndarray") + dumps((0,), 2)[2:-1] + dumps(b"b", 3)[2:-1]
    )
    kind = glob("numpy.dtype") + dumps((dtype, False, True), 2)[2:-1] + b"R"
    kind += dumps((3, order, fields, fields, fields, -1, -1, 0), 2)[2:-1] + b"b"
    state = dumps(1, 2)[2:-1] + dumps(shape, 2)[2:-1] + kind + b"\x89" + dumps(content, 3)[2:-1]
    return made + b"\x87R(" + state + b"tb"
