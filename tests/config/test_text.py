"""Text becomes values by annotation, and never by what YAML would make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest

from zinv.config.schema import is_plain
from zinv.config.text import natural, plain, read
from zinv.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("none", Literal["none", "some"], "none"),
        ("none", Literal["none", "some"] | None, "none"),
        ("null", Literal["none", "some"] | None, None),
        ("1", Literal[1, 2], 1),
        ("3", int | str, 3),
        ("x", int | str, "x"),
        ("true", bool | str, True),
        ("off", str, "off"),
        ("[a, b]", str, "[a, b]"),
        ("[[1, 2], [3]]", list[list[int]], [[1, 2], [3]]),
        ("[1, a]", tuple[int, str], (1, "a")),
        ("{a: {b: 1}}", dict[str, dict[str, float]], {"a": {"b": 1.0}}),
        ("[1e-3, 2]", Sequence[float], [0.001, 2.0]),
        ("{a: ~}", Mapping[str, float | None], {"a": None}),
        ("7", Annotated[str, "weights"] | None, "7"),
        ("inf", float, float("inf")),
        ("[1, null, 005]", object, [1, None, 5]),
        ("a, b", list[str], ["a", "b"]),
        ("[]", list[int], []),
    ],
)
def test_text(text: str, annotation: object, value: object):
    found = read(text, annotation, "key")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "annotation", "expected"),
    [
        ("", float, "key=: not a float."),
        ("1,2", tuple[int, int, int], "key=[1,2]: 2 values, not 3."),
        ("{a: x}", dict[str, float], "key.a=x: not a float."),
        ("{a", dict[str, float], "key={a: not a mapping."),
        ("3", dict[str, float], "key=3: not a mapping."),
        ("null", float, "key=null: not a float."),
        ("1", bool, "key=1: not a bool."),
        ("x", float | None, "key=x: not a float or null."),
    ],
)
def test_mistakes(text: str, annotation: object, expected: str):
    with pytest.raises(ConfigError) as caught:
        read(text, annotation, "key")
    assert str(caught.value) == expected


def test_values_of_yaml_are_values_already():
    assert read([4, 8], tuple[int, ...], "key") == (4, 8)
    assert read(1, float, "key") == 1.0


def test_plain_values_survive_yaml_and_json():
    assert plain({"a": (1, Path("b")), "c": None}) == {"a": [1, "b"], "c": None}


def test_natural_keeps_words_that_yaml_would_change():
    assert [natural(text) for text in ("off", "yes", "1_0.x", "nan", "")] == ["off", "yes", "1_0.x", "nan", ""]


@pytest.mark.parametrize("annotation", [Callable[[int], int], Path | Callable[[], None], type[int], ConfigError])
def test_what_yaml_cannot_hold_is_no_setting(annotation: object):
    assert not is_plain(annotation)
