"""Every method: each image for itself, one forward pass a step, in its space after each step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zinv.config import preset_names
from zinv.errors import WeightsError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.base import Inverter
from zinv.methods.bdinvert import BDInvert
from zinv.methods.descent import descend
from zinv.networks.base_code import BaseCodeEncoder
from zinv.seeding import image_rngs
from zinv.spaces.w import WPlus
from zinv.spaces.z import ZPlus

IDS = ["ada", "ben", "cy", "dee"]
Build = Callable[..., Inverter]
Batches = Callable[[Inverter, Tensor, int], Tensor]
OWN_TESTS = ("pti", "sam", "encoder", "idinvert")  # other stages, or another network in each step
METHODS = [name for name in preset_names("method") if not name.startswith(OWN_TESTS)]
SPACES = ["z", "zplus", "w", "wplus", "pnplus", "s", "fixed"]
PAIRS = [(method, space) for method in ("optimize", "bdinvert") for space in SPACES]
LONG = [("optimize", "z"), ("optimize", "wplus"), ("bdinvert", "zplus"), ("bdinvert", "pnplus"), ("bdinvert", "s")]


def probes(name: str) -> int:
    """Renderings by which a preset finds the scales of its steps."""
    return 4 if name.endswith("_image") else 0


def counted(method: Inverter, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of all calls of synthesis from now on."""
    kind, sizes = type(method.generator), []
    synthesis = kind.synthesis

    def count(self: Any, styles: Any, *args: Any, **kwargs: Any) -> Tensor:
        sizes.append(styles[0].shape[0])
        return synthesis(self, styles, *args, **kwargs)

    monkeypatch.setattr(kind, "synthesis", count)
    return sizes


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_float64_results_do_not_depend_on_the_batch(
    method: Build, in_batches: Batches, target: Tensor, name: str, space: str
):
    built = method(name, space, "method.num_steps=4").double()
    alone = in_batches(built, target.double(), 1)
    torch.testing.assert_close(in_batches(built, target.double(), 3), alone, rtol=1e-6, atol=1e-6)  # 3 and 1
    torch.testing.assert_close(in_batches(built, target.double(), 4), alone, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "space"), LONG)
def test_float64_results_do_not_depend_on_the_batch_after_all_steps(
    method: Build, in_batches: Batches, target: Tensor, name: str, space: str
):
    built = method(name, space, "method.num_steps=300").double()
    alone = in_batches(built, target.double(), 1)
    torch.testing.assert_close(in_batches(built, target.double(), 4), alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "space"), PAIRS)
def test_float32_results_agree_after_10_steps(
    method: Build, in_batches: Batches, target: Tensor, name: str, space: str
):
    """Each image's MSE to 1e-5 of itself. Pixels agree to 1e-6, but for a rare image where Adam's first steps divide
    one tiny gradient by another (1.4e-5 of its norm was seen in W); rounding grows in a longer descent."""
    built = method(name, space, "method.num_steps=10")
    images = [in_batches(built, target, size) for size in (1, 4)]
    alone, together = ((image - target).square().mean((1, 2, 3)) for image in images)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=0)
    assert (images[1] - images[0]).norm() <= 1e-4 * images[0].norm()


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_one_forward_pass_a_step(method: Build, target: Tensor, name: str, monkeypatch):
    built = method(name, "zplus", "method.num_steps=5")
    sizes = counted(built, monkeypatch)
    built.invert(target, image_rngs(0, IDS))
    assert sizes == [4] * (probes(name) + 5 + 1)  # and once for the values after the last step


@pytest.mark.parametrize("name", METHODS)
def test_the_best_of_k_starts_costs_k_passes(method: Build, target: Tensor, name: str, monkeypatch):
    built = method(name, "zplus", "method.num_steps=2", "space.start=best_of_k", "space.num_candidates=6")
    sizes = counted(built, monkeypatch)
    built.invert(target, image_rngs(0, IDS))
    assert sizes == [4] * (6 + probes(name) + 2 + 1)


