"""W, W+, P_N, S and the fixed control: values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zinv.config import build, compose
from zinv.errors import ConfigError
from zinv.generators import Generator
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace, prior_ws
from zinv.spaces.fixed import Fixed
from zinv.spaces.p import PN, PNPlus
from zinv.spaces.s import S
from zinv.spaces.statistics import PNStatistics
from zinv.spaces.w import W, WPlus

IDS = ["ada", "ben"]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def mapped(generator: Generator, name: str) -> Tensor:
    z = torch.randn(generator.z_dim, generator=image_rngs(0, [name])[0])
    return generator.mapping(z[None])[0]


@pytest.mark.parametrize("space", [W(), WPlus(), PN(), PNPlus(), Fixed()])
def test_they_start_at_the_mean(toy: Generator, space: LatentSpace):
    start = space.initial(toy, image_rngs(0, IDS))
    assert torch.equal(space.to_ws(toy, start), toy.w_avg.expand(2, 6, -1))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [W, WPlus, PN, PNPlus, Fixed])
def test_a_random_start_is_one_prior_draw_for_all_rows(toy: Generator, kind: type[W]):
    space = kind(start="random")
    ws = space.to_ws(toy, space.initial(toy, image_rngs(0, IDS)))
    torch.testing.assert_close(ws[1], mapped(toy, "ben").expand(6, -1))


def test_s_starts_at_the_styles_of_the_mean(toy: Generator):
    start = S().initial(toy, image_rngs(0, IDS))
    expected = torch.cat(toy.affine(toy.w_avg.expand(1, 6, -1)), 1)
    torch.testing.assert_close(start, expected.expand(2, -1))
    random = S(start="random").initial(toy, image_rngs(0, ["ben"]))
    torch.testing.assert_close(random, torch.cat(toy.affine(mapped(toy, "ben").expand(1, 6, -1)), 1))


def test_w_is_one_row_repeated_and_wplus_is_its_rows(toy: Generator):
    w, ws = drawn(2, 16), drawn(2, 6, 16)
    assert torch.equal(W().to_ws(toy, w), w[:, None].expand(-1, 6, -1))
    assert torch.equal(WPlus().to_ws(toy, ws), ws)


@pytest.mark.parametrize("kind", [W, PN, Fixed])
def test_truncation_of_one_w(toy: Generator, kind: type[W]):
    w = drawn(2, 16)
    ws = kind(truncation_psi=0.7, truncation_cutoff=4).to_ws(toy, w)
    torch.testing.assert_close(ws[:, 0], toy.w_avg + 0.7 * (w - toy.w_avg))
    torch.testing.assert_close(ws[:, 3], ws[:, 0])
    assert torch.equal(ws[:, 4], w)


def test_s_is_the_styles_concatenated_lowest_first(toy: Generator):
    code = drawn(2, 128)
    styles = S().to_styles(toy, code)
    assert [style.shape[1] for style in styles] == [16] * 8
    assert torch.equal(torch.cat(styles, 1), code)
    assert S().to_ws(toy, code) is None


def test_s_renders_what_its_w_renders(toy: Generator):
    ws = toy.map_rows(drawn(2, 6, 16))
    code = S().from_rows(toy, ws)
    assert torch.equal(toy.synthesis(S().to_styles(toy, code)), toy.synthesis(toy.affine(ws)))


@pytest.mark.parametrize("psi", [0.7, 0.0])
def test_s_refuses_truncation(psi: float):
    with pytest.raises(ConfigError, match=rf"space.truncation_psi={psi}: S has no truncation, only 1 is accepted"):
        S(truncation_psi=psi)


def test_fixed_optimises_nothing(toy: Generator):
    assert Fixed().num_scalars(toy) == 0
    assert not Fixed.optimised
    assert (W().num_scalars(toy), WPlus().num_scalars(toy), S().num_scalars(toy)) == (16, 96, 128)


@pytest.fixture
def statistics(toy: Generator, tmp_path: Path) -> str:
    """Mean 1, standard deviation 2 on every axis of v(w)."""
    known = PNStatistics(torch.ones(16), torch.full((16,), 4.0), torch.eye(16), toy.sha256)
    known.save(tmp_path / "pnorm.safetensors")
    return str(tmp_path / "pnorm.safetensors")


def test_the_penalty_is_the_mean_square_in_whitened_space(toy: Generator, statistics: str):
    """w = 3 stays 3 under LeakyReLU_5, (3 - 1) / 2 = 1; w = -1 becomes -5, (-5 - 1) / 2 = -3."""
    w = torch.cat([torch.full((1, 16), 3.0), torch.full((1, 16), -1.0)])
    torch.testing.assert_close(PN(1.0, statistics).penalty(toy, w), torch.tensor([1.0, 9.0]))
    torch.testing.assert_close(PN(statistics=statistics).penalty(toy, w), torch.tensor([0.01, 0.09]))
    rows = w[:1, None].repeat(1, 6, 1)
    rows[:, 0] = -1
    expected = (9 + 5 * 1) / 6
    torch.testing.assert_close(PNPlus(1.0, statistics).penalty(toy, rows), torch.tensor([expected]))


def test_the_penalty_above_a_base_code_is_over_the_rows_that_are_left(toy: Generator, statistics: str):
    view = toy.above("b8.conv0")
    rows = torch.full((1, view.num_ws, 16), 3.0)
    torch.testing.assert_close(PNPlus(1.0, statistics).penalty(view, rows), torch.tensor([1.0]))


@pytest.mark.parametrize("space", [W(), WPlus(), S(), Fixed()])
def test_the_others_have_no_penalty(toy: Generator, space: LatentSpace):
    start = space.initial(toy, image_rngs(0, IDS))
    assert torch.equal(space.penalty(toy, start), torch.zeros(2))


def test_the_released_penalty_spreads_the_mean_over_the_dead_rows(toy: Generator):
    """The released code averages over 18 rows, of which 14 matter above a base code of 16 pixels at 1024."""
    above = toy.above("b8.conv0")
    released = build(compose(["space=pnplus_released", "generator=toy"]), "space")
    code = drawn(2, above.num_ws, 16)
    assert above.first_ws > 0 and above.first_ws + above.num_ws == toy.num_ws
    share = above.num_ws / toy.num_ws
    torch.testing.assert_close(released.penalty(above, code), share * PNPlus().penalty(above, code))
    whole = drawn(2, toy.num_ws, 16)
    torch.testing.assert_close(released.penalty(toy, whole), PNPlus().penalty(toy, whole))


@pytest.mark.parametrize(
    ("preset", "psi", "cutoff"), [("w", 1, None), ("w_released", 0.7, 8), ("wplus_released", 1, None)]
)
def test_presets_of_the_paper_and_of_the_released_code(preset: str, psi: float, cutoff: int | None):
    space = build(compose([f"space={preset}", "generator=toy"]), "space")
    assert (space.truncation_psi, space.truncation_cutoff, space.start) == (psi, cutoff, "mean")


def test_spread_is_the_priors_deviation(toy: Generator):
    expected = prior_ws(toy).std(0)
    assert torch.equal(W().spread(toy), expected)
    assert torch.equal(WPlus().spread(toy), expected.expand(6, -1))
    sample = toy.mapping(drawn(20_000, 16))
    torch.testing.assert_close(W().spread(toy), sample.std(0), rtol=0.05, atol=0.01)
    styles = torch.cat(toy.affine(sample[:, None].expand(-1, 6, -1)), 1)
    torch.testing.assert_close(S().spread(toy), styles.std(0), rtol=0.1, atol=0.01)


def test_interpolation_is_a_line(toy: Generator):
    a, b = drawn(2, 6, 16), torch.zeros(2, 6, 16)
    torch.testing.assert_close(WPlus().interpolate(a, b, 0.25), 0.75 * a)


def test_an_edit_moves_only_its_rows(toy: Generator):
    code = drawn(2, 6, 16)
    moved = WPlus().move(toy, code, torch.ones(16), rows=[1, 2])
    torch.testing.assert_close((moved - code)[0, :, 0], torch.tensor([0.0, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(W().move(toy, code[:, 0], torch.ones(16)), code[:, 0] + 1)
