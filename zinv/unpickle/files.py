"""Which kind of pickled file it is, and what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from zinv.errors import CheckpointError
from zinv.unpickle.archive import read_archive
from zinv.unpickle.records import Plain
from zinv.unpickle.source import Span, file_source
from zinv.unpickle.streams import read_stream
from zinv.unpickle.tree import Tree

OTHERS: Final = {
    b"PK\5\6": "an empty zip archive",
    b"\x93NUMPY": "a numpy array (.npy)",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a pointer of git-lfs, as a checkout without git-lfs leaves it",
}


def load(
    path: str | Path,
    classes: Collection[tuple[str, str]] = (),
    select: Callable[[Plain], Plain] | None = None,
) -> Plain:
    """A checkpoint as dicts, lists, tuples, numbers, text, bytes, CPU tensors and, of `classes` alone, stubs.

    The kind is found in the content: torch's zip archives and its older streams, and pickles of protocol 0 to 5 with
    torch storages or numpy arrays in them. `OrderedDict`, `EasyDict` and the like are dicts, `torch.Size` is a tuple,
    sets are lists, numpy arrays are tensors and numpy scalars are numbers, dtypes and devices are text. Tensors own
    their memory, are contiguous or not as in the file, and share it where the file shares it.

    Args:
        path: the file.
        classes: (module, name) of the classes whose instances the caller understands; a name of "*" takes the whole
            module. NVIDIA's persistent classes are (PERSISTENT, class_name). Any other class is refused by name.
        select: picks what is wanted of the tree, say `lambda tree: tree["G_ema"]`. It is given the whole tree with
            tensors on the meta device (shapes and dtypes, no data); only what it returns is read from the disk.

    Raises:
        CheckpointError: what was found and where: another kind of file, a damaged one, a global that is not on the
            list, a class that is not in `classes`, or more than a file of its size may ask for.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: it is not a file.")
    try:
        with open(path, "rb", buffering=0) as file:
            source = file_source(file)
            tree = Tree(_read(source.all(), classes), source.budget)
            return tree.fill(select(tree.plain) if select else tree.plain)
    except OSError as error:
        raise CheckpointError(f"{path}: it cannot be read ({error.strerror}).") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}.") from None


def _read(span: Span, classes: Collection[tuple[str, str]]) -> object:
    head = span.peek(0, min(span.length, 512))
    if head.startswith(b"PK\3\4"):
        return read_archive(span, classes)
    if (other := _other(head)) is not None:
        raise CheckpointError(f"{other}, which is not a pickled checkpoint")
    try:
        return read_stream(span, classes)
    except CheckpointError as error:
        if head.isascii() and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head):
            raise CheckpointError(f"a text file; as a pickle of protocol 0: {error}") from None
        raise


def _other(head: bytes) -> str | None:
    """What a file is that holds no pickle, from its first bytes."""
    if not head.strip(b"\0"):
        return "an empty file"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file"
    if head[257:262] == b"ustar":
        return "a tar archive, as torch wrote before any StyleGAN was published"
    if head.lstrip()[:1] == b"<":
        return "a web page, as a failed download leaves it"
    return next((name for start, name in OTHERS.items() if head.startswith(start)), None)
