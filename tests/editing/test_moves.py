"""Moves in every space against what they are by hand: add, retract, micro-steps, closed form, centring, truncation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zinv.config import build, compose
from zinv.editing.direction import Direction
from zinv.editing.moves import Move, Rule
from zinv.errors import ConfigError, StoreError
from zinv.generators import Generator
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.p import PN, PNPlus
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus, sphere_flow

Make = Callable[..., Direction]
IDS = ["ada", "ben", "cy"]
STRENGTHS = (-2.0, 0.0, 3.0)


def codes(space: LatentSpace, toy: Generator) -> torch.Tensor:
    noise = torch.randn(3, *space.code_shape(toy), generator=torch.Generator().manual_seed(1))
    return space.retract(space.initial(toy, image_rngs(0, IDS)) + 0.3 * noise)


@pytest.mark.parametrize("space", [W(), WPlus(), PN(), PNPlus(), S()])
@pytest.mark.parametrize("retraction", ["once", "micro", "flow"])
def test_in_flat_spaces_a_move_is_an_addition(toy: Generator, make: Make, space: LatentSpace, retraction: str):
    direction, code = make(space.coordinates), codes(space, toy)
    moved = Move.along(direction, STRENGTHS, Rule(retraction, micro_steps=10))(space, toy, code)  # type: ignore[arg-type]
    by_hand = torch.stack([x + d * direction.step[0] for x, d in zip(code, STRENGTHS, strict=True)])
    torch.testing.assert_close(moved, by_hand, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("space", "rows"), [(Z(), 1), (ZPlus(), 1), (ZPlus(), 6)])
def test_on_the_sphere_a_move_is_added_and_retracted(toy: Generator, make: Make, space: LatentSpace, rows: int):
    direction, code = make("z", rows), codes(space, toy)
    moved = Move.along(direction, STRENGTHS)(space, toy, code)
    step = direction.step[0] if code.dim() == 2 else direction.step
    added = torch.stack([x + d * step for x, d in zip(code, STRENGTHS, strict=True)])
    torch.testing.assert_close(moved, 4 * added / added.norm(dim=-1, keepdim=True), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(moved[1], code[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strength", [-3.0, 2.0, 10.0])
def test_the_closed_form_is_a_thousand_micro_steps(strength: float):
    """The boundary of unit norm over 18 x 512 numbers; the bound is that of the micro-steps' own error."""
    random = torch.Generator().manual_seed(0)
    z = ZPlus().retract(torch.randn(1, 18, 512, generator=random, dtype=torch.float64))
    normal = torch.randn(18, 512, generator=random, dtype=torch.float64)
    delta = strength * normal / normal.norm()
    stepped = z
    for _ in range(1000):
        stepped = ZPlus().retract(stepped + delta / 1000)
    assert (sphere_flow(z, delta) - stepped).abs().max() < 5e-6
    assert (stepped - z).abs().max() > 0.01


def test_the_closed_form_by_hand():
    """In the plane: the angle to the direction falls as tan(a / 2) exp(-length / radius)."""
    radius = math.sqrt(2)
    z, delta = torch.tensor([[0.0, radius]]), torch.tensor([[1.0, 0.0]])
    angle = 2 * math.atan(math.exp(-1 / radius))
    expected = torch.tensor([[radius * math.cos(angle), radius * math.sin(angle)]])
    torch.testing.assert_close(sphere_flow(z, delta), expected)
    torch.testing.assert_close(sphere_flow(z, 0 * delta), z)
    torch.testing.assert_close(sphere_flow(z, torch.tensor([[0.0, 2.0]])), z)  # it is there already


def test_micro_steps_are_repeated_moves(toy: Generator, make: Make):
    direction, code = make("z"), codes(ZPlus(), toy)
    moved = Move.along(direction, STRENGTHS, Rule("micro", micro_steps=3))(ZPlus(), toy, code)
    third = Move.along(direction, [d / 3 for d in STRENGTHS])
    by_hand = code
    for _ in range(3):
        by_hand = third(ZPlus(), toy, by_hand)
    torch.testing.assert_close(moved, by_hand)


