import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.conftest import PROTOCOL, table_row
from zinv.errors import ProtocolError
from zinv.evaluation.records import write_records
from zinv.evaluation.rows import Row, _memory
from zinv.evaluation.table import BOLD, MEMORY, STAR, Cell, indistinguishable, labels, make_table, pivot


def column(table, text):
    place = [head.text for head in table.heads].index(text)
    return [row[place] for row in table.rows]


def test_cells_are_means_with_half_a_t_interval(rows):
    (first, *_) = column(make_table(rows), "MSE")
    values = rows[0].values("mse")
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert first.text == f"{np.mean(values):.5f}" and first.half == f"{(high - low) / 2:.5f}"


def test_all_that_cannot_be_told_from_the_best_are_bold(rows):
    table = make_table(rows)
    for metric in ("MSE", "LPIPS", "ID"):
        assert [cell.bold for cell in column(table, metric)] == [True, True, False]
    assert BOLD in table.notes
    assert [head.arrow for head in table.heads][:4] == ["", "↓", "↓", "↑"]


def test_holm_counts_the_comparisons():
    base = np.linspace(0, 1, 12)
    wobble = np.tile([0.01, -0.01, 0.02, -0.02], 3)
    near = table_row("near", base + wobble + 0.0105)
    p = stats.ttest_rel(near.values("mse"), base).pvalue
    assert 0.025 < p < 0.05
    best, other = table_row("best", base), table_row("other", base + wobble + 0.0105)
    assert indistinguishable([best, near], PROTOCOL.metrics[0]) == {0}
    assert indistinguishable([best, near, other], PROTOCOL.metrics[0]) == {0, 1, 2}


def test_a_metric_of_the_losss_network_is_starred(rows):
    table = make_table(rows)
    assert [cell.star for cell in column(table, "LPIPS")] == [False, True, False] and STAR in table.notes
    assert not any(cell.star for cell in column(table, "MSE"))
    assert STAR not in make_table(rows[:1]).notes


def test_extras_show_what_runs_know(rows):
    table = make_table(rows)
    assert [cell.text for cell in column(table, "n")] == ["30"] * 3
    assert [cell.text for cell in column(table, "steps")] == ["1,200"] * 3
    assert "truncation" not in [head.text for head in table.heads]
    with_start = [
        replace(row, seconds=1.5, header=replace(row.header, settings={**row.header.settings, "start": "mean"}))
        for row in rows
    ]
    table = make_table(with_start, extras=["start", "seconds"])
    assert [head.text for head in table.heads][-2:] == ["start", "s/image"] and table.rows[0][-1].text == "1.5"


def test_memory_is_the_most_of_all_starts_and_processes(rows, tmp_path):
    starts = [{"peak_memory_bytes": [2 * 10**9, 10**9]}, {"peak_memory_bytes": [15 * 10**8]}, {}]
    (tmp_path / "run.json").write_text(json.dumps({"starts": starts}))
    memory = _memory(tmp_path / "run.json")
    table = make_table([replace(rows[0], memory=memory), rows[1]], extras=["memory"])
    assert [cell.text for cell in column(table, "GB")] == ["2", "–"] and MEMORY in table.notes
    assert MEMORY not in make_table(rows, extras=["memory"]).notes


def test_missing_values_are_counted_not_skipped(rows):
    frame = rows[0].records.copy()
    frame.loc[0, ["status", "mse", "lpips", "id"]] = ["failed", math.nan, math.nan, math.nan]
    frame.loc[1, "id"] = math.nan
    table = make_table([replace(rows[0], records=frame), *rows[1:]])
    assert [cell.text for cell in column(table, "missing")] == ["1 failed, 1 ID", "0", "0"]
    assert [cell.text for cell in column(table, "n")] == ["29", "30", "30"]


def test_a_metric_without_a_number_is_a_dash(rows):
    frame = rows[0].records.assign(id=math.nan)
    assert column(make_table([replace(rows[0], records=frame), *rows[1:]]), "ID")[0] == Cell("–")


def test_medians_on_request(rows):
    table = make_table(rows, columns=["mse"], median=True)
    assert column(table, "MSE median")[1].text == f"{np.median(rows[1].values('mse')):.5f}"


