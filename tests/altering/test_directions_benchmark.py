"""`benchmarks/directions.py` on rows worked by hand."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from zinv.evaluation.edits import EditHeader, EditInfo

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "directions.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("directions_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shares_changes_and_drift(benchmark: ModuleType):
    """Ada's smile rises with every step, Bob's at random; age drifts by .3 at the ends on average."""
    smiles = {"ada": [-0.5, -0.2, 0.0, 0.3, 0.7], "bob": [0.3, -0.1, 0.0, 0.2, -0.1]}
    ages = {"ada": [0.2, 9.0, 0.0, 9.0, -0.4], "bob": [0.5, 9.0, 0.0, 9.0, 0.1]}
    rows = [
        (image, "smile", float(d), "ok", smile, smile, age)
        for image in smiles
        for d, smile, age in zip((-2, -1, 0, 1, 2), smiles[image], ages[image], strict=True)
    ]
    columns = ["image", "direction", "strength", "status", "judge_change", "judge_smile", "judge_age"]
    header = SimpleNamespace(edits=SimpleNamespace(line="smile"))
    found = benchmark.measure(header, pd.DataFrame(rows, columns=columns))["directions"]["smile"]
    assert (found["images"], found["steady"]) == (2, 0.5)
    assert found["change"] == pytest.approx((0.7 - 0.1) / 2 - (-0.5 + 0.3) / 2)
    assert found["drift"] == {"age": pytest.approx(0.3)} and found["mean_drift"] == pytest.approx(0.3)


def test_what_does_not_move_is_not_steady(benchmark: ModuleType):
    frame = pd.DataFrame({"image": ["ada"] * 3, "strength": [-1.0, 0.0, 1.0], "judge_change": [0.0, 0.0, 0.0]})
    assert benchmark.correlations(frame) == {"ada": 0.0}


def test_a_run_and_its_rerun_are_both_there(benchmark: ModuleType, tmp_path: Path):
    """Two runs of Z+ with other seeds, and one of W+."""
    for run, label, seed in (("aaaaaaaa", "Z+", 0), ("bbbbbbbb", "Z+", 1), ("cccccccc", "W+", 0)):
        info = EditInfo("smile", "1", "2", "step", ("smile",), (0.0, 1.0), "3")
        header = EditHeader(f"toy/{run}", "", {"label": label, "seed": seed}, info, 1, 1)
        lines = ["# zinv edits 1", *(f"# {key}: {json.dumps(value)}" for key, value in asdict(header).items())]
        rows = ["image,direction,strength,step,status,judge_change,judge_smile,note,reason"]
        rows += [f"ada,smile,{x},{x},ok,{x},{x},," for x in (0, 1)]
        (tmp_path / run).mkdir()
        (tmp_path / run / "edits.csv").write_text("\n".join([*lines, *rows]) + "\n")
    found = benchmark.collect([tmp_path])
    assert {key: entry["seed"] for key, entry in found.items()} == {"Z+ aaaaaaaa": 0, "Z+ bbbbbbbb": 1, "W+": 0}
