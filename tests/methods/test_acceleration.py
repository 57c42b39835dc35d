"""Graphs and compiled steps where there are none: the plain step, with one line why."""

from __future__ import annotations

import pytest
import torch

from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods import acceleration
from zinv.methods.acceleration import How, accelerated, make_step
from zinv.methods.bdinvert import BDInvert
from zinv.seeding import image_rngs
from zinv.spaces.z import ZPlus

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