def test_several_edits_at_once_are_their_sum(toy: Generator, make: Make):
    smile, age, code = make("w"), make("w", 6, "age", 1).on([2, 3]), codes(WPlus(), toy)
    both = Move((((smile, 2.0), (age, -1.0)),) * 3)(WPlus(), toy, code)
    one_by_one = Move.along(age, [-1.0] * 3)(WPlus(), toy, Move.along(smile, [2.0] * 3)(WPlus(), toy, code))
    torch.testing.assert_close(both, one_by_one)


@pytest.mark.parametrize("retraction", ["once", "micro", "flow"])
@pytest.mark.parametrize("space", [ZPlus(), ZPlus("implicit"), Z()], ids=["Z+", "Z+ implicit", "Z"])
def test_a_code_that_stays_keeps_its_bits(toy: Generator, make: Make, space: LatentSpace, retraction: str):
    """Whatever its mates do, and off the sphere too; a move by little is near it."""
    direction, code = make("z"), 1.1 * codes(space, toy)
    rule = Rule(retraction, micro_steps=3)  # type: ignore[arg-type]
    moved = Move.along(direction, STRENGTHS, rule)(space, toy, code)
    assert torch.equal(moved[1], code[1]) and not torch.isclose(moved[0], code[0]).all()
    there_and_back = Move((((direction, 1.5), (direction, -1.5)),) * 3, rule)
    assert torch.equal(there_and_back(space, toy, code), code)
    centred = Move.along(direction, [0.0] * 3, replace(rule, center=True))(space, toy, code)
    assert not torch.allclose(centred, code, atol=1e-3)


def test_centring_takes_the_codes_own_coordinate_out(toy: Generator, make: Make):
    mean = torch.randn(16, generator=torch.Generator().manual_seed(5))
    direction, code = replace(make("w"), mean=mean), codes(WPlus(), toy)
    u = direction.step / direction.step.norm()
    moved = Move.along(direction, STRENGTHS, Rule(center=True))(WPlus(), toy, code)
    coordinate = ((moved - mean) * u).sum(-1)
    lengths = torch.tensor(STRENGTHS)[:, None] * direction.step.norm()
    torch.testing.assert_close(coordinate, lengths.expand_as(coordinate), atol=1e-4, rtol=1e-4)
    rest = code - ((code - mean) * u).sum(-1, keepdim=True) * u
    torch.testing.assert_close(moved[1], rest[1])


def test_centring_leaves_rows_that_are_not_moved(toy: Generator, make: Make):
    code = codes(WPlus(), toy)
    moved = Move.along(make("w").on([4]), STRENGTHS, Rule(center=True))(WPlus(), toy, code)
    kept = [0, 1, 2, 3, 5]
    assert torch.equal(moved[:, kept], code[:, kept])


def test_truncation_of_edited_codes_is_asked_for(toy: Generator, make: Make):
    """The release's: w_avg + .7 (w - w_avg) on the first rows, after the edit."""
    direction, code = make("w"), codes(WPlus(), toy)
    plain = Move.along(direction, STRENGTHS)(WPlus(), toy, code)
    rule = Rule(truncation_psi=0.7, truncation_cutoff=4)
    moved = Move.along(direction, STRENGTHS, rule)(WPlus(), toy, code)
    torch.testing.assert_close(moved[:, :4], toy.w_avg + 0.7 * (plain[:, :4] - toy.w_avg))
    assert torch.equal(moved[:, 4:], plain[:, 4:])
    view = toy.above("b8.conv0")
    above = Move.along(direction, STRENGTHS, rule)(WPlus(), view, code[:, 2:])
    torch.testing.assert_close(above, moved[:, 2:])
    alone = Move.along(direction, STRENGTHS, Rule(truncation_psi=0.5))(W(), toy, code[:, 0])
    torch.testing.assert_close(alone, toy.w_avg + 0.5 * (plain[:, 0] - toy.w_avg))


@pytest.mark.parametrize(
    ("rule", "space", "words"),
    [
        (Rule(truncation_psi=0.7), ZPlus(), "direction.truncation_psi=0.7: it truncates codes of w, not of Z+."),
        (
            Rule(truncation_psi=0.7, truncation_cutoff=4),
            W(),
            "direction.truncation_cutoff=4: W has one w for all rows.",
        ),
        (Rule(center=True), S(), "direction.center=true: direction smile is in S, which has no mean to centre on."),
    ],
)
def test_rules_that_a_space_has_no_use_for(toy: Generator, make: Make, rule: Rule, space: LatentSpace, words: str):
    with pytest.raises(ConfigError) as caught:
        Move.along(make(space.coordinates), [1.0], rule).check(space, toy)
    assert str(caught.value) == words


