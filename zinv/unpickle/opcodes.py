"""Every opcode of a pickle over plain data: nothing is imported, called or executed."""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable
from typing import Final, NoReturn, TypeAlias

from zinv.errors import CheckpointError
from zinv.unpickle.machine import Machine
from zinv.unpickle.source import shown

Opcode: TypeAlias = Callable[[Machine], None]

PROTOCOL: Final = 5
LONG_NUMBER: Final = 255


def run(m: Machine) -> object:
    """Run a pickle to its STOP; returns what it holds.

    Raises:
        CheckpointError: byte, opcode and what is wrong there.
    """
    start, code = m.cursor.position, -1
    try:
        while code != STOP:
            start, code = m.cursor.position, -1
            code = m.cursor.number(1)
            m.rules.budget.work()
            OPCODES.get(code, _unknown)(m)
    except CheckpointError as error:
        raise CheckpointError(f"byte {start}: {f'{NAMES[code]}: ' if code in NAMES else ''}{error}") from None
    return m.stack[0]


def _unknown(m: Machine) -> NoReturn:
    raise CheckpointError("not an opcode of a pickle")


def _stop(m: Machine) -> None:
    if len(m.stack) != 1 or m.marks:
        raise CheckpointError(f"{len(m.stack)} values are left on the stack")


def _refuse(why: str) -> Opcode:
    def refuse(m: Machine) -> NoReturn:
        raise CheckpointError(why)

    return refuse


def _proto(m: Machine) -> None:
    if (protocol := m.cursor.number(1)) > PROTOCOL:
        raise CheckpointError(f"protocol {protocol}; 0 to {PROTOCOL} are known")


def _frame(m: Machine) -> None:
    if (size := m.cursor.number(8)) > m.cursor.left:
        raise CheckpointError(f"a frame of {size:,} bytes, but {m.cursor.left:,} are left")


def _constant(value: object) -> Opcode:
    return lambda m: m.push(value)


# Numbers


def _int(num: int, signed: bool = False) -> Opcode:
    return lambda m: m.push(int.from_bytes(m.cursor.take(num), "little", signed=signed))


def _int_line(m: Machine) -> None:
    """A whole number, or a truth value as protocols 0 and 1 have it."""
    text = m.short_line()
    m.push(text == b"01" if text in (b"00", b"01") else m.whole(text))


def _long(size: int) -> Opcode:
    def long(m: Machine) -> None:
        if (num := m.cursor.number(size)) > LONG_NUMBER:
            raise CheckpointError(f"a whole number of {num:,} bytes")
        m.push(int.from_bytes(m.cursor.take(num), "little", signed=True))

    return long


def _float_line(m: Machine) -> None:
    text = m.short_line()
    try:
        m.push(float(text))
    except ValueError:
        raise CheckpointError(f"{shown(text)} is not a number") from None


# Text and bytes


def _text(size: int) -> Opcode:
    return lambda m: m.push(m.text(m.cursor.number(size)))


def _bytes(size: int) -> Opcode:
    return lambda m: m.push(m.cursor.skip(m.cursor.number(size)))


def _old_string(size: int) -> Opcode:
    return lambda m: m.push(m.old_string(m.cursor.number(size)))


def _string_line(m: Machine) -> None:
    text = m.short_line()
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"') or b"\\" in text:
        raise CheckpointError(f"{shown(text)} is not a quoted string without escapes")
    m.push(m.decoded(text[1:-1], "latin1"))


# Containers


