"""Graphs and compiled steps where there are none: the plain step, with one line why."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods import acceleration
from zinv.methods.acceleration import How, Terms, accelerated, make_step
from zinv.methods.base import Inverter
from zinv.methods.bdinvert import BDInvert
from zinv.methods.descent import _Going
from zinv.methods.optimize import Optimize
from zinv.methods.pti import PTI
from zinv.networks.stylegan2 import StyledConv
from zinv.seeding import image_rngs
from zinv.spaces import statistics
from zinv.spaces.base import LatentSpace
from zinv.spaces.p import PN, PNPlus
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus

TARGET = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_told", set())


def code(how: How) -> torch.Tensor:
    method = BDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=5)
    with accelerated(how):
        return method.invert(TARGET, image_rngs(0, ["a", "b"])).code


def test_a_cpu_has_no_graphs_and_says_so_once(capsys: pytest.CaptureFixture[str]):
    assert torch.equal(code("graph"), code("plain"))
    code("graph")
    said = capsys.readouterr().err
    assert said == "trainer.step=graph: a cpu device has no CUDA graphs; steps are made plainly.\n"


def test_a_compiler_that_fails_leaves_the_plain_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(torch, "compile", broken)
    assert torch.equal(code("compile"), code("plain"))
    said = capsys.readouterr().err
    assert said == "trainer.step=compile: no C++ compiler was found; steps are made plainly.\n"


def test_a_failure_in_the_first_compiled_step_is_one_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def late(function: object, **kwargs: object) -> object:
        def call() -> None:
            raise ValueError("unsupported operator")

        return call

    monkeypatch.setattr(torch, "compile", late)
    assert torch.equal(code("compile"), code("plain"))
    assert "unsupported operator; steps are made plainly." in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jitter", "locality"])
def test_what_draws_at_each_step_is_left_plain(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A step that tries the compiler would take a draw, and all numbers after it would be others."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    loss = Loss({"mse": 1.0})
    if kind == "jitter":
        method: Inverter = Optimize(toy_stylegan2(), ZPlus(), loss, num_steps=3, jitter=1.0)
    else:
        method = PTI(toy_stylegan2(), ZPlus(), loss, num_steps=3, pivot_steps=1, jitter=0.0, noise="fixed")

    def total(how: How) -> torch.Tensor:
        with accelerated(how):
            return method.invert(TARGET, image_rngs(0, ["a", "b"])).losses["total"]

    assert torch.equal(total("compile"), total("plain"))
    assert capsys.readouterr().err == "trainer.step=compile: each step draws anew; steps are made plainly.\n"


class NoReads(TorchDispatchMode):
    """Refuses what a GPU waits for: a number read from it, or data laid on it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("space", [Z, ZPlus, W, WPlus, PN, PNPlus, S])
@pytest.mark.parametrize("kind", [Optimize, BDInvert])
def test_a_step_reads_nothing(
    kind: type[Optimize | BDInvert], space: type[LatentSpace], monkeypatch: pytest.MonkeyPatch
):
    """After the first, which may prepare what is kept; so it can be captured."""
    seen, evaluate = [], _Going.values

    def values(self: _Going) -> Terms:
        with NoReads() if seen else nullcontext():
            seen.append(evaluate(self))
        return seen[-1]

    monkeypatch.setattr(_Going, "values", values)
    monkeypatch.setattr(statistics, "NUM", 2000)
    loss = Loss({"mse": 1.0, "lpips_random": 1.0} if space is ZPlus else {"mse": 1.0})
    kind(toy_stylegan2(), space(), loss, num_steps=3).invert(TARGET, image_rngs(0, ["a", "b"]))
    assert len(seen) == 3


def test_a_layer_compiles_in_one_piece():
    layer = StyledConv(4, 4, 4, 8, False, None).requires_grad_(False)
    x, style = torch.randn(1, 4, 8, 8), torch.randn(1, 4)
    plain = layer(x, style, None)  # its weight's squares are known from now on
    compiled = torch.compile(layer, dynamic=False, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, style, None), plain)


@pytest.mark.slow
def test_a_compiled_step_gives_the_plain_ones_values_and_gradients():
    x = torch.randn(3, 4, requires_grad=True)

    def terms() -> dict[str, torch.Tensor]:
        return {"value": x.square().mean(1)}

    step = {}
    for how in ("plain", "compile"):
        with accelerated(how):
            values = make_step([x], terms, lambda found: found["value"].sum(), steady=True)()
        assert x.grad is not None
        step[how] = values["value"].detach(), x.grad.clone()
    torch.testing.assert_close(step["plain"], step["compile"])


def test_random_terms_are_never_captured(capsys: pytest.CaptureFixture[str]):
    x = torch.randn(3, 4, device="cpu", requires_grad=True)

    class Cuda:
        type = "cuda"

    class Leaf:
        device = Cuda()
        grad = None

    with accelerated("graph"):
        make_step([Leaf()], lambda: {"v": x.sum(1)}, lambda found: found["v"].sum(), steady=False)()  # type: ignore[list-item]
    assert "trainer.step=graph: each step draws anew; steps are made plainly." in capsys.readouterr().err