def test_two_protocols_are_refused(rows):
    other = replace(PROTOCOL, name="e4e", digest="e4" * 32)
    with pytest.raises(ProtocolError, match="two protocols .* 'F/Z\\+' by paper d1d1d1d1, 'W' by e4e e4e4e4e4"):
        make_table([rows[0], table_row("W", [0.1] * 30, protocol=other)])


def test_two_precisions_are_refused(rows):
    with pytest.raises(ProtocolError, match="two precisions .* 'Z' float32, 'W' bf16"):
        make_table([rows[2], table_row("W", [0.1] * 30, precision="bf16")])


def test_two_image_sets_are_refused_or_cut_to_the_common_ones(rows):
    part = table_row("W", np.linspace(0, 1, 20))
    with pytest.raises(ProtocolError, match="'F/Z\\+' has 'i20', 'W' has not \\(20 in common\\)"):
        make_table([rows[0], part])
    table = make_table([rows[0], part], common=True)
    assert [cell.text for cell in column(table, "n")] == ["20", "20"]
    assert "On the 20 images that all rows have." in table.notes
    with pytest.raises(ProtocolError, match="no image in common"):
        make_table([rows[0], table_row("W", [1.0], images=["x"])], common=True)


def test_other_pictures_under_the_same_names_are_refused(rows):
    frame = rows[1].records.assign(target="another")
    with pytest.raises(
        ProtocolError, match="'F/Z\\+' and 'F/W\\+\\(P_N\\)' were made from different pictures under the name 'i0'"
    ):
        make_table([rows[0], replace(rows[1], records=frame)])


def test_several_code_digests_are_told(rows):
    mixed = [rows[0], table_row("Z", rows[2].values("mse"), code="feedbeef")]
    assert "Several code digests: c0dec0de (30 images), feedbeef (30 images)." in make_table(mixed).notes
    assert not any("digests" in note for note in make_table(rows).notes)


def test_unknown_columns_name_the_nearest(rows):
    with pytest.raises(ProtocolError, match="mes: protocol paper has no such metric. Did you mean 'mse'?"):
        make_table(rows, columns=["mes"])
    with pytest.raises(ProtocolError, match="there is no run"):
        make_table([])


def test_rows_of_one_label_are_told_apart(rows):
    twins = [rows[0], table_row("F/Z+", rows[1].values("mse"), method="SAM")]
    assert labels(twins) == ["BDInvert F/Z+", "SAM F/Z+"]
    run = replace(rows[0], header=replace(rows[0].header, run="slug/12345678"))
    assert labels([run, replace(rows[0], header=replace(rows[0].header, run="slug/9abcdef0"))]) == [
        "BDInvert F/Z+ 12345678",
        "BDInvert F/Z+ 9abcdef0",
    ]


def test_pivot_puts_methods_down_and_spaces_across(rows):
    base = rows[1].values("mse")
    cells = [
        table_row("F/Z+", base, space="Z+"),
        table_row("PTI W", np.add(base, 0.1), method="PTI", space="W"),
        table_row("PTI Z+", np.add(base, 0.2), method="PTI", space="Z+"),
    ]
    table = pivot(cells, "mse")
    assert [head.text for head in table.heads] == ["MSE ↓", "Z+", "W"]
    assert [row[0].text for row in table.rows] == ["BDInvert", "PTI"]
    assert (
        table.rows[0][1].bold
        and table.rows[0][2] == Cell("–")
        and table.rows[1][2].text == f"{np.mean(base) + 0.1:.5f}"
    )
    with pytest.raises(ProtocolError, match="two runs are of method 'PTI' in space 'Z\\+'"):
        pivot([*cells, cells[2]], "mse")


def test_a_row_is_read_from_its_files(rows, tmp_path):
    header = replace(rows[0].header, run=f"slug/{tmp_path.name}")
    write_records(tmp_path / "records.csv", header, rows[0].records.to_dict("records"))
    (tmp_path / "times.csv").write_text("image,seconds,rank\ni0,1.0,0\ni1,2.0,1\nelsewhere,99,0\n")
    row = Row.read(tmp_path)
    assert row.header == header and row.seconds == 1.5 and row.label == "F/Z+"
    np.testing.assert_allclose(row.values("mse"), rows[0].values("mse"), rtol=1e-8)
