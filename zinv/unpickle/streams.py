"""Plain pickles, and torch's older stream of pickles followed by storages, which also wraps single storages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from zinv.errors import CheckpointError
from zinv.unpickle.allowed import STORAGES, Rules
from zinv.unpickle.builders import kind
from zinv.unpickle.machine import Machine
from zinv.unpickle.opcodes import run
from zinv.unpickle.records import LARGEST, Global, Payload, Storage
from zinv.unpickle.source import Cursor, Span, memory_source

MAGIC: Final = 0x1950A86A20F9469CFC6C
"""The first number of a torch stream."""

VERSION: Final = 1001


def read_stream(span: Span, classes: Collection[tuple[str, str]]) -> object:
    """What a pickle or a torch stream holds, to its last byte.

    Raises:
        CheckpointError: where in it, and what.
    """

    def nested(payload: Payload) -> Storage:
        return _storage(payload, Rules(classes, span.source.budget))

    return _stream(span, Rules(classes, span.source.budget, nested))


def storage_of(key: object) -> Storage:
    """The storage that torch's persistent id `("storage", type, key, device, number)` asks for.

    Raises:
        CheckpointError: it is another kind of id.
    """
    if not isinstance(key, tuple) or not 5 <= len(key) <= 6 or key[0] != "storage" or key[5:] not in ((), (None,)):
        raise CheckpointError("a persistent id that is not that of a torch storage")
    if not isinstance(key[1], Global) or key[1] not in STORAGES or not isinstance(key[2], str):
        raise CheckpointError(f"a storage of {kind(key[1])} under {kind(key[2])}")
    if type(key[4]) is not int or not 0 <= key[4] <= LARGEST:
        raise CheckpointError("a storage whose size is not a number")
    return Storage(STORAGES[key[1]], key[4])


def _storage(payload: Payload, rules: Rules) -> Storage:
    span = payload if isinstance(payload, Span) else memory_source(payload, rules.budget).all()
    found = _stream(span, rules)
    if not isinstance(found, Storage):
        raise CheckpointError(f"{kind(found)} inside of it, not a storage")
    return found


def _stream(span: Span, rules: Rules) -> object:
    cursor, storages = Cursor(span), dict[str, Storage]()
    found = run(Machine(cursor, rules))
    if found == MAGIC:
        found = _torch_stream(cursor, rules, storages)
    if cursor.left:
        raise CheckpointError(f"byte {cursor.position}: {cursor.left:,} bytes after its end")
    return found


def _torch_stream(cursor: Cursor, rules: Rules, storages: dict[str, Storage]) -> object:
    version, system = run(Machine(cursor, rules)), run(Machine(cursor, rules))
    little = system.get("little_endian") if isinstance(system, dict) else None
    if version != VERSION or little is not True:
        raise CheckpointError(f"byte {cursor.position}: a torch stream of another version or byte order")
    found = run(Machine(cursor, rules, _shared(storages)))
    keys = run(Machine(cursor, rules))
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise CheckpointError(f"byte {cursor.position}: no list of storages")
    if set(keys) != storages.keys():
        raise CheckpointError(f"byte {cursor.position}: {len(keys)} storages, but {len(storages)} are asked for")
    for key in keys:
        _place(cursor, storages[key])
    return found


def _shared(storages: dict[str, Storage]) -> Callable[[object], object]:
    def persistent(key: object) -> object:
        storage = storage_of(key)
        known = storages.setdefault(key[2], storage)  # type: ignore[index]
        if (known.dtype, known.num) != (storage.dtype, storage.num):
            raise CheckpointError("two storages of one name")
        return known

    return persistent


def _place(cursor: Cursor, storage: Storage) -> None:
    start = cursor.position
    try:
        num = cursor.number(8)
        if num != storage.num:
            raise CheckpointError(f"it has {num:,} numbers, not {storage.num:,}")
        storage.payload = cursor.skip(storage.num_bytes)
    except CheckpointError as error:
        raise CheckpointError(f"byte {start}: a storage: {error}") from None
