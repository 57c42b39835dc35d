"""Directions: which codes they fit, what is wrong with the others, and files of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zinv.editing import direction as directions
from zinv.editing.direction import Direction
from zinv.errors import ConfigError, WeightsError
from zinv.generators import Generator
from zinv.generators.toy import toy_stylegan2
from zinv.spaces.base import LatentSpace
from zinv.spaces.p import PNPlus
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus

Make = Callable[..., Direction]


@pytest.mark.parametrize(
    ("coordinates", "space"), [("z", Z()), ("z", ZPlus()), ("w", W()), ("w", WPlus()), ("w", PNPlus()), ("s", S())]
)
def test_a_direction_fits_the_spaces_of_its_coordinates(
    toy: Generator, make: Make, coordinates: str, space: LatentSpace
):
    direction = make(coordinates)
    direction.check(space, toy)
    delta = direction.delta(space, toy)
    assert delta.shape == space.code_shape(toy)
    assert torch.equal(delta, direction.step.expand(len(delta) if delta.dim() == 2 else 1, -1).reshape(delta.shape))


@pytest.mark.parametrize(
    ("coordinates", "rows", "space", "words"),
    [
        ("z", 1, WPlus(), "direction smile: it moves z, not codes of W+. It fits space=z, zplus."),
        ("w", 1, Z(), "direction smile: it moves w, not codes of Z. It fits space=w, wplus, pn, pnplus."),
        ("s", 1, WPlus(), "direction smile: it moves s, not codes of W+. It fits space=s."),
        ("w", 1, S(), "direction smile: it moves w, not codes of S. It fits space=w, wplus, pn, pnplus."),
        ("z", 6, Z(), "direction smile: it moves rows of z, not codes of Z. It fits space=zplus."),
        ("w", 6, W(), "direction smile: it moves rows of w, not codes of W. It fits space=wplus, pnplus."),
    ],
)
def test_another_space_is_refused_with_those_that_fit(
    toy: Generator, make: Make, coordinates: str, rows: int, space: LatentSpace, words: str
):
    with pytest.raises(ConfigError) as caught:
        make(coordinates, rows).check(space, toy)
    assert str(caught.value) == words


def test_another_generator_is_refused(toy: Generator, make: Make):
    other = toy_stylegan2(seed=1)
    with pytest.raises(
        WeightsError, match=f"direction smile: of generator {toy.sha256[:8]}…, not of {other.sha256[:8]}"
    ):
        make("w").check(WPlus(), other)
    replace(make("w"), generator="").check(WPlus(), other)  # a publisher who does not say


def test_another_width_or_number_of_rows_is_refused(toy: Generator):
    for step, rows in ((torch.ones(1, 8), 1), (torch.ones(4, 16), 4)):
        words = f"direction smile: {rows} rows of {step.shape[1]} numbers; the generator has 1 or 6 rows of 16."
        with pytest.raises(WeightsError, match=words):
            Direction("smile", "w", step).check(WPlus(), toy)
    with pytest.raises(WeightsError, match="1 rows of 8 numbers; the generator has 128 styles"):
        Direction("smile", "s", torch.ones(1, 8)).check(S(), toy)
    with pytest.raises(ConfigError, match="rows 4-7; the generator has rows 0 to 5"):
        Direction("smile", "w", torch.ones(1, 16), rows=(4, 5, 6, 7)).check(WPlus(), toy)


def test_rows_count_from_the_whole_generator(toy: Generator, make: Make):
    view, direction = toy.above("b8.conv0"), make("w", 6).on([1, 3])
    delta = direction.delta(WPlus(), view)
    assert view.first_ws == 2
    assert torch.equal(delta[1], direction.step[3])
    assert not delta[[0, 2, 3]].any()
    whole = direction.delta(WPlus(), toy)
    assert torch.equal(whole[[1, 3]], direction.step[[1, 3]]) and not whole[[0, 2, 4, 5]].any()


def test_an_edit_below_the_base_code_is_refused(toy: Generator, make: Make):
    view = toy.above("b8.conv0")
    words = "direction smile: it moves rows 0-1, which all lie below the base code; codes begin at row 2."
    with pytest.raises(ConfigError, match=words):
        make("w").on([0, 1]).check(WPlus(), view)
    lowest = make("s")
    lowest = replace(lowest, step=lowest.step * (torch.arange(128) < 16))
    lowest.check(S(), toy)
    with pytest.raises(ConfigError, match="which all lie below the base code"):
        lowest.check(S(), view)


def test_styles_above_a_base_code_are_the_last_ones(toy: Generator, make: Make):
    view, direction = toy.above("b8.conv0"), make("s")
    num = sum(view.style_dims)
    assert torch.equal(direction.delta(S(), view), direction.step[0, -num:])


def test_a_file_of_directions_comes_back(tmp_path: Path, make: Make):
    smile = replace(make("z", 6), range=(-2.0, 3.5), attribute="smile", mean=torch.ones(16))
    age = replace(make("z", 6, "age", seed=1), rows=(0, 2), mean=torch.ones(16))
    directions.save(tmp_path / "two.safetensors", [smile, age], how="by hand")
    found = directions.load(tmp_path / "two.safetensors")
    for before, after in zip([smile, age], found, strict=True):
        assert torch.equal(before.step, after.step) and torch.equal(before.mean, after.mean)
        for field in ("name", "coordinates", "generator", "rows", "range", "attribute"):
            assert getattr(before, field) == getattr(after, field)
        assert len(after.source) == 64


def test_another_file_is_refused(tmp_path: Path, toy: Generator):
    toy.save(tmp_path / "toy.safetensors")  # type: ignore[operator]
    with pytest.raises(WeightsError, match="toy.safetensors: holds stylegan2, not directions."):
        directions.load(tmp_path / "toy.safetensors")
