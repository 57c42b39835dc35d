"""What our own code makes where a checkpoint calls something: containers, text, tensors, numpy's arrays."""

from __future__ import annotations

import codecs
import math
import struct
from typing import Final, TypeAlias

import torch

from zinv.errors import CheckpointError
from zinv.unpickle.records import (
    Array,
    Global,
    Key,
    NumpyDtype,
    Payload,
    Plain,
    Storage,
    Text,
    counts,
    length,
    place,
)
from zinv.unpickle.source import Budget, Span, shown

Args: TypeAlias = tuple[object, ...]


def kind(value: object) -> str:
    """How an error calls a value."""
    return shown(str(value)) if isinstance(value, Global) else f"a {type(value).__name__.lower()}"


def unfit(args: Args) -> CheckpointError:
    """The error about arguments that do not fit what is called."""
    return CheckpointError(f"arguments ({', '.join(kind(arg) for arg in args[:8])})")


def expect(args: Args, *kinds: type, most: int) -> None:
    """Check the first arguments' types, and the number of all.

    Raises:
        CheckpointError: they are others.
    """
    fits = all(type(arg) is kind for arg, kind in zip(args, kinds, strict=False))
    if not len(kinds) <= len(args) <= most or not fits:
        raise unfit(args)


# Containers and text


def make_dict(budget: Budget, args: Args) -> dict[Key, object]:
    """A dict, from nothing, from a dict, or from a list of pairs; `defaultdict` gives a name, which is left out."""
    content = _only(args)
    if content is None or isinstance(content, Global):
        return {}
    if not isinstance(content, dict | list):
        raise unfit(args)
    budget.work(len(content))
    pairs = list(content.items()) if isinstance(content, dict) else content
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise unfit(args)
    return {key_of(key): value for key, value in pairs}


def key_of(key: object) -> Key:
    """A key of a dict, of a type whose hashes nobody can make collide.

    Raises:
        CheckpointError: it is of another type.
    """
    if key is None or isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 60):
        return key
    raise CheckpointError(f"{kind(key)} as a key")


def make_list(budget: Budget, args: Args) -> list[object]:
    """A list of the items of a list or tuple."""
    return list(make_tuple(budget, args))


def make_tuple(budget: Budget, args: Args) -> tuple[object, ...]:
    """A tuple of the items of a list or tuple."""
    items = _only(args)
    if items is None:
        return ()
    if not isinstance(items, list | tuple):
        raise unfit(args)
    budget.work(len(items))
    return tuple(items)


def make_bytes(budget: Budget, args: Args) -> Payload:
    """Bytes from nothing, from bytes, or from text and its encoding."""
    if len(args) == 2:
        return make_encoded(budget, args)
    return payload(budget, _only(args) if args else b"")


def make_encoded(budget: Budget, args: Args) -> Payload:
    """The bytes of text in latin1, which is how protocols 0 to 2 keep bytes."""
    if len(args) != 2 or args[1] not in ("latin1", "latin-1"):
        raise unfit(args)
    try:
        if isinstance(args[0], Text):
            return _decoded(budget, args[0])
        if isinstance(args[0], str):
            budget.spend(len(args[0]))
            return args[0].encode("latin1")
    except UnicodeError:
        raise CheckpointError("bytes as text that is not latin1") from None
    raise unfit(args)


def _decoded(budget: Budget, text: Text) -> bytearray:
    decoder, content = codecs.getincrementaldecoder(text.encoding)(), bytearray()
    for chunk in text.span.chunks():
        part = decoder.decode(chunk)
        budget.spend(len(part))
        content += part.encode("latin1")
    decoder.decode(b"", final=True)
    return content


def payload(budget: Budget, value: object) -> Payload:
    """Bytes, in the file or in memory.

    Raises:
        CheckpointError: it is something else.
    """
    if isinstance(value, str):  # Python 2 had one type for both
        budget.spend(len(value))
        try:
            return value.encode("latin1")
        except UnicodeError:
            raise CheckpointError("bytes as text that is not latin1") from None
    if not isinstance(value, Span | bytes | bytearray):
        raise CheckpointError(f"{kind(value)} in the place of bytes")
    return value


def make_text(budget: Budget, args: Args) -> str:
    """Devices and paths, as text."""
    if len(args) > 32 or not all(type(arg) in (str, int) for arg in args):
        raise unfit(args)
    budget.spend(sum(4 * len(arg) if isinstance(arg, str) else 640 for arg in args))
    return "/".join(str(arg) for arg in args)


def state_of(budget: Budget, value: object) -> dict[str, Plain]:
    """The attributes of an instance, by name; a pair has those of `__slots__` too.

    Raises:
        CheckpointError: it is something else.
    """
    parts = value if isinstance(value, tuple) and len(value) == 2 else (value,)
    state: dict[str, Plain] = {}
    for part in parts:
        if not isinstance(part, dict | None) or not all(isinstance(key, str) for key in part or ()):
            raise CheckpointError(f"{kind(value)} in the place of an instance's attributes")
        budget.work(len(part or ()))
        state.update(part or {})
    return state


