"""The scripts of benchmarks/ that judge: what they count, and that they do not accept everything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from zinv.errors import StoreError  # noqa: E402

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


def test_runs_of_another_size_are_not_taken_for_these():
    found = {
        fast.place(fast.parse(["--runs", "r", *size]), "F/W+", "float32") for size in ([], ["--num=4"], ["--steps=9"])
    }
    assert len(found) == 3


def test_each_precision_has_a_ceiling_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """On a GPU; its switches stand while it is measured."""
    switches: list[bool] = []
    monkeypatch.setattr(account, "_rate", lambda *args: switches.append(torch.backends.cudnn.allow_tf32) or 1.0)
    for name in ("randn", "empty"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, make=make, **k: make(*a, **{**k, "device": "meta"}))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert set(account.ceilings(torch.device("cuda"))) == {"float32", "bfloat16", "tf32", "memory"}
    assert switches == [False, False, False, False, True, True, False]


def test_a_precision_that_a_device_lacks_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        step.main([*SMALL, "--precision", "tf32"])
    assert "--precision tf32: a cpu device has none. Take float32 or bfloat16." in capsys.readouterr().err


def test_a_curve_ends_where_its_run_does(cli: Callable[..., Any]):
    assert cli("evaluate generator=toy method=optimize space=wplus method.num_steps=3 data.num=2 trace=2").status == 0
    (folder,) = Path("runs").glob("*/*")
    curve = curves.Curve.read(folder, "mse")
    assert curve is not None and [*curve.values.columns] == [0, 2, 3]
    ends = {
        path.parent.name: json.loads(path.read_text())["losses"]["mse"] for path in folder.glob("images/*/result.json")
    }
    assert curve.values[3].to_dict() == pytest.approx(ends)
    assert (curve.values[3] < curve.values[2]).all()
    with pytest.raises(StoreError, match=r"^no loss term lpips\.$"):
        curves.Curve.read(folder, "lpips")


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