def _mark(m: Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _pop(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.marked()


def _tuple(num: int) -> Opcode:
    return lambda m: m.push(tuple(reversed([m.pop() for _ in range(num)])))


def _dict(m: Machine) -> None:
    items = m.marked()
    m.push({})
    m.update(items)


def _append(m: Machine) -> None:
    item = m.pop()
    m.extend([item])


def _setitem(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.update([key, value])


# Names, calls and states, none of which names, calls or sets anything


def _global(m: Machine) -> None:
    m.push(m.named_on_lines())


def _stack_global(m: Machine) -> None:
    name, module = m.pop(), m.pop()
    m.push(m.named(module, name))


def _call(m: Machine) -> None:
    args, function = m.pop(), m.pop()
    m.push(m.rules.call(function, args))


def _call_with_keywords(m: Machine) -> None:
    keywords, args, function = m.pop(), m.pop(), m.pop()
    if keywords != {}:
        raise CheckpointError("an instance made with keyword arguments")
    m.push(m.rules.call(function, args))


def _inst(m: Machine) -> None:
    function = m.named_on_lines()
    args = tuple(m.marked())
    m.push(m.rules.call(function, args))


def _obj(m: Machine) -> None:
    function, *args = m.marked() or [None]
    m.push(m.rules.call(function, tuple(args)))


def _build(m: Machine) -> None:
    state = m.pop()
    m.build(state)


_EXTENSION = _refuse("a code of Python's extension registry")
_OUTSIDE = _refuse("a buffer outside of the file")

BY_NAME: Final[dict[str, Opcode]] = {
    "PROTO": _proto,
    "FRAME": _frame,
    "STOP": _stop,
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "INT": _int_line,
    "LONG": lambda m: m.push(m.whole(m.short_line())),
    "BININT": _int(4, signed=True),
    "BININT1": _int(1),
    "BININT2": _int(2),
    "LONG1": _long(1),
    "LONG4": _long(4),
    "FLOAT": _float_line,
    "BINFLOAT": lambda m: m.push(struct.unpack(">d", m.cursor.take(8))[0]),
    "UNICODE": lambda m: m.push(m.text_line("raw-unicode-escape")),
    "SHORT_BINUNICODE": _text(1),
    "BINUNICODE": _text(4),
    "BINUNICODE8": _text(8),
    "SHORT_BINBYTES": _bytes(1),
    "BINBYTES": _bytes(4),
    "BINBYTES8": _bytes(8),
    "BYTEARRAY8": _bytes(8),
    "STRING": _string_line,
    "SHORT_BINSTRING": _old_string(1),
    "BINSTRING": _old_string(4),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda m: None if m.marked() else None,
    "DUP": lambda m: m.push(m.top()),
    "EMPTY_TUPLE": _constant(()),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "TUPLE": lambda m: m.push(tuple(m.marked())),
    "EMPTY_LIST": lambda m: m.push([]),
    "LIST": lambda m: m.push(m.marked()),
    "APPEND": _append,
    "APPENDS": lambda m: m.extend(m.marked()),
    "EMPTY_DICT": lambda m: m.push({}),
    "DICT": _dict,
    "SETITEM": _setitem,
    "SETITEMS": lambda m: m.update(m.marked()),
    "EMPTY_SET": lambda m: m.push([]),
    "ADDITEMS": lambda m: m.extend(m.marked()),
    "FROZENSET": lambda m: m.push(m.marked()),
    "PUT": lambda m: m.remember(m.whole(m.short_line())),
    "BINPUT": lambda m: m.remember(m.cursor.number(1)),
    "LONG_BINPUT": lambda m: m.remember(m.cursor.number(4)),
    "MEMOIZE": lambda m: m.remember(len(m.memo)),
    "GET": lambda m: m.recall(m.whole(m.short_line())),
    "BINGET": lambda m: m.recall(m.cursor.number(1)),
    "LONG_BINGET": lambda m: m.recall(m.cursor.number(4)),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "REDUCE": _call,
    "BUILD": _build,
    "PERSID": lambda m: m.load_persistent(m.short_line()),
    "BINPERSID": lambda m: m.load_persistent(m.pop()),
    "EXT1": _EXTENSION,
    "EXT2": _EXTENSION,
    "EXT4": _EXTENSION,
    "NEXT_BUFFER": _OUTSIDE,
    "READONLY_BUFFER": _OUTSIDE,
}

NAMES: Final = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
OPCODES: Final = {code: BY_NAME[name] for code, name in NAMES.items()}
STOP: Final = ord(".")
