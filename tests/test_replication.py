"""`replication:` in an experiment, from its runs to the floor in its table and contrasts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from zinv.config import compose, expand, find_experiment, run_folder
from zinv.config.selection import reruns
from zinv.evaluation.records import read_records
from zinv.tables import find_rows

Cli = Callable[..., Any]
EXPERIMENT = """
base: {generator: toy, data: toy, data.num: 4, method.num_steps: 2, protocol: pixel, trainer: cpu}
rows:
  - {space: zplus}
  - {space: z}
contrasts:
  - {row: Z+, against: Z, metric: mse, claim: superior}
replication: 3
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "experiments" / "lab").mkdir(parents=True)
    path = tmp_path / "experiments" / "lab" / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def test_three_images_of_each_row_are_run_again_and_give_the_floor(cli: Cli, lab: Path):
    said = cli("run lab --jobs 1")
    assert said.status == 0, said.err
    experiment = find_experiment("lab")
    rows = expand(experiment)
    pairs = list(zip(rows, reruns(experiment, rows), strict=True))
    assert [compose(again)["seed"] for _, again in pairs] == [1, 1]
    for row, (own, again) in zip(find_rows(["lab"]).rows, pairs, strict=True):
        first, second = (read_records(run_folder(compose(each)) / "records.csv")[1] for each in (own, again))
        values = second.set_index("image")["mse"] - first.set_index("image")["mse"].loc[second["image"]]
        assert len(values) == 3
        low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
        assert row.floor("mse") == pytest.approx(max(abs(low), abs(high)))
    assert "3 images" in " ".join(said.out.split())
    shown = " ".join(cli("table lab --contrasts --format csv").out.split())
    assert "Z+,Z,mse" in shown


def test_until_the_reruns_are_there_nothing_is_shown_or_bold(cli: Cli, lab: Path):
    lab.write_text(EXPERIMENT.replace("replication: 3", "replication: 0"))
    assert cli("run lab --jobs 1").status == 0
    assert "**" in cli("table lab --format md").out
    lab.write_text(EXPERIMENT)
    assert all(math.isinf(row.floor("mse")) for row in find_rows(["lab"]).rows)
    out = cli("table lab --format md").out
    assert "**" not in out and "Not run again yet: Z+, Z." in out and "| yes |" not in out