@pytest.mark.parametrize("space", ["z", "zplus", "w", "wplus", "s"])
def test_the_best_of_k_starts_is_the_best_for_each_image(method: Build, target: Tensor, space: str):
    built = method("optimize", space, "method.num_steps=0", "space.start=best_of_k", "space.num_candidates=8")
    found = built.invert(target, image_rngs(0, IDS))
    rngs, draws = image_rngs(0, IDS), []
    with torch.no_grad():
        for _ in range(8):
            code = built.space.initial(built.generator, rngs)
            image = built.generator.synthesis(built.space.to_styles(built.generator, code))
            draws.append((image - target).square().mean((1, 2, 3)))
    torch.testing.assert_close(found.losses["mse"], torch.stack(draws).amin(0))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("space", ["z", "zplus"])
def test_codes_are_on_the_sphere_at_every_step(method: Build, target: Tensor, name: str, space: str, monkeypatch):
    built = method(name, space, "method.num_steps=6")
    norms: list[Tensor] = []
    to_ws = type(built.space).to_ws

    def watch(self: Any, generator: Any, code: Tensor) -> Tensor:
        norms.append(code.detach().norm(dim=-1).flatten())
        return to_ws(self, generator, code)

    monkeypatch.setattr(type(built.space), "to_ws", watch)
    built.invert(target, image_rngs(0, IDS))
    assert len(norms) == probes(name) + 7
    torch.testing.assert_close(torch.cat(norms), torch.full_like(torch.cat(norms), 4.0))


