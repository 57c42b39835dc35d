"""Values as YAML and the command line give them, made into what a constructor's annotation asks for."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, Union, get_args, get_origin

from zinv.errors import ConfigError, suggest

Value: TypeAlias = "None | bool | int | float | str | Path | Sequence[Value] | Mapping[str, Value]"


@dataclass(frozen=True)
class Range:
    """Which finite numbers an annotation such as `Count` takes: from `least` on, or only what is above it."""

    least: float
    above: bool = False

    def has(self, value: object) -> bool:
        """Whether a number lies in it; what is no number is not its business."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return self.least <= value < math.inf and not (self.above and value == self.least)

    def __str__(self) -> str:
        """As messages say it."""
        return f"above {self.least:g}" if self.above else f"of {self.least:g} or more"


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]


class OutOfRange(ConfigError):
    """A number of the right type that an annotation does not take."""


def typed(value: Value, annotation: object, key: str) -> Value:
    """The value as the annotated type.

    Raises:
        ConfigError: it is of another type; names key, value and what is accepted.

    >>> typed([4, 8], tuple[int, ...], "method.sizes")
    (4, 8)
    >>> typed("abc", float, "method.lr")
    Traceback (most recent call last):
    zinv.errors.ConfigError: method.lr=abc: not a float.
    >>> typed(0, Count, "data.batch_size")
    Traceback (most recent call last):
    zinv.values.OutOfRange: data.batch_size=0: not an int of 1 or more.
    """
    try:
        return _convert(value, annotation, key)
    except TypeError:
        raise ConfigError(f"{key}={show(value)}: not {article(spell(annotation))}.") from None


def show(value: Value) -> str:
    """A value as an override spells it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(show(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}: {show(item)}' for name, item in value.items())}}}"
    return str(value)


def spell(annotation: object) -> str:
    """An annotation in words.

    >>> spell(tuple[int, ...]), spell(float | None)
    ('list of int', 'float or null')
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return "null"
    if origin is Annotated:
        return spell(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(spell(arg) for arg in args)
    if origin is Literal:
        return " or ".join(show(arg) for arg in args)
    if _is_sequence(annotation):
        return f"list of {spell(args[0])}" if args else "list"
    if _is_mapping(annotation):
        return "mapping"
    return "path" if annotation is Path else getattr(annotation, "__name__", str(annotation))


def article(words: str) -> str:
    """`a float`, `an int`, `null`."""
    return words if words == "null" else f"an {words}" if words[0].lower() in "aeio" else f"a {words}"


def _convert(value: Value, annotation: object, key: str) -> Value:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _in_range(_convert(value, args[0], key), args, key)
    if origin in (Union, types.UnionType):
        return _any_of(value, args, key)
    if origin is Literal:
        return _one_of(value, args, key)
    if _is_sequence(annotation):
        return _each(value, origin or annotation, args, key)
    if _is_mapping(annotation):
        return _entries(value, args, key)
    scalar = SCALARS.get(annotation) if isinstance(annotation, type) else None
    if scalar:
        return scalar(value)
    return value


def _in_range(value: Value, args: tuple[object, ...], key: str) -> Value:
    for allowed in args[1:]:
        if isinstance(allowed, Range) and not allowed.has(value):
            raise OutOfRange(f"{key}={show(value)}: not {article(spell(args[0]))} {allowed}.")
    return value


def _is_sequence(annotation: object) -> bool:
    kind = get_origin(annotation) or annotation
    return inspect.isclass(kind) and issubclass(kind, Sequence) and kind is not str


def _is_mapping(annotation: object) -> bool:
    kind = get_origin(annotation) or annotation
    return inspect.isclass(kind) and issubclass(kind, Mapping)


def _any_of(value: Value, members: tuple[object, ...], key: str) -> Value:
    errors: list[TypeError | ConfigError] = []
    for member in members:
        try:
            return _convert(value, member, key)
        except (TypeError, ConfigError) as error:
            errors += [error] if member not in (None, types.NoneType) else []
    telling = errors if len(errors) == 1 else [error for error in errors if isinstance(error, OutOfRange)]
    raise telling[0] if telling else TypeError


def _one_of(value: Value, choices: tuple[str | int | bool | None, ...], key: str) -> Value:
    for choice in choices:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise ConfigError(f"{key}={show(value)}: unknown choice. {suggest(show(value), [show(c) for c in choices])}")


def _each(value: Value, kind: object, args: tuple[object, ...], key: str) -> Value:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError
    fixed = kind is tuple and args and Ellipsis not in args
    if fixed and len(value) != len(args):
        raise ConfigError(f"{key}={show(value)}: {len(value)} values, not {len(args)}.")
    items = args if fixed else [args[0] if args else object] * len(value)
    converted = [
        typed(item, item_type, f"{key}[{i}]") for i, (item, item_type) in enumerate(zip(value, items, strict=True))
    ]
    return tuple(converted) if kind is tuple else converted


def _entries(value: Value, args: tuple[object, ...], key: str) -> Value:
    if not isinstance(value, Mapping):
        raise TypeError
    item_type = args[1] if len(args) == 2 else object
    return {str(name): typed(item, item_type, f"{key}.{name}") for name, item in value.items()}


def _none(value: Value) -> Value:
    if value is not None:
        raise TypeError
    return None


def _bool(value: Value) -> Value:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _int(value: Value) -> Value:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _float(value: Value) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _str(value: Value) -> Value:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Path):
        raise TypeError
    return str(value)


def _path(value: Value) -> Value:
    return Path(str(_str(value)))


SCALARS: Final[Mapping[type, Callable[[Value], Value]]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
}
