from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.conftest import PROTOCOL, table_row
from zinv.errors import ProtocolError, StoreError
from zinv.evaluation.results import (
    Published,
    against,
    control_line,
    differences,
    read_results,
    write_results,
)
from zinv.presets import experiment_folders


@dataclass(frozen=True)
class Control:
    row: str = "F alone"
    plain: str = "W+"
    full: str = "F/Z+"
    metric: str = "mse"


@pytest.fixture
def controlled():
    """W+ at .10, the control at .05, F/Z+ at .04, so that the control has 5 of 6 of the gain."""
    wobble = np.tile([0.01, -0.01], 8)
    base = {"base code": "b8.conv0"}
    return [
        table_row("Z", 0.5 + wobble),
        table_row("W+", 0.1 + wobble),
        table_row("F/Z+", 0.04 + wobble / 10, **base),
        table_row("F/Z", 0.05 + wobble / 4, **base),
        table_row("F alone", 0.05 + wobble / 5, **base),
    ]


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_results_have_a_line_for_each_run_and_metric(rows, tmp_path):
    write_results(tmp_path / "results.csv", rows)
    frame = read_results(tmp_path / "results.csv")
    assert list(frame["row"]) == [label for label in ("F/Z+", "F/W+(P_N)", "Z") for _ in range(3)]
    line = frame[(frame["row"] == "Z") & (frame["metric"] == "mse")].iloc[0]
    assert line["mean"] == pytest.approx(np.mean(rows[2].values("mse")), rel=1e-8)
    assert (line["n"], line["missing"], line["commit"], line["protocol"]) == (30, 0, "abc", "d1d1d1d1")
    assert (tmp_path / "results.csv").read_text().startswith("# protocol paper")


def test_results_are_the_same_bytes_each_time(rows, tmp_path):
    for name in ("a", "b"):
        write_results(tmp_path / name, rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_differences_from_the_committed_file(rows, tmp_path):
    path = tmp_path / "results.csv"
    write_results(path, rows)
    assert {line[4] for line in texts(differences(rows, path))} == {"+0"}
    worse = table_row("F/Z+", np.multiply(rows[0].values("mse"), 1.1))
    lines = texts(differences([worse], path))
    assert lines[0][:2] == ["F/Z+", "mse"] and lines[0][5] == "+10"
    assert ["Z", "mse"] in [line[:2] for line in lines if line[6] == "not run now"]
    other = table_row("F/Z+", rows[0].values("mse"), protocol=replace(PROTOCOL, digest="e4" * 32))
    assert texts(differences([other], path))[0][6] == "another protocol"


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match="results.csv: not a results file"):
        read_results(tmp_path / "results.csv")
    with pytest.raises(StoreError, match="nothing.yaml: not a file of published numbers"):
        Published.read(tmp_path / "nothing.yaml")


def test_published_numbers_stand_beside_ours():
    published = Published("Table 1", 50, {"Z": {"mse": 0.5, "ssim": 0.9}, "W": {"mse": 9.0}})
    row = table_row("Z", np.linspace(0.3, 0.6, 20))
    ((space, metric, mean, value, difference, interval, inside),) = texts(against([row], published))
    # by hand: mean .45, t(.975, 19) s sqrt(1/20 + 1/50)
    half = stats.t.ppf(0.975, 19) * np.std(row.values("mse"), ddof=1) * np.sqrt(1 / 20 + 1 / 50)
    assert (space, metric, mean, value, difference) == ("Z", "MSE", "0.45000", "0.50000", "-0.05000")
    assert interval == f"{0.45 - half:.5f} to {0.45 + half:.5f}" and inside == "yes"
    assert texts(against([table_row("W", np.linspace(0.3, 0.6, 20))], published))[0][-1] == "no"
    with pytest.raises(ProtocolError, match="Table 1 has no number of S. Choose from: W, Z"):
        against([table_row("S", [0.1, 0.2])], published)


def test_the_papers_table_is_shipped():
    path = next(
        folder / "table1" / "paper.yaml"
        for folder in experiment_folders()
        if (folder / "table1" / "paper.yaml").is_file()
    )
    paper = Published.read(path)
    assert paper.images == 50 and len(paper.values) == 8
    assert paper.values["F/Z+"] == {"mse": 0.01742, "ssim": 0.81477}
    assert paper.values["F/W+(P_N)"] == {"mse": 0.01743, "ssim": 0.81479}


def test_a_controls_share_of_the_gain(controlled):
    line = control_line(controlled, Control())
    assert line.startswith("Control: F alone (0.05000) has 83% of what F/Z+ (0.04000) gains over W+ (0.10000) in MSE (")
    assert control_line(controlled, Control(plain="best", full="best")) == line
    # of higher_is_better ID = 1 - MSE the shares are the same
    by_id = control_line(controlled, Control(plain="best", full="best", metric="id"))
    assert "has 83% of what F/Z+ (0.9600) gains over W+ (0.9000) in ID" in by_id


def test_a_control_without_a_gain_or_a_row_says_so(controlled):
    assert control_line(controlled, Control(full="Z")) == "Control: Z (0.50000) gains nothing over W+ (0.10000) in MSE."
    with pytest.raises(ProtocolError, match="control plain Wp: no such row. Did you mean 'W\\+'?"):
        control_line(controlled, Control(plain="Wp"))
    with pytest.raises(ProtocolError, match="control full best: no such row"):
        control_line([row for row in controlled if "F/" not in row.label], Control(full="best"))
