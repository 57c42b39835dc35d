"""Z and Z+: the sphere, its modes, and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from zinv.config import build, compose
from zinv.errors import ConfigError
from zinv.generators import Generator
from zinv.methods.base import keep_in_space
from zinv.networks.operators import pixel_norm
from zinv.seeding import image_rngs
from zinv.spaces.z import Z, ZPlus, onto_sphere, slerp

RADIUS = 4.0  # sqrt(16) on the toy


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_sphere_has_radius_sqrt_of_the_dimension():
    torch.testing.assert_close(onto_sphere(torch.tensor([3.0, 4.0, 0.0, 0.0])), torch.tensor([1.2, 1.6, 0.0, 0.0]))
    torch.testing.assert_close(onto_sphere(drawn(2, 3, 512)).norm(dim=-1), torch.full((2, 3), 22.627417))
    z = drawn(4, 16)
    torch.testing.assert_close(onto_sphere(z), pixel_norm(z), rtol=1e-6, atol=1e-6)
    assert torch.isfinite(onto_sphere(torch.zeros(1, 4))).all()


@pytest.mark.parametrize("space", [Z(), ZPlus()])
def test_starts_are_normal_draws_on_the_sphere_each_image_from_its_own_seed(toy: Generator, space: Z | ZPlus):
    start = space.initial(toy, image_rngs(0, ["ada", "ben"]))
    torch.testing.assert_close(start.norm(dim=-1), torch.full(start.shape[:-1], RADIUS))
    rng = image_rngs(0, ["ben"])[0]
    expected = torch.randn(space.code_shape(toy), generator=rng)
    torch.testing.assert_close(start[1], onto_sphere(expected), rtol=1e-6, atol=1e-6)


def test_explicit_retraction_returns_to_the_sphere_after_a_step():
    code = onto_sphere(drawn(2, 6, 16)) + 0.3
    keep_in_space(ZPlus(), code)
    torch.testing.assert_close(code.norm(dim=-1), torch.full((2, 6), RADIUS))


@pytest.mark.parametrize("mode", ["implicit", "none"])
def test_the_other_modes_leave_the_code_after_a_step(mode: str):
    code = drawn(2, 6, 16) * 3
    after = code.clone()
    keep_in_space(ZPlus(retraction=mode), after)  # type: ignore[arg-type]
    assert torch.equal(after, code)


@pytest.mark.parametrize("kind", [Z, ZPlus])
def test_only_the_mode_none_sees_the_norm_of_z(toy: Generator, kind: type[Z] | type[ZPlus]):
    space = kind()
    code = space.initial(toy, image_rngs(0, ["ada"]))
    on_sphere = space.to_ws(toy, code)
    for mode in ("explicit", "implicit"):
        torch.testing.assert_close(kind(retraction=mode).to_ws(toy, 3 * code), on_sphere, rtol=1e-5, atol=1e-5)
    unbounded = kind(retraction="none")
    torch.testing.assert_close(unbounded.to_ws(toy, code), on_sphere, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(unbounded.to_ws(toy, 3 * code), on_sphere, atol=0.1)


@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_retract_is_geometric_also_where_steps_are_free(mode: str):
    torch.testing.assert_close(Z(retraction=mode).retract(drawn(2, 16)).norm(dim=-1), torch.full((2,), RADIUS))  # type: ignore[arg-type]


def test_an_unbounded_z_has_nothing_to_retract_to():
    a, b = drawn(2, 16), drawn(2, 16) + 1
    unbounded = Z(retraction="none")
    assert torch.equal(unbounded.retract(a), a)
    torch.testing.assert_close(unbounded.flow(a, b), a + b)
    torch.testing.assert_close(unbounded.interpolate(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_z_gives_every_row_the_same_w(toy: Generator):
    code = drawn(2, 16)
    ws = Z().to_ws(toy, code)
    assert all(torch.equal(ws[:, i], toy.mapping(code)) for i in range(toy.num_ws))


def test_zplus_maps_row_i_to_row_i(toy: Generator):
    code = drawn(2, 6, 16)
    ws = ZPlus().to_ws(toy, code)
    for i in range(toy.num_ws):
        torch.testing.assert_close(ws[:, i], toy.mapping(code[:, i]))


def test_truncation_draws_the_rows_below_the_cutoff_to_the_mean(toy: Generator):
    code = drawn(2, 6, 16)
    plain = ZPlus().to_ws(toy, code)
    ws = ZPlus(truncation_psi=0.7, truncation_cutoff=4).to_ws(toy, code)
    torch.testing.assert_close(ws[:, :4], toy.w_avg + 0.7 * (plain[:, :4] - toy.w_avg))
    assert torch.equal(ws[:, 4:], plain[:, 4:])
    torch.testing.assert_close(Z(truncation_psi=0.0).to_ws(toy, code[:, 0]), toy.w_avg.expand(2, 6, -1))


def test_slerp_on_a_quarter_circle():
    a, b = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[0, 2.0, 0, 0]])
    for t in (0.0, 0.25, 1 / 3, 1.0):
        angle = t * math.pi / 2
        expected = torch.tensor([[2 * math.cos(angle), 2 * math.sin(angle), 0, 0]])
        torch.testing.assert_close(slerp(a, b, t), expected, rtol=1e-6, atol=1e-6)


def test_slerp_between_opposite_points_goes_along_a_great_circle():
    a = onto_sphere(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))
    middle = slerp(a, -a, 0.5)
    torch.testing.assert_close(middle.norm(dim=-1), a.norm(dim=-1))
    torch.testing.assert_close((middle * a).sum(-1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(slerp(a, -a, 1.0), -a, atol=1e-5, rtol=0)


def test_slerp_stays_on_the_sphere_and_where_the_ends_coincide():
    a, b = onto_sphere(drawn(5, 16)), onto_sphere(drawn(5, 16, seed=1))
    torch.testing.assert_close(slerp(a, b, 0.3).norm(dim=-1), torch.full((5,), RADIUS))
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    nearly = onto_sphere(a + 1e-5)
    assert torch.isfinite(slerp(a, nearly, 0.5)).all()


def test_interpolation_between_unnormalised_codes_is_between_their_retractions():
    space, a, b = ZPlus(retraction="implicit"), 3 * drawn(1, 6, 16), drawn(1, 6, 16, seed=1)
    torch.testing.assert_close(space.interpolate(a, b, 0.0), onto_sphere(a))
    torch.testing.assert_close(space.interpolate(a, b, 1.0), onto_sphere(b), rtol=1e-4, atol=1e-4)


def test_an_edit_moves_the_rows_of_the_whole_generator(toy: Generator):
    view, space = toy.above("b8.conv0"), ZPlus()
    code = onto_sphere(drawn(2, view.num_ws, 16))
    moved = space.move(view, code, torch.ones(16), rows=[0, 3])  # row 0 is below the view, row 3 its second
    changed = (moved - code).abs().amax((0, 2)) > 1e-4
    assert changed.tolist() == [False, True, False, False]
    torch.testing.assert_close(moved[:, 1], onto_sphere(code[:, 1] + 1))


@pytest.mark.parametrize(
    ("preset", "retraction", "psi", "cutoff"),
    [
        ("z", "explicit", 1.0, None),
        ("zplus", "explicit", 1.0, None),
        ("z_released", "none", 0.7, 8),
        ("zplus_released", "implicit", 0.7, 8),
    ],
)
def test_presets_of_the_paper_and_of_the_released_code(preset, retraction, psi, cutoff):
    space = build(compose([f"space={preset}", "generator=toy"]), "space")
    assert (space.retraction, space.truncation_psi, space.truncation_cutoff) == (retraction, psi, cutoff)
    assert space.start == "random"


def test_a_number_of_candidates_must_be_positive():
    with pytest.raises(ConfigError, match="space.num_candidates=0: not an int of 1 or more"):
        compose(["space=z", "space.num_candidates=0", "generator=toy"])


def test_tables_say_how_rows_are_truncated():
    assert ZPlus(truncation_psi=0.7, truncation_cutoff=8).settings() == {
        "start": "random",
        "truncation": "0.7 below row 8",
    }