def test_implicit_and_unbounded_codes_leave_the_sphere(method: Build, target: Tensor):
    for mode in ("implicit", "none"):
        built = method("optimize", "zplus", "method.num_steps=6", f"space.retraction={mode}")
        code = built.invert(target, image_rngs(0, IDS)).code
        assert not torch.allclose(code.norm(dim=-1), torch.full((4, 6), 4.0), atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_picture_that_is_not_a_number_leaves_the_others_untouched(method: Build, target: Tensor, name: str):
    built = method(name, "wplus", "method.num_steps=5")
    broken = target.clone()
    broken[1] = math.nan
    found, clean = built.invert(broken, image_rngs(0, IDS)), built.invert(target, image_rngs(0, IDS))
    assert torch.equal(found.code[[0, 2, 3]], clean.code[[0, 2, 3]])
    assert found.losses["total"].isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("name", METHODS)
def test_more_steps_come_nearer(method: Build, target: Tensor, name: str):
    few, many = (method(name, "wplus", f"method.num_steps={num}") for num in (1, 25))
    losses = [built.invert(target, image_rngs(0, IDS)).losses["mse"] for built in (few, many)]
    assert (losses[1] < 0.9 * losses[0]).all()


@pytest.mark.parametrize("name", METHODS)
def test_losses_are_those_of_what_is_stored(method: Build, target: Tensor, name: str):
    built = method(name, "zplus", "method.num_steps=3")
    found = built.invert(target, image_rngs(0, IDS))
    image = built.reconstruct(found)
    torch.testing.assert_close(found.losses["mse"], (image - target).square().mean((1, 2, 3)))
    weighted = found.losses["mse"] + found.losses["space"] + 10 * found.losses.get("base", torch.zeros(4))
    torch.testing.assert_close(found.losses["total"], weighted)


def test_a_trace_has_each_terms_values(method: Build, target: Tensor):
    built = method("bdinvert", "pnplus", "method.num_steps=5")
    built.trace_every = 2
    trace = built.invert(target, image_rngs(0, IDS)).trace
    assert trace is not None
    assert set(trace) == {"step", "mse", "space", "base"}
    assert trace["step"].tolist() == [0, 2, 4]
    assert trace["mse"].shape == (3, 4)
    assert not trace["base"][0].any()  # it starts at the encoder's


def test_the_penalty_of_a_space_is_descended_on(method: Build, target: Tensor):
    plain, whitened = (method("optimize", "pnplus", "method.num_steps=40", f"space.penalty_weight={w}") for w in (0, 1))
    whitened.space.penalty(whitened.generator, whitened.generator.w_avg.expand(1, 6, -1))
    norms = []
    for built in (plain, whitened):
        code = built.invert(target, image_rngs(0, IDS)).code
        norms.append(float(whitened.space.penalty(whitened.generator, code).mean()))
    assert norms[1] < 0.5 * norms[0]


def test_the_base_code_starts_at_the_encoders_and_its_distance_is_held_by_a_weight(target: Tensor):
    toy = toy_stylegan2()
    first = BaseCodeEncoder.load("untrained/0", toy.sha256, "b8.conv0", 16)(target)
    loose, tight = (
        BDInvert(toy, WPlus(), Loss({"mse": 1.0}), num_steps=30, base_weight=weight).invert(target, image_rngs(0, IDS))
        for weight in (0.0, 1000.0)
    )
    away = [(found.base[1] - first).square().mean() for found in (loose, tight)]  # type: ignore[index]
    assert away[1] < 0.2 * away[0]


def test_bdinvert_is_the_plain_loop(target: Tensor):
    """Codes and base code by one Adam of torch's own, target by target."""
    toy = toy_stylegan2().double()
    method = BDInvert(toy, ZPlus(), Loss({"mse": 1.0}), num_steps=8).double()
    found = method.invert(target.double(), image_rngs(0, IDS))
    view = toy.above("b8.conv0")
    for i, name in enumerate(IDS):
        goal = target[i : i + 1].double()
        code = ZPlus().initial(view, image_rngs(0, [name])).requires_grad_(True)
        first = method.encoder(goal).detach()
        feature = first.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([code, feature], lr=0.01)
        for _ in range(8):
            image = view.synthesis(view.affine(view.map_rows(code)), base=("b8.conv0", feature))
            loss = (image - goal).square().mean() + 10 * (feature - first).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                code.mul_(4 / code.norm(dim=-1, keepdim=True))
        torch.testing.assert_close(found.code[i], code[0], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.base[1][i], feature[0], rtol=1e-8, atol=1e-8)  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "space", "label", "scalars"),
    [
        ("optimize", "zplus", "Z+", 6 * 16),
        ("optimize", "s", "S", 8 * 16),
        ("bdinvert", "zplus", "F/Z+", 16 * 8 * 8 + 4 * 16),
        ("bdinvert", "pnplus", "F/W+(P_N)", 16 * 8 * 8 + 4 * 16),
        ("bdinvert", "s", "F/S", 16 * 8 * 8 + 5 * 16),
        ("bdinvert", "w", "F/W", 16 * 8 * 8 + 16),
        ("bdinvert", "fixed", "F alone", 16 * 8 * 8),
        ("optimize", "fixed", "fixed", 0),
    ],
)
def test_labels_and_numbers_of_scalars(method: Build, name: str, space: str, label: str, scalars: int):
    built = method(name, space)
    assert (built.label, built.num_scalars()) == (label, scalars)


def test_the_released_method_has_a_base_code_of_16_pixels(method: Build):
    assert method("bdinvert_released", "wplus").point == "b16.conv0"


def test_a_trained_generator_without_its_encoder_says_how_to_train_it():
    generator = toy_stylegan2()
    generator.trained = True
    with pytest.raises(WeightsError, match="no base-code encoder was trained for generator .* at b8.conv0. Train one"):
        BDInvert(generator, ZPlus(), Loss({"mse": 1.0}))


def test_no_method_asks_which_space_it_has():
    """The rule of the house, checked by reading: no isinstance of a space and no name of one."""
    import ast
    import inspect

    from zinv.methods import base, bdinvert, optimize, pti, stacked, steps

    for module in (base, bdinvert, optimize, pti, stacked, steps):
        tree = ast.parse(inspect.getsource(module))
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
        assert not imported & {"Z", "ZPlus", "W", "WPlus", "PN", "PNPlus", "S", "Fixed"}
    assert vars(steps)["descend"] is descend