def _only(args: Args) -> object:
    if len(args) > 1:
        raise unfit(args)
    return args[0] if args else None


# Tensors


def make_tensor(budget: Budget, args: Args) -> Array:
    """A tensor: storage, offset, shape, stride; whether it wants a gradient, and hooks, are left out."""
    if not 4 <= len(args) <= 7 or not isinstance(args[0], Storage):
        raise unfit(args)
    return place(args[0], args[1], args[2], args[3])


def make_parameter(budget: Budget, args: Args) -> object:
    """A parameter's tensor."""
    expect(args, Array, most=4)
    return args[0]


# numpy

NUMPY: Final[dict[str, tuple[torch.dtype, str]]] = {
    "b1": (torch.bool, "?"),
    "u1": (torch.uint8, "B"),
    "i1": (torch.int8, "b"),
    "i2": (torch.int16, "h"),
    "i4": (torch.int32, "i"),
    "i8": (torch.int64, "q"),
    "f2": (torch.float16, "e"),
    "f4": (torch.float32, "f"),
    "f8": (torch.float64, "d"),
}


def make_numpy_dtype(budget: Budget, args: Args) -> NumpyDtype:
    """A dtype by its short name; its byte order follows as its state."""
    if not 1 <= len(args) <= 3 or not isinstance(args[0], str):
        raise unfit(args)
    code = args[0].removeprefix("<").removeprefix("|")
    if code not in NUMPY:
        raise CheckpointError(f"the numpy dtype {shown(args[0])}, which is none of {', '.join(NUMPY)}")
    return NumpyDtype(code)


def fill_dtype(dtype: NumpyDtype, state: object) -> None:
    """Check the state that numpy gives a dtype: little-endian, no fields.

    Raises:
        CheckpointError: it is another.
    """
    if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
        raise CheckpointError("a numpy dtype with fields")
    if state[1] not in ("<", "|", "="):
        raise CheckpointError(f"the numpy dtype {dtype.code} in another byte order")


def make_numpy_array(budget: Budget, args: Args) -> Array:
    """An array whose content follows as its state."""
    if not args or args[0] != Global("numpy", "ndarray"):
        raise CheckpointError("an array of another class than numpy.ndarray")
    return Array()


def fill_array(budget: Budget, array: Array, state: object) -> None:
    """Give an array the state that numpy pickled: version, shape, dtype, Fortran order, bytes.

    Raises:
        CheckpointError: it is something else, or its bytes are not as many as its shape has.
    """
    if array.storage or not isinstance(state, tuple) or len(state) != 5:
        raise CheckpointError("an array's state that is not version, shape, dtype, order and bytes")
    made = _dense(budget, state[4], state[2], state[1], state[3] in (True, 1))
    array.storage, array.shape, array.stride = made.storage, made.shape, made.stride


def make_numpy_buffer(budget: Budget, args: Args) -> Array:
    """An array as protocol 5 has it: bytes, dtype, shape, order."""
    if len(args) != 4 or args[3] not in ("C", "F"):
        raise unfit(args)
    return _dense(budget, args[0], args[1], args[2], args[3] == "F")


def _dense(budget: Budget, content: object, dtype: object, shape: object, fortran: bool) -> Array:
    if not isinstance(dtype, NumpyDtype):
        raise CheckpointError(f"{kind(dtype)} in the place of a numpy dtype")
    sides, data = counts(shape, "shape"), payload(budget, content)
    storage = Storage(NUMPY[dtype.code][0], math.prod(sides), data)
    if length(data) != storage.num_bytes:
        raise CheckpointError(f"{length(data):,} bytes for an array of shape {sides} and dtype {dtype.code}")
    return Array(storage, 0, sides, strides(sides, fortran))


def strides(shape: tuple[int, ...], fortran: bool) -> tuple[int, ...]:
    """Strides of a dense array, the last axis running fastest, or with `fortran` the first.

    >>> strides((2, 3, 4), False), strides((2, 3, 4), True)
    ((12, 4, 1), (1, 2, 6))
    """
    steps, step = [], 1
    for side in shape if fortran else reversed(shape):
        steps.append(step)
        step *= max(side, 1)
    return tuple(steps if fortran else reversed(steps))


def make_numpy_scalar(budget: Budget, args: Args) -> bool | int | float:
    """A number: dtype, bytes."""
    if len(args) != 2 or not isinstance(args[0], NumpyDtype):
        raise unfit(args)
    dtype, code = NUMPY[args[0].code]
    content = payload(budget, args[1])
    if length(content) != dtype.itemsize:
        raise CheckpointError(f"a numpy {args[0].code} of {length(content):,} bytes")
    (number,) = struct.unpack(f"<{code}", content.peek() if isinstance(content, Span) else content)
    return bool(number) if dtype is torch.bool else float(number) if dtype.is_floating_point else int(number)
