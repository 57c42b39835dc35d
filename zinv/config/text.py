"""Text of an override, made into the value that an annotation asks for."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Union, get_args, get_origin

import yaml

from zinv.values import Value, show, typed

NULLS: Final = ("null", "none", "None", "~")
WORDS: Final[Mapping[str, bool]] = {"true": True, "True": True, "false": False, "False": False}


def read(value: Value, annotation: object, key: str) -> Value:
    """A value from YAML or an override's text, as the annotated type.

    Raises:
        ConfigError: it is of another type; names key, value and what is accepted.

    >>> read("1e-3", float, "method.lr"), read("16,32", tuple[int, ...], "method.sizes")
    (0.001, (16, 32))
    >>> read("007", str | None, "data.id"), read("none", str | None, "data.id")
    ('007', None)
    """
    return typed(parse(value, annotation), annotation, key)


def parse(value: Value, annotation: object) -> Value:
    """Text as the value that it spells under an annotation; what cannot be read stays text, for `typed` to refuse."""
    kinds = list(_members(annotation))
    if isinstance(value, str):
        return _parse_text(value, kinds)
    if isinstance(value, Mapping):
        item = next((_item(kind) for kind in kinds if _is(kind, Mapping)), object)
        return {name: parse(part, item) for name, part in value.items()}
    if isinstance(value, Sequence):
        return _parse_items(value, next((kind for kind in kinds if _is(kind, Sequence)), object))
    return value


def natural(text: str) -> Value:
    """Text as YAML would read it, with `1e-3` a number and words such as `off` left alone.

    >>> natural("1e-3"), natural("[a, 2]"), natural("off"), natural("null")
    (0.001, ['a', 2], 'off', None)
    """
    if text in NULLS:
        return None
    if text in WORDS:
        return WORDS[text]
    return _structure(text, object) if text[:1] in ("[", "{") else _number(text)


def plain(value: object) -> Value:
    """A value of lists, mappings and scalars alone, as YAML and JSON hold it."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _parse_text(text: str, kinds: list[object]) -> Value:
    literals = {show(choice): choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)}
    if text in literals:
        found: Value = literals[text]
        return found
    if types.NoneType in kinds and text in NULLS:
        return None
    for kind in kinds:
        if _is(kind, Mapping) and text.startswith("{"):
            return _structure(text, kind)
        if _is(kind, Sequence) and (text.startswith("[") or str not in kinds):
            return _structure(text if text.startswith("[") else f"[{text}]", kind)
    if all(kind in (str, Path, types.NoneType) for kind in kinds):
        return text
    value = natural(text)
    return text if str in kinds and type(value) not in kinds else value


def _parse_items(values: Sequence[Value], kind: object) -> Value:
    args = get_args(kind)
    if get_origin(kind) is tuple and Ellipsis not in args and len(args) == len(values):
        return [parse(value, item) for value, item in zip(values, args, strict=True)]
    return [parse(value, args[0] if args else object) for value in values]


def _members(annotation: object) -> Iterator[object]:
    """The alternatives of an annotation, without Annotated and Union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield types.NoneType if annotation is None else annotation


def _is(annotation: object, base: type) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, base) and kind is not str


def _item(annotation: object) -> object:
    args = get_args(annotation)
    return args[1] if len(args) == 2 else object


def _structure(text: str, kind: object) -> Value:
    """A YAML list or mapping, its leaves parsed from text: an id such as 005735 keeps its zeros."""
    try:
        found: Value = yaml.load(text, yaml.BaseLoader)
    except yaml.YAMLError:
        return text
    return text if isinstance(found, str) else parse(found, kind)


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return text if math.isnan(value) else value
    return text
