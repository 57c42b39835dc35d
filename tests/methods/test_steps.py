"""L-BFGS against dense formulas and scipy, scales against a known Jacobian, and which settings exclude each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from zinv.config import build, compose, identity
from zinv.errors import ConfigError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.bdinvert import BDInvert
from zinv.methods.descent import Trace, descend
from zinv.methods.lbfgs import _Search, lbfgs
from zinv.methods.optimize import Optimize
from zinv.methods.steps import by_image, by_spread
from zinv.plans.make import seed_counts
from zinv.seeding import image_rngs
from zinv.spaces.w import WPlus
from zinv.spaces.z import ZPlus

WEIGHTS = {"value": 1.0}
TARGET = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(1)


def starts() -> Tensor:
    return torch.tensor([[-1.2, 1.0, 0.5], [2.0, -1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)


def run(x: Tensor, num_steps: int, trace: Trace | None = None) -> Tensor:
    x = x.clone().requires_grad_(True)
    lbfgs([x], lambda: {"value": rosenbrock(x)}, WEIGHTS, num_steps, 0.1, trace=trace)
    return x.detach()


def test_it_finds_the_minimum_as_scipys_does():
    found = run(starts(), 120)
    torch.testing.assert_close(found, torch.ones(3, 3, dtype=torch.float64), rtol=0, atol=1e-5)
    first = starts()[0].numpy()
    theirs = optimize.minimize(lambda x: float(rosenbrock(torch.tensor(x)[None])), first, method="L-BFGS-B")
    np.testing.assert_allclose(found[0], theirs.x, atol=1e-3)
    plain = starts().requires_grad_(True)
    descend([plain], lambda: {"value": rosenbrock(plain)}, WEIGHTS, 120, 0.1)
    assert (rosenbrock(found) < 1e-3 * rosenbrock(plain.detach())).all()


def test_every_image_is_for_itself():
    together, alone = run(starts(), 30), torch.cat([run(x[None], 30) for x in starts()])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)
    broken = starts()
    broken[1] = torch.nan
    assert torch.equal(run(broken, 30)[[0, 2]], together[[0, 2]])


def test_a_variables_last_value_is_the_best_that_was_tried():
    trace = Trace(every=1)
    found = run(starts(), 40, trace=trace)
    table = trace.table()
    assert table is not None and table["value"].shape == (40, 3)
    torch.testing.assert_close(rosenbrock(found), table["value"].min(0).values)


def test_a_trace_has_what_a_descent_that_ended_there_would_have():
    trace = Trace(every=1)
    run(starts(), 40, trace=trace)
    table = trace.table()
    assert table is not None
    assert (table["value"][1:] <= table["value"][:-1]).all()
    torch.testing.assert_close(table["value"][19], rosenbrock(run(starts(), 20)))


def test_a_direction_is_that_of_the_dense_formula():
    """H = (I - rho s y^T) H (I - rho y s^T) + rho s s^T (Nocedal and Wright 2006, eq. 6.17), from s^T y / y^T y I."""
    rng = torch.Generator().manual_seed(1)
    matrix = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    matrix = matrix @ matrix.T + torch.eye(4, dtype=torch.float64)
    points = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    search = _Search(points[:1], 0.1)
    search.f[:] = 1e9
    search.x, search.g = points[:1], points[:1] @ matrix
    for i in range(1, 4):
        search._remember(points[i : i + 1] - search.x, points[i : i + 1] @ matrix - search.g, torch.tensor([True]))
        search.x, search.g = points[i : i + 1], points[i : i + 1] @ matrix
    search._turn(torch.tensor([True]))
    s, y = points[1:] - points[:-1], (points[1:] - points[:-1]) @ matrix
    dense = torch.eye(4, dtype=torch.float64) * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for a, b in zip(s, y, strict=True):
        left = torch.eye(4, dtype=torch.float64) - torch.outer(a, b) / (a @ b)
        dense = left @ dense @ left.T + torch.outer(a, a) / (a @ b)
    torch.testing.assert_close(search.direction[0], -dense @ search.g[0])


def test_a_spread_scales_steps_about_one():
    found = by_spread(torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(found, torch.tensor([[3.0, 4.0]]) / 12.5**0.5)


def test_parts_that_change_the_picture_more_move_less():
    """Of a linear picture a c_0 + b c_1 + d f: the factors are inverse to a, b, d up to one for all."""
    rngs = image_rngs(0, ["a", "b"])
    rows = [torch.randn(48, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    deep = torch.randn(48, 32, generator=torch.Generator().manual_seed(2))
    code, feature = torch.zeros(2, 2, 64, requires_grad=True), torch.zeros(2, 2, 4, 4, requires_grad=True)

    def image() -> Tensor:
        shown = 4 * code[:, 0] @ rows[0].T + code[:, 1] @ rows[1].T + 2 * feature.flatten(1) @ deep.T
        return shown.view(2, 3, 4, 4)

    scales, base = by_image([code, feature], image, rngs)
    assert scales.shape == (2, 2, 1) and base.shape == (2, 1, 1, 1)
    torch.testing.assert_close(scales[:, 1] / scales[:, 0], torch.full((2, 1), 4.0), rtol=0.25, atol=0)
    torch.testing.assert_close(scales[:, 1, 0] / base[:, 0, 0, 0], torch.full((2,), 2.0), rtol=0.25, atol=0)
    frozen = by_image([code, feature.detach()], image, rngs)
    assert float(frozen[1]) == 1.0


@pytest.mark.parametrize("settings", [{"schedule": "cosine"}, {"precondition": "spread"}, {"precondition": "image"}])
@pytest.mark.parametrize("kind", [Optimize, BDInvert])
def test_other_steps_lead_elsewhere_and_lower(kind: Any, settings: dict[str, str]):
    method, rngs = kind(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=30, **settings), ["a", "b"]
    found = method.invert(TARGET, image_rngs(0, rngs))
    plain = kind(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=30).invert(TARGET, image_rngs(0, rngs))
    first = kind(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=0).invert(TARGET, image_rngs(0, rngs))
    assert not torch.allclose(found.code, plain.code)
    assert (found.losses["mse"] < first.losses["mse"]).all()


@pytest.mark.parametrize("kind", [Optimize, BDInvert])
def test_lbfgs_ends_on_the_sphere_and_lower_than_adam(kind: Any):
    def end(**settings: str) -> Any:
        method = kind(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=60, **settings)
        return method.invert(TARGET, image_rngs(0, ["a", "b"]))

    found, plain = end(optimiser="lbfgs"), end()
    torch.testing.assert_close(found.code.norm(dim=-1), torch.full(found.code.shape[:-1], 4.0))
    assert (found.losses["mse"] < plain.losses["mse"]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimiser": "lbfgs", "schedule": "cosine"}, r"^method\.schedule=cosine: L-BFGS finds its own steps\."),
        ({"optimiser": "lbfgs", "precondition": "image"}, r"^method\.precondition=image: L-BFGS finds its own"),
        (
            {"ramp": True, "schedule": "cosine"},
            r"^method\.schedule=cosine: method\.ramp=true is a schedule",
        ),
        ({"optimiser": "lbfgs", "jitter": 1.0}, r"^method\.optimiser=lbfgs: it needs a loss that stays the same"),
    ],
)
def test_settings_that_exclude_each_other_are_named(settings: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        Optimize(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), **settings)


def test_steps_name_a_run_where_they_are_not_the_papers():
    def name(*more: str) -> dict[str, Any]:
        found: dict[str, Any] = identity(compose(["generator=toy", "method=optimize", *more]))["method"]
        return found

    assert not {"schedule", "optimiser", "precondition"} & set(name())
    assert name("method.schedule=cosine") == {**name(), "schedule": "cosine"}


@pytest.mark.parametrize("method", ["optimize", "bdinvert"])
def test_a_seed_counts_where_factors_are_drawn(method: str):
    cell = ["generator=toy", "space=wplus"]
    assert seed_counts(compose([*cell, f"method={method}_image"]))
    assert not seed_counts(compose([*cell, f"method={method}_spread"]))
    a, b = (by_image([x], lambda x=x: x.sin().view(1, 3, 2, 2), image_rngs(seed, ["a"])) for seed, x in leaves())
    assert not torch.equal(a[0], b[0])


def leaves() -> list[tuple[int, Tensor]]:
    return [(seed, torch.linspace(0, 1, 12).view(1, 2, 6).requires_grad_(True)) for seed in (0, 1)]


@pytest.mark.parametrize("preset", ["cosine", "spread", "image", "lbfgs"])
@pytest.mark.parametrize("space", ["z", "w", "pnplus", "s", "fixed"])
@pytest.mark.parametrize("generator", ["toy", "toy_stylegan1"])
def test_no_space_is_refused(generator: str, space: str, preset: str):
    for method in ("optimize", "bdinvert"):
        config = compose(
            [f"generator={generator}", f"space={space}", f"method={method}_{preset}", "method.num_steps=2"]
        )
        parts = {group: build(config, group) for group in ("generator", "space", "loss")}
        inverter = build(config, "method", **parts)
        found = inverter.invert(TARGET, image_rngs(0, ["a", "b"]))
        assert found.code.isfinite().all() and found.losses["total"].isfinite().all()
