"""The inner loop against a loop written out with torch's own Adam."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zinv.methods import descent
from zinv.methods.descent import Trace, cosine, descend, ramp

GOALS = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHTS = {"square": 1.0, "quartic": 0.5}


def terms(x: Tensor, goals: Tensor = GOALS) -> dict[str, Tensor]:
    distance = x - goals
    return {"square": distance.square().mean(1), "quartic": distance.pow(4).mean(1)}


def leaf(num: int = 3) -> Tensor:
    return torch.zeros(num, 5, dtype=torch.float64, requires_grad=True)


def test_it_is_adam_on_the_sum_over_images():
    ours, plain = leaf(), leaf()
    descend([ours], lambda: terms(ours), WEIGHTS, 50, 0.01)
    optimiser = torch.optim.Adam([plain], lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    for _ in range(50):
        values = terms(plain)
        optimiser.zero_grad()
        (values["square"] + 0.5 * values["quartic"]).sum().backward()
        optimiser.step()
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_it_is_adam_written_out():
    ours = leaf(1)
    descend([ours], lambda: {"square": (ours - GOALS[:1]).square().mean(1)}, {"square": 1.0}, 3, 0.1)
    x = torch.zeros(1, 5, dtype=torch.float64)
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    for step in (1, 2, 3):
        g = 2 * (x - GOALS[:1]) / 5
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x - 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(ours.detach(), x, rtol=1e-12, atol=1e-12)


def test_several_variables_share_one_optimiser():
    a, b = leaf(), leaf()
    descend([a, b], lambda: terms(a + b), WEIGHTS, 20, 0.01)
    assert torch.equal(a, b)
    frozen = torch.zeros(3, 5, dtype=torch.float64)
    descend([frozen, a], lambda: terms(a + frozen), WEIGHTS, 2, 0.01)
    assert not frozen.any()


def test_with_nothing_to_optimise_nothing_is_rendered():
    descend([torch.zeros(3)], lambda: pytest.fail("a step was made"), WEIGHTS, 5, 0.1)


def test_a_schedule_gives_each_steps_rate():
    ours, seen = leaf(), []

    def rate(step: int) -> float:
        seen.append(step)
        return 0.1 if step < 2 else 0.0

    descend([ours], lambda: terms(ours), WEIGHTS, 4, rate)
    plain = leaf()
    descend([plain], lambda: terms(plain), WEIGHTS, 2, 0.1)
    assert torch.equal(ours, plain)
    assert seen[-4:] == [0, 1, 2, 3]


def test_a_rate_may_be_a_whole_number():
    ours, plain = leaf(), leaf()
    descend([ours], lambda: terms(ours), WEIGHTS, 2, 1)
    descend([plain], lambda: terms(plain), WEIGHTS, 2, 1.0)
    assert torch.equal(ours, plain)


def test_stopped_images_stay_and_the_others_go_on():
    ours, free = leaf(), leaf()
    calls = 0

    def stopped(values: dict[str, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.tensor([False, calls == 5, False])

    kept: list[Tensor] = []
    descend([ours], lambda: terms(ours), WEIGHTS, 20, 0.01, lambda: kept.append(ours.detach().clone()), stopped)
    descend([free], lambda: terms(free), WEIGHTS, 20, 0.01)
    assert torch.equal(ours[[0, 2]], free[[0, 2]])
    assert torch.equal(ours[1], kept[3][1])
    assert not torch.equal(kept[3][1], kept[2][1])


@pytest.mark.parametrize("patience", [1, 10])
def test_stopped_images_leave_the_batch_and_change_nothing(monkeypatch: pytest.MonkeyPatch, patience: int):
    """Whether they are computed further, and how seldom one looks, moves no number."""
    monkeypatch.setattr(descent, "_patience", lambda device: patience)
    sizes: list[int] = []

    def run(leave: bool) -> tuple[Tensor, dict[str, Tensor] | None]:
        ours, trace, calls = leaf(), Trace(every=1), 0

        def stopped(values: dict[str, Tensor]) -> Tensor:
            nonlocal calls
            calls += 1
            return torch.tensor([calls >= 14, calls == 5, False])

        def part(places: Tensor, variables: list[Tensor]) -> Callable[[], dict[str, Tensor]]:
            def some() -> dict[str, Tensor]:
                sizes.append(len(places))
                return terms(variables[0], GOALS[places])

            return some

        descend([ours], lambda: terms(ours), WEIGHTS, 25, 0.01, None, stopped, trace, part=part if leave else None)
        return ours.detach(), trace.table()

    (left, traced), (stayed, _) = run(leave=True), run(leave=False)
    assert torch.equal(left, stayed)
    assert sizes == ([2] * 9 + [1] * 11 if patience == 1 else [2] * 10 + [1] * 4)
    assert traced is not None and traced["square"].shape == (25, 3)
    assert torch.equal(traced["square"][20:, 1], traced["square"][20, 1].expand(5))


def test_scales_are_factors_of_the_steps():
    ours, plain, factors = leaf(), leaf(), torch.rand(1, 5, dtype=torch.float64) + 0.5
    descend([ours], lambda: terms(ours), WEIGHTS, 1, 0.01, scales=[factors])
    descend([plain], lambda: terms(plain), WEIGHTS, 1, 0.01)
    torch.testing.assert_close(ours, plain * factors, rtol=1e-12, atol=0)


def test_it_ends_with_the_last_image():
    ours, free = leaf(), leaf()
    calls: list[int] = []

    def stopped(values: dict[str, Tensor]) -> Tensor:
        calls.append(1)
        return torch.full((3,), len(calls) >= 3) | torch.tensor([len(calls) == 2, False, False])

    descend([ours], lambda: terms(ours), WEIGHTS, 20, 0.01, stopped=stopped)
    descend([free], lambda: terms(free), WEIGHTS, 2, 0.01)
    assert len(calls) == 3
    assert torch.equal(ours[1:], free[1:]) and not torch.equal(ours[0], free[0])


def test_a_nan_in_one_image_leaves_the_others_untouched():
    goals = GOALS.clone()
    goals[1, 2] = math.nan
    ours, free = leaf(), leaf()
    descend([ours], lambda: terms(ours, goals), WEIGHTS, 20, 0.01)
    descend([free], lambda: terms(free), WEIGHTS, 20, 0.01)
    assert torch.equal(ours[[0, 2]], free[[0, 2]])
    assert ours[1].isnan().any()


def test_after_step_is_called_after_every_update():
    ours = leaf()
    norms: list[float] = []

    def retract() -> None:
        with torch.no_grad():
            ours.div_(ours.norm(dim=1, keepdim=True))
        norms.append(float(ours.detach().norm(dim=1)[0]))

    descend([ours], lambda: terms(ours), WEIGHTS, 7, 0.01, retract)
    assert norms == pytest.approx([1.0] * 7)


def test_a_trace_keeps_the_values_before_each_due_step():
    ours, trace = leaf(), Trace(every=2)
    descend([ours], lambda: terms(ours), WEIGHTS, 5, 0.01, trace=trace)
    table = trace.table()
    assert table is not None
    assert table["step"].tolist() == [0, 2, 4]
    assert table["square"].shape == (3, 3)
    torch.testing.assert_close(table["square"][0], GOALS.square().mean(1))
    assert (table["square"][-1] < table["square"][0]).all()


def test_no_trace_is_kept_unless_asked_for():
    ours, trace = leaf(), Trace(every=0)
    descend([ours], lambda: terms(ours), WEIGHTS, 5, 0.01, trace=trace)
    assert trace.table() is None


def test_the_projectors_ramp():
    assert [ramp(t, 100) for t in (0, 1, 2, 5, 50, 75)] == pytest.approx([0, 0.2, 0.4, 1, 1, 1])
    assert ramp(90, 100) == pytest.approx(0.5 - 0.5 * math.cos(math.pi * 0.4), abs=1e-6)
    assert ramp(99, 100) == pytest.approx(0.5 - 0.5 * math.cos(math.pi * 0.04), abs=1e-6)


def test_the_cosine_schedule():
    rates = [cosine(t, 100) for t in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 96))
    assert rates[5:] == sorted(rates[5:], reverse=True) and 0 < rates[-1] < 1e-3
    assert cosine(0, 1) == 1.0