def method_and_inversion(name: str, space: str, *overrides: str) -> tuple[Inverter, Inversion]:
    config = compose([f"method={name}", f"space={space}", "generator=toy", "method.num_steps=2", *overrides])
    parts = {group: build(config, group) for group in ("generator", "space", "loss")}
    method: Inverter = build(config, "method", **parts)
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return method, method.invert(target, image_rngs(0, IDS[:2]))


SPACES = {"z": "z", "zplus": "z", "w": "w", "wplus": "w", "pn": "w", "pnplus": "w", "s": "s"}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["optimize", "bdinvert", "pti"])
def test_every_method_edits_in_every_space(make: Make, name: str, space: str):
    """By nothing it renders the inversion; by something another picture, and only the code differs."""
    more = ["method.pivot_steps=2"] if name == "pti" else []
    method, found = method_and_inversion(name, space, *more)
    direction, before = make(SPACES[space]), method.reconstruct(found).detach()
    still = method.edit(found, Move.along(direction, [0.0, 0.0]))
    torch.testing.assert_close(method.reconstruct(still).detach(), before, atol=1e-5, rtol=1e-5)
    moved = method.edit(found, Move.along(direction, [0.0, 2.0]))
    after = method.reconstruct(moved).detach()
    torch.testing.assert_close(after[0], before[0], atol=1e-5, rtol=1e-5)
    assert (after[1] - before[1]).abs().max() > 1e-3
    left = {name for name, x in moved.tensors().items() if not torch.equal(x, found.tensors()[name])}
    assert left == {"code"}


@pytest.mark.parametrize("space", ["z", "w", "pn"])
def test_a_base_code_moves_by_the_generators_own_feature_difference(make: Make, space: str):
    method, found = method_and_inversion("bdinvert", space)
    moved = method.edit(found, Move.along(make(SPACES[space]), [1.0, 2.0], Rule(base="moved")))
    assert found.base and moved.base
    point, toy = found.base[0], method.generator
    own = [toy.features(method.space.to_styles(toy, x.code), [point])[point] for x in (found, moved)]
    torch.testing.assert_close(moved.base[1] - found.base[1], own[1] - own[0], atol=1e-5, rtol=1e-5)
    assert (own[1] - own[0]).abs().max() > 1e-3


@pytest.mark.parametrize(("space", "label"), [("zplus", r"F/Z\+"), ("wplus", r"F/W\+"), ("s", "F/S")])
def test_a_base_code_without_codes_below_it_cannot_move(make: Make, space: str, label: str):
    method, found = method_and_inversion("bdinvert", space)
    words = (
        rf"direction.base=moved: {label} has no codes for the rows below its base code. Choose from: space=z, w, pn."
    )
    with pytest.raises(ConfigError, match=words):
        method.edit(found, Move.along(make(SPACES[space]), [1.0, 2.0], Rule(base="moved")))


def test_without_its_tuned_weights_pti_has_no_edit(make: Make):
    method, found = method_and_inversion("pti", "zplus", "method.pivot_steps=2")
    with pytest.raises(StoreError, match=r"the tuned weights were not kept \(method.keep_weights=false\)."):
        method.edit(replace(found, weights=None), Move.along(make("z"), [1.0, 1.0]))


@pytest.mark.parametrize("name", ["optimize", "bdinvert", "pti"])
@pytest.mark.parametrize("space", ["zplus", "wplus"])
def test_interpolation_of_two_inversions(name: str, space: str):
    more = ["method.pivot_steps=2"] if name == "pti" else []
    method, found = method_and_inversion(name, space, *more)
    a, b = found.part(0, 1), found.part(1, 2)
    for t, end in ((0.0, a), (1.0, b)):
        images = [method.reconstruct(x).detach() for x in (method.interpolate(a, b, t), end)]
        torch.testing.assert_close(*images, atol=1e-4, rtol=1e-4)
    middle = method.interpolate(a, b, 0.5)
    torch.testing.assert_close(middle.code, method.space.retract(middle.code))
    if middle.base and a.base and b.base:
        torch.testing.assert_close(middle.base[1], (a.base[1] + b.base[1]) / 2)
