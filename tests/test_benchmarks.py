"""The scripts of benchmarks/ that judge: what they count, and that they do not accept everything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import account  # noqa: E402
import curves  # noqa: E402
import editing  # noqa: E402
import fast  # noqa: E402
import plain  # noqa: E402
import step  # noqa: E402

SMALL = ["--resolution", "32", "--max-width", "8", "--steps", "3", "--rounds", "1", "--threads", "1", "--no-account"]


def test_operations_are_those_that_torch_counts():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    weight, up = torch.randn(4, 3, 3, 3, requires_grad=True), torch.randn(4, 5, 3, 3, requires_grad=True)
    matrix = torch.randn(5, 6, requires_grad=True)

    def run() -> None:
        shown = F.conv_transpose2d(F.conv2d(x, weight, padding=1), up, stride=2).mean((2, 3))
        (shown @ matrix).sum().backward()

    with account.Counter() as ours:
        run()
    with FlopCounterMode(display=False) as theirs:
        run()
    assert ours.operations == theirs.get_total_flops()
    with account.Counter() as one:
        x.detach() + 1
    assert one.bytes == 2 * 4 * x.numel()


def test_a_convolution_by_channel_is_counted_by_channel():
    """Each of 3 * 8 * 8 outputs of two images meets 9 weights, and the input's gradient costs as much."""
    x, weight = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(3, 1, 3, 3)
    with account.Counter() as counter:
        F.conv2d(x, weight, padding=1, groups=3).sum().backward()
    assert counter.operations == 2 * (2 * 2 * 3 * 64 * 9)


def test_the_loops_are_one_in_float64(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("lpips")
    assert step.main([*SMALL, "--dtype", "float64", "--json", "--tolerance", "1e-9"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["relative_difference"] < 1e-9
    assert {"seconds_per_step", "plain_seconds_per_step", "ratio", "peak_bytes"} <= set(found)


def test_a_loop_that_descends_on_something_else_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("lpips")
    losses = plain.losses
    monkeypatch.setattr(plain, "losses", lambda *args: 1.001 * losses(*args))
    assert step.main([*SMALL, "--json"]) == 1
    assert "error: the two losses differ by more than 0.0001 of the plain one." in capsys.readouterr().err


def tables(change: float, spread: float) -> dict[tuple[str, str], pd.DataFrame]:
    rng, found = np.random.default_rng(0), {}
    for row in fast.ROWS:
        exact = pd.DataFrame({"mse": rng.uniform(0.5, 1.5, 32)})
        found[row, "float32"] = exact
        found[row, "bfloat16"] = exact * (1 + change) + spread * rng.standard_normal((32, 1))
    return found


@pytest.mark.parametrize(
    ("change", "spread", "accepted"), [(0.0, 0.005, True), (0.02, 0.005, False), (0.0, 0.2, False)]
)
def test_another_precision_is_accepted_within_a_percent_alone(change: float, spread: float, accepted: bool):
    found = fast.compare(tables(change, spread), "mse")
    rows = found["rows"]
    assert isinstance(rows, dict) and all(row["accepted"] == accepted for row in rows.values())
    assert rows["W+"]["n"] == 32 and abs(rows["W+"]["percent"] - 100 * change) < 10


def test_where_a_curve_reaches_its_reference():
    values = pd.DataFrame({0: [2.0, 2.2, 1.9], 10: [1.004, 1.1, 0.9], 20: [0.9, 1.0, 0.8]}, index=["a", "b", "c"])
    end = pd.Series({"a": 1.0, "b": 1.1, "c": 0.9})
    table = curves.lines(curves.Curve("W+, 300", values, 0.5), end)
    assert [line["percent"] for line in table] == ["103.333", "0.133333", "-10"]
    assert curves.reached(table) == "step 10, 5 s"
    assert curves.reached(table[:1]) == "not reached"


def test_edits_are_counted_and_timed(capsys: pytest.CaptureFixture[str]):
    """Two images of the toy, a channel of S, three strengths; controls cost pictures and count as no edits."""
    run = "generator=toy data=toy space=s method.num_steps=1 protocol=demo trainer=cpu"
    edits = "direction=smile direction.names=[b8.conv0:3] direction.strengths=-1,0,1 direction.batch_size=4"
    assert editing.main(["--num", "2", *run.split(), *edits.split()]) == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("without_controls", "with_controls"):
        made = found[name]
        assert made["edits"] == 6 and made["per_second"] == pytest.approx(6 / made["seconds"])
        assert made["peak_bytes"] > 1e7
    assert found["synthesis_per_second"] > found["without_controls"]["per_second"] and found["batch_size"] == 4
