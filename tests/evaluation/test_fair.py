"""Edits at equal change, against values worked by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from zinv.errors import ProtocolError
from zinv.evaluation.edit_means import per_image, summaries
from zinv.evaluation.edits import EditHeader, EditInfo
from zinv.evaluation.fair import (
    alike,
    area,
    at_common,
    difference,
    fair_table,
    judged_at_common,
    largest_common,
    make_side,
    reached_by_all,
)
from zinv.evaluation.records import MetricInfo

COLUMNS = ["image", "direction", "strength", "status", "identity"]


def frame(*rows: tuple[str, str, float, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


A = frame(
    ("ada", "smile", 0.5, "ok", 0.9),
    ("ada", "smile", 1.0, "ok", 0.6),
    ("ada", "smile", -0.5, "ok", 0.8),
    ("ada", "smile", 0.0, "ok", 1.0),
    ("ben", "smile", 0.5, "ok", 0.4),
    ("ben", "smile", 1.0, "ok", float("nan")),
    ("ben", "smile", -0.5, "ok", 0.5),
)
B = frame(
    ("ada", "smile", 0.5, "ok", 0.7),
    ("ada", "smile", 1.0, "failed", float("nan")),
    ("ada", "smile", -0.5, "failed", float("nan")),
    ("ben", "smile", 0.5, "ok", 0.3),
    ("ben", "smile", 1.0, "ok", 0.2),
    ("ben", "smile", -0.5, "ok", 0.6),
)
START = {"ada": 1.0, "ben": 0.8}


def test_rows_meet_at_the_largest_change_that_both_reach():
    a, b = make_side("A", A, "identity", START), make_side("B", B, "identity", START)
    common = largest_common([a, b])
    assert common == {("ada", "smile", True): 0.5, ("ben", "smile", True): 1.0, ("ben", "smile", False): 0.5}
    assert (a.reach_rate, b.reach_rate) == (1.0, pytest.approx(4 / 6))
    assert at_common(a, common) == {"ada": 0.9, "ben": pytest.approx((0.0 + 0.5) / 2)}  # no face: 0
    assert at_common(b, common) == {"ada": 0.7, "ben": pytest.approx((0.2 + 0.6) / 2)}


def test_a_difference_is_taken_where_the_two_rows_meet():
    """Whatever a third one reaches: Ada at .5, Ben at 1 (no face in A: 0) and at -.5."""
    a, b = make_side("A", A, "identity", START), make_side("B", B, "identity", START)
    expected = {"ada": 0.9 - 0.7, "ben": (0.0 + 0.5) / 2 - (0.2 + 0.6) / 2}
    assert difference(a, b) == pytest.approx(expected)
    assert difference(b, a) == pytest.approx({image: -value for image, value in expected.items()})


def test_what_has_no_inversion_is_not_reached():
    """B has no inversion of Ben, whose three edits it then lacks; Ada's two of three it fails at."""
    a, b = alike([make_side(name, f, "identity", START) for name, f in (("A", A), ("B", B[B["image"] == "ada"]))])
    assert (a.reach_rate, b.reach_rate) == (1.0, pytest.approx(1 / 6))
    assert len(a.asked) == len(b.asked) == 4
    assert largest_common([a, b]) == {("ada", "smile", True): 0.5}


def test_the_judge_says_what_it_sees_at_the_common_change():
    """Along the sign: a smile less by .4 is a change of .4 towards -.5."""
    seen = make_side("A", A.assign(judge_change=[0.4, 0.8, -0.4, 0.0, 0.3, float("nan"), 0.1]), "identity", START)
    common = {("ada", "smile", True): 1.0, ("ada", "smile", False): 0.5, ("ben", "smile", True): 1.0}
    assert judged_at_common(seen, common) == {"ada": pytest.approx((0.8 + 0.4) / 2)}


def test_figures_show_the_edits_that_all_rows_reach():
    """B fails at two of the six edits; A has a seventh, of strength 0, which B was not asked for."""
    frames, told = reached_by_all({"A": A, "B": B})
    edits = [("ada", 0.5), ("ben", 0.5), ("ben", 1.0), ("ben", -0.5)]
    assert {label: [*zip(f["image"], f["strength"], strict=True)] for label, f in frames.items()} == {
        "A": edits, "B": edits,
    }  # fmt: skip
    assert told == ("On the 4 of 7 edits that all rows reach.",)
    assert reached_by_all({"A": A})[1] == ()
    with pytest.raises(ProtocolError, match="no edit is reached by all rows"):
        reached_by_all({"A": A, "B": B[B["status"] == "failed"]})


def test_the_area_is_a_mean_over_the_way():
    a = make_side("A", A, "identity", START)
    ways = area(a, {("ada", "smile", True): 1.0, ("ben", "smile", True): 1.0})
    assert ways["ada"] == pytest.approx((0.5 * (1.0 + 0.9) / 2 + 0.5 * (0.9 + 0.6) / 2) / 1.0)
    assert ways["ben"] == pytest.approx(0.5 * (0.8 + 0.4) / 2 + 0.5 * (0.4 + 0.0) / 2)
    assert area(a, {("ada", "smile", True): 0.5})["ada"] == pytest.approx(0.95)


def test_identity_of_an_image_over_its_edits():
    assert per_image(A, "identity").to_dict() == {
        "ada": pytest.approx((0.9 + 0.6 + 0.8) / 3), "ben": pytest.approx((0.4 + 0.0 + 0.5) / 3),
    }  # fmt: skip
    assert per_image(A, "identity", zero=True)["ada"] == pytest.approx((0.9 + 0.6 + 0.8 + 1.0) / 4)
    assert per_image(A, "identity", missing=float("nan"))["ben"] == pytest.approx(0.45)


def header(amount: str, strengths: tuple[float, ...]) -> EditHeader:
    metric = MetricInfo("identity", "identity", True)
    info = EditInfo("edits 1: smile.", "1", "2", amount, ("smile",), strengths, "3", (metric,))
    return EditHeader("run", "commit", {}, info, 2, 2)


def test_a_table_has_the_share_that_was_reached_and_no_mean_over_that_alone():
    ((metric, values),) = summaries(header("attribute", (-0.5, 0.5, 1.0)), B)
    assert (metric.name, values.to_dict()) == ("edits_reached", {"ada": pytest.approx(1 / 3), "ben": 1.0})
    names = [metric.name for metric, _ in summaries(header("step", (-0.5, 0.0, 0.5)), A)]
    assert names == ["edited_identity", "edited_identity_all"]
    assert [metric.name for metric, _ in summaries(header("step", (0.5,)), A)] == ["edited_identity"]


def test_rows_without_calibrated_edits_are_refused(tmp_path: Path):
    from zinv.evaluation.records import Header, ProtocolInfo
    from zinv.evaluation.rows import Row

    protocol = ProtocolInfo("demo", "line", "3", ())
    records = pd.DataFrame({"image": ["ada"], "status": ["ok"], "target": [""], "code": ["c"]})
    row = Row(Header("run", "commit", {}, {"label": "Z+"}, protocol, 1), records, folder=tmp_path)
    with pytest.raises(ProtocolError, match=r"Z\+: it has no edits. Make some with direction=NAME direction.amount="):
        fair_table([row])
    stepped = Row(row.header, records, folder=tmp_path, edits=header("step", (1.0,)).edits)
    with pytest.raises(ProtocolError, match="by steps of the direction, and equal steps are no equal edits"):
        fair_table([stepped])
