"""Values made into what an annotation asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest

from zinv.errors import ConfigError
from zinv.values import Value, show, typed


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (1, float, 1.0),
        (1e3, int, 1000),
        (2024, str, "2024"),
        ("runs", Path, Path("runs")),
        (None, int | None, None),
        ("auto", int | Literal["auto"], "auto"),
        ("portraits", Annotated[str, "weights"], "portraits"),
        ([4, 8], tuple[int, ...], (4, 8)),
        (["mse"], Sequence[str], ["mse"]),
        ({"mse": 1}, dict[str, float], {"mse": 1.0}),
        ({"ssim": {"variant": "wang"}}, dict[str, dict[str, object]], {"ssim": {"variant": "wang"}}),
    ],
)
def test_fitting_values(value: Value, annotation: object, expected: Value) -> None:
    found = typed(value, annotation, "key")
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("abc", float, "key=abc: not a float."),
        (True, int, "key=true: not an int."),
        (1, bool, "key=1: not a bool."),
        (1.5, int, "key=1.5: not an int."),
        (None, str, "key=null: not a str."),
        ("x", int | None, "key=x: not an int or null."),
        ("4", tuple[int, ...], "key=4: not a list of int."),
        ([1, "a"], list[int], r"key\[1\]=a: not an int."),
        ([1], tuple[int, int], r"key=\[1\]: 1 values, not 2."),
        ({"mse": "x"}, dict[str, float], "key.mse=x: not a float."),
        ("areaa", Literal["area", "lanczos"], "key=areaa: unknown choice. Did you mean 'area'?"),
    ],
)
def test_others_are_named(value: Value, annotation: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        typed(value, annotation, "key")


def test_values_are_shown_as_overrides_spell_them() -> None:
    assert show({"a": [1, None, True]}) == "{a: [1,null,true]}"
