"""What edits change beside identity: attribute change, drift and truth, against values worked by hand."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.evaluation.test_store import PROTOCOL, fill, start
from zinv.evaluation.edit_means import count_words, effects, is_effect, summaries
from zinv.evaluation.edits import EditHeader, EditInfo, merge_edits, read_edits, write_image
from zinv.evaluation.effects import beside, effect_tables, equal_effect_tables
from zinv.evaluation.formats import format_table
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row
from zinv.evaluation.scores import merge_records
from zinv.evaluation.table import Cell, Head, Table, make_table

MSE, IDENTITY = MetricInfo("mse", "MSE", False, digits=5), MetricInfo("identity", "identity", True)
INFO = EditInfo("edits 1: smile, age.", "1" * 64, "2" * 64, "step", ("smile", "age"), (-1.0, 0.0, 1.0),
                PROTOCOL.digest, (IDENTITY,))  # fmt: skip
NAN = float("nan")


def line(image: str, direction: str, strength: float, seen: tuple[float, ...], truth: float = NAN) -> dict[str, Any]:
    """A row of `edits.csv`: what the judge sees of smile, age and yaw; the first network sees twice that."""
    changes = dict(zip(("smile", "age", "yaw"), seen, strict=True))
    row = {"image": image, "direction": direction, "strength": strength, "step": strength, "status": "ok"}
    row |= {"identity": 0.5, "mse": 0.5, "truth_mse": truth, "judge_change": changes.get(direction, NAN)}
    row |= {"attribute_change": 2 * changes.get(direction, NAN)}
    row |= {f"judge_{name}": value for name, value in changes.items()}
    return row | {f"first_{name}": 2 * value for name, value in changes.items()}


ADA = [
    line("ada", "smile", -1.0, (-0.4, 0.1, 0.2), 0.01),
    line("ada", "smile", 0.0, (0.0, 0.0, 0.0), 0.0),
    line("ada", "smile", 1.0, (0.6, -0.3, 0.0), 0.03),
    line("ada", "age", -1.0, (0.2, 0.1, 0.0), 0.05),  # the wrong way
    line("ada", "age", 1.0, (0.0, 0.5, -0.4), NAN),
]
BEN = [line("ben", "smile", 1.0, (0.2, 0.0, 0.4), 0.02), line("ben", "age", 1.0, (0.1, 0.3, 0.1), 0.04)]


def means(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {metric.name: values.to_dict() for metric, values in effects(frame, [MSE, IDENTITY])}


def test_change_drift_and_truth_of_an_image_are_means_over_its_edits():
    found = means(pd.DataFrame(ADA + BEN))
    assert list(found) == [
        "edited_change", "edited_drift", "edited_drift_smile", "edited_drift_age", "edited_drift_yaw",
        "edited_truth_mse",
    ]  # fmt: skip
    assert found["edited_change"] == pytest.approx({"ada": (0.4 + 0.6 - 0.1 + 0.5) / 4, "ben": (0.2 + 0.3) / 2})
    others = [(0.1 + 0.2) / 2, (0.3 + 0.0) / 2, (0.2 + 0.0) / 2, (0.0 + 0.4) / 2]
    assert found["edited_drift"]["ada"] == pytest.approx(sum(others) / 4)
    assert found["edited_drift_smile"] == pytest.approx({"ada": (0.2 + 0.0) / 2, "ben": 0.1})
    assert found["edited_drift_age"] == pytest.approx({"ada": (0.1 + 0.3) / 2, "ben": 0.0})
    assert found["edited_drift_yaw"] == pytest.approx({"ada": (0.2 + 0.0 + 0.0 + 0.4) / 4, "ben": (0.4 + 0.1) / 2})
    assert found["edited_truth_mse"] == pytest.approx({"ada": (0.01 + 0.03 + 0.05) / 3, "ben": 0.03})


def test_without_a_judge_the_first_network_counts():
    frame = pd.DataFrame(BEN)
    alone = frame.drop(columns=[name for name in frame if str(name).startswith("judge_")])
    assert means(alone)["edited_change"] == pytest.approx({"ben": 2 * (0.2 + 0.3) / 2})


def test_a_direction_of_no_attribute_has_drift_alone():
    found = means(pd.DataFrame([line("ada", "ganspace3", 1.0, (0.1, 0.2, -0.6))]))
    assert "edited_change" not in found and "edited_truth_mse" not in found
    assert found["edited_drift"] == pytest.approx({"ada": 0.3})


def test_what_was_not_measured_has_no_column():
    frame = pd.DataFrame(BEN)[["image", "direction", "strength", "status", "identity"]]
    assert means(frame) == {}
    assert means(pd.DataFrame([line("ada", "smile", 0.0, (0.0, 0.0, 0.0), 0.0)])) == {}


def test_what_has_no_truth_is_counted():
    header = EditHeader("run", "commit", {}, INFO, 1, 1)
    assert count_words(header, pd.DataFrame(ADA)) == "5 (1 without truth)"


def make_run(tmp_path: Path, info: EditInfo, rows: list[dict[str, Any]]) -> Row:
    """A run of two images, `toy-00000` and `toy-00001`, which stand for Ada and Ben."""
    run, ids = start(tmp_path), ["toy-00000", "toy-00001"]
    fill(run, ids)
    merge_records(run, PROTOCOL, ids)
    for name, known in zip(ids, ("ada", "ben"), strict=True):
        write_image(run, info, name, [{**row, "image": name} for row in rows if row["image"] == known])
    merge_edits(run, info, ids)
    return Row.read(run.path)


@pytest.fixture
def row(tmp_path: Path) -> Row:
    return make_run(tmp_path, INFO, ADA + BEN)


def cells(table: Table) -> dict[str, str]:
    return {
        f"{head.text} {head.arrow}".strip(): cell.text for head, cell in zip(table.heads, table.rows[0], strict=True)
    }


def test_the_blocks_under_a_table(row: Row):
    hidden = {metric.label for metric in row.metrics if is_effect(metric)}
    assert hidden and not hidden & {head.text for head in make_table([row]).heads}
    tables = effect_tables([row])
    assert list(tables) == ["effects", "drift"]
    assert cells(tables["effects"]) == {
        "space": row.label, "change": "0.300", "drift ↓": "0.150", "MSE, to the truth ↓": "0.0300", "n edited": "2",
    }  # fmt: skip
    assert cells(tables["drift"]) == {
        "space": row.label, "drift of age ↓": "0.10", "drift of smile ↓": "0.10", "drift of yaw ↓": "0.20",
        "n edited": "2",
    }  # fmt: skip
    assert "By direction.judge, which fitted nothing." in tables["effects"].notes[0]
    assert effect_tables([replace(row, header=replace(row.header, protocol=PROTOCOL))]) == {}


def test_fewer_images_of_a_column_are_told(tmp_path: Path):
    row = make_run(tmp_path, INFO, ADA + [line("ben", "ganspace3", 1.0, (0.1, 0.2, 0.3))])
    table = effect_tables([row])["effects"]
    assert cells(table)["n edited"] == "2"
    assert table.notes[-1] == f"{row.label}: of 2 images, change 1, MSE, to the truth 1."


def test_an_experiment_may_ask_for_them_in_its_table(row: Row):
    heads = [head.text for head in make_table([row], columns=["mse", "edited_drift"]).heads]
    assert heads[1:3] == ["MSE", "drift"]


@pytest.mark.parametrize("fmt", ["terminal", "markdown", "latex", "csv"])
def test_every_format_has_them(row: Row, fmt: str):
    for table in effect_tables([row]).values():
        text = format_table(table, fmt)
        assert "drift" in text and "n edited" in text
        assert max(map(len, format_table(table, "terminal").splitlines())) <= 160


def test_nine_attributes_fit_a_terminal_without_breaking_a_number(row: Row):
    heads = [
        Head("space"),
        *(Head(f"drift of {name}", "↓") for name in ["eye_opening", "background", "pitch"] * 3),
        Head("n edited"),
    ]
    body = (Cell("F/W+(P_N)"), *[Cell("0.12", half="0.01")] * 9, Cell("50"))
    lines = format_table(Table(tuple(heads), (body,)), "terminal").splitlines()
    assert sum(text.count("0.12 ± 0.01") == 9 for text in lines) == 1


def test_a_csv_has_them_beside(row: Row):
    wide = beside([make_table([row]), *effect_tables([row]).values()])
    text = "".join(f"{text}\n" for text in format_table(wide, "csv").splitlines() if not text.startswith("#"))
    (found,) = csv.DictReader(io.StringIO(text))
    assert found["drift of yaw"] == "0.20" and found["n edited"] == "2" and found["MSE"]
    assert list(found).count("space") == 1


def test_calibrated_edits_are_compared_at_equal_change(tmp_path: Path):
    """Ada meets at an amount of 1 in both rows, Ben at .5: what the first row does beyond that does not count."""
    info = replace(INFO, amount="attribute", strengths=(0.5, 1.0), identity=(MSE,))
    failed = {"image": "ben", "direction": "smile", "strength": 1.0, "status": "failed", "reason": "not reached"}
    ada = [line("ada", "smile", 0.5, (0.5, 0.9, 0.9), 0.9), line("ada", "smile", 1.0, (0.9, 0.2, 0.0), 0.1)]
    near = line("ben", "smile", 0.5, (0.4, 0.0, 0.4), 0.2)
    one = make_run(tmp_path / "one", info, [*ada, near, line("ben", "smile", 1.0, (1.0, 0.9, 0.9), 0.9)])
    two = make_run(tmp_path / "two", info, [*ada, near, failed])
    assert effect_tables([one, two]) == {}
    rows = [replace(row, header=replace(row.header, run=f"slug/{i:08d}")) for i, row in enumerate((one, two))]
    table = equal_effect_tables(rows)["effects"]
    texts = [[cell.text for cell in body[1:]] for body in table.rows]
    assert texts == [[f"{(0.9 + 0.4) / 2:.3f}", f"{(0.1 + 0.2) / 2:.3f}", "0.1500", "2"]] * 2


@pytest.mark.required
def test_measured_edits_reach_tables_contrasts_and_results(cli: Callable[..., Any], tmp_path: Path):
    """From the command line, on portraits, against the rows of `edits.csv`."""
    base = {
        "generator": "portraits", "data": "portraits", "data.num": 2, "method.num_steps": 1, "loss": "pixel",
        "protocol": "demo", "direction": "portraits", "direction.names": ["smile", "age"], "direction.kid": None,
        "direction.strengths": [-1, 1], "direction.control": False,
    }  # fmt: skip
    content = {"base": base, "rows": [{"space": "wplus"}]}
    (tmp_path / "experiments" / "lab").mkdir(parents=True)
    (tmp_path / "experiments" / "lab" / "experiment.yaml").write_text(json.dumps(content))
    said = cli("run lab --jobs 1 --update")
    assert said.status == 0, said
    (folder,) = Path("runs").glob("optimize*/*")
    header, frame = read_edits(folder)
    names = [str(name) for name in frame if str(name).startswith("judge_") and name != "judge_change"]
    others = pd.DataFrame({name: frame[name].abs() for name in names})
    for name in ("smile", "age"):
        others.loc[frame["direction"] == name, f"judge_{name}"] = math.nan
    drift = others.mean(axis=1).groupby(frame["image"]).mean().mean()
    truth = frame.groupby("image")["truth_portrait_identity"].mean().mean()
    for fmt in ("terminal", "md", "latex", "csv"):
        out = cli(f"table lab --format {fmt}").out
        assert f"{drift:.3f}" in out and f"{truth:.4f}" in out and "to the truth" in out
    assert f"{drift:.3f}" in said.out
    committed = pd.read_csv(tmp_path / "experiments" / "lab" / "results.csv", comment="#").set_index("metric")
    assert committed.loc["edited_drift", "mean"] == pytest.approx(drift, rel=1e-6)
    assert committed.loc["edited_truth_portrait_identity", "n"] == 2
    assert {metric.name for metric, _ in summaries(header, frame)} <= {*committed.index}
