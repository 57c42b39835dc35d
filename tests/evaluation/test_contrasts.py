from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.conftest import table_row
from zinv.config.experiment import Contrast
from zinv.errors import ProtocolError
from zinv.evaluation.contrasts import AFTER, PAPER, contrast_table, size_table
from zinv.evaluation.declared import declare, declared_before
from zinv.evaluation.formats import to_terminal
from zinv.evaluation.table import make_table
from zinv.statistics import bootstrap_interval, mean_interval

MSE = Contrast("F/Z+", "F/W+(P_N)", "mse", 0.005)
ID = Contrast("F/W+(P_N)", "Z", "id", claim="superior")


def cells(table):
    return [
        dict(zip((head.text for head in table.heads), (cell.text for cell in row), strict=True)) for row in table.rows
    ]


def again(row, shift, num=8, wobble=0.0):
    """The row with its rerun, whose first images are off by a shift."""
    rng = np.random.default_rng(1)
    mse = np.array(row.values("mse"))[:num] + shift + wobble * rng.standard_normal(num)
    return replace(row, rerun=table_row(row.label, mse), num_rerun=8)


def test_contrasts_are_one_sided_and_corrected(rows):
    first, second = cells(contrast_table(rows, [MSE, ID]))
    d = np.subtract(rows[0].values("mse"), rows[1].values("mse"))
    p = stats.ttest_1samp(d, 0.005, alternative="less").pvalue
    assert (first["row"], first["against"], first["metric"]) == ("F/Z+", "F/W+(P_N)", "mse")
    assert float(first["p"]) == pytest.approx(p, rel=1e-4)
    assert float(first["p (Holm)"]) == pytest.approx(p, rel=1e-4)  # the larger of two p-values stays as it is
    assert float(second["p (Holm)"]) == pytest.approx(2 * float(second["p"]), rel=1e-4)
    assert float(second["difference"]) > 0
    assert (first["claim"], second["claim"]) == ("not worse by 0.005", "better")
    assert (first["shown"], second["shown"]) == ("yes", "yes")
    with pytest.raises(ProtocolError, match="no row 'F/Zp'. Did you mean 'F/Z\\+'?"):
        contrast_table(rows, [replace(MSE, row="F/Zp")])


def test_sizes_stand_beside_the_tests(rows):
    (line,) = cells(size_table(rows, [MSE]))
    a, b = (np.array(row.values("mse")) for row in rows[:2])
    ends = bootstrap_interval(a - b)
    assert line["95 % BCa"] == f"{ends.low:.4g} to {ends.high:.4g}"
    assert float(line["median"]) == pytest.approx(np.median(a - b), rel=1e-3)
    assert float(line["d"]) == pytest.approx((a - b).mean() / (a - b).std(ddof=1) * (1 - 3 / (4 * 29 - 1)), rel=0.01)
    assert int(line["images for .8"]) > 1


def test_margins_in_decibels_and_percent(rows):
    decibel, percent = cells(
        contrast_table(rows, [replace(MSE, margin=2.0, unit="dB"), replace(MSE, margin=20.0, unit="percent")])
    )
    assert decibel["claim"] == "not worse by 2 dB" and percent["claim"] == "not worse by 20 %"
    a, b = (np.array(row.values("mse")) for row in rows[:2])
    assert float(percent["difference"]) == pytest.approx(100 * (a.mean() / b.mean() - 1), rel=1e-4)
    lost = table_row("F/Z+", -np.array(rows[0].values("mse")))
    with pytest.raises(
        ProtocolError, match="F/Z\\+ against F/W\\+\\(P_N\\) in mse: a margin in dB is for positive values"
    ):
        contrast_table([lost, *rows[1:]], [replace(MSE, unit="dB")])


def test_the_papers_test_comes_with_its_contradiction(rows):
    table = contrast_table(rows, [Contrast("F/Z+", "F/W+(P_N)", "mse", test="paper")])
    d = np.subtract(rows[0].values("mse"), rows[1].values("mse"))
    assert float(cells(table)[0]["p"]) == pytest.approx(stats.ttest_1samp(d, 1e-8, alternative="less").pvalue, rel=1e-4)
    assert cells(table)[0]["claim"] == "not worse by 1e-08" and PAPER in table.notes
    assert PAPER not in contrast_table(rows, [MSE]).notes


def test_a_direction_against_the_metrics_is_told(rows):
    table = contrast_table(rows, [replace(ID, direction="less")])
    assert "F/W+(P_N) against Z: direction: less, but higher ID is better." in table.notes
    assert cells(table)[0]["shown"] == "no"


def test_a_contrast_declared_after_the_run_is_marked_and_not_corrected_for(rows):
    table = contrast_table(rows, [MSE, ID], before=[True, False])
    first, second = cells(table)
    assert second["shown"] == AFTER == "declared after the run" and second["p (Holm)"] == "–"
    assert first["p (Holm)"] == first["p"]
    assert any(note.startswith("declared after the run: experiment.yaml had no such contrast") for note in table.notes)
    assert "declared after the run" in " ".join(to_terminal(table, 200).split())


def test_what_was_declared_is_kept_once(tmp_path):
    record, folders = tmp_path / "experiments" / "demo.json", [tmp_path / "a" / "11", tmp_path / "b" / "22"]
    runs = {"F/Z+": "a/11", "F/W+(P_N)": "b/22", "Z": "c/33"}
    assert not declared_before(record, runs, MSE)
    declare(record, folders, [MSE])
    assert declared_before(record, runs, MSE)
    declare(record, folders, [MSE, replace(MSE, margin=0.1)])  # a margin that was changed later is another contrast
    assert declared_before(record, runs, MSE) and not declared_before(record, runs, replace(MSE, margin=0.1))
    (tmp_path / "c" / "33" / "images" / "ada").mkdir(parents=True)  # begun before there was a record
    declare(record, [*folders, tmp_path / "c" / "33"], [MSE, ID])
    assert not declared_before(record, runs, ID)


def test_the_floor_is_how_far_a_rerun_may_lie(rows):
    row = again(rows[0], 0.001, wobble=1e-4)
    found = mean_interval(np.subtract(row.rerun.values("mse"), row.values("mse")[:8]))
    assert row.floor("mse") == pytest.approx(found.high) and found.high > 0.001
    assert rows[0].floor("mse") == 0
    assert replace(row, rerun=None).floor("mse") == again(rows[0], 0.0, num=7).floor("mse") == float("inf")


def test_nothing_under_the_floor_is_bold_or_shown(rows):
    def bold(some):
        return [[cell.bold for cell in row][1] for row in make_table(some).rows]

    assert bold(rows) == [True, True, False]
    assert bold([again(row, 0.001) for row in rows]) == [True, True, False]
    assert bold([again(row, 0.5) for row in rows]) == [False, False, False]  # Z is .1 off
    assert bold([replace(row, num_rerun=8) for row in rows]) == [False, False, False]
    (quiet,) = cells(contrast_table([again(row, 0.001) for row in rows], [ID]))
    (loud,) = cells(contrast_table([again(row, 0.5) for row in rows], [ID]))
    assert (quiet["shown"], loud["shown"]) == ("yes", "under the floor") and quiet["p"] == loud["p"]


def test_the_table_says_what_was_not_run_again(rows):
    notes = make_table([again(rows[0], 0.0), *(replace(row, num_rerun=8) for row in rows[1:])]).notes
    assert "Nothing is bold or called shown that lies within what running 8 images of a cell again changes." in notes
    assert "Not run again yet: F/W+(P_N), Z." in notes
