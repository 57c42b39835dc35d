"""Identity of edits without the pictures that have no face, worked by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from zinv.evaluation.faces import left_out

NONE = float("nan")


def frame(*values: float) -> pd.DataFrame:
    """Ada at -1, 0 and 1, then Ben."""
    keys = [(image, "smile", strength) for image in ("ada", "ben") for strength in (-1.0, 0.0, 1.0)]
    rows = [(*key, "ok", value) for key, value in zip(keys, values, strict=True)]
    return pd.DataFrame(rows, columns=["image", "direction", "strength", "status", "identity"])


def test_each_rows_own_faces_and_those_of_all_rows():
    """Z+ lacks Ada's at -1, W+ Ben's at 1; both have one at Ada's 1 and Ben's -1."""
    frames = {"Z+": frame(NONE, 1.0, 0.6, 0.4, 1.0, 0.2), "W+": frame(0.9, 1.0, 0.3, 0.5, NONE, NONE)}
    alone, together, num = left_out(frames, "identity")
    assert alone == {"Z+": pytest.approx((0.6 + (0.4 + 0.2) / 2) / 2), "W+": pytest.approx(((0.9 + 0.3) / 2 + 0.5) / 2)}
    assert together == {"Z+": pytest.approx((0.6 + 0.4) / 2), "W+": pytest.approx((0.3 + 0.5) / 2)} and num == 2


def test_an_image_without_any_face_is_in_no_mean():
    alone, _, _ = left_out({"Z+": frame(NONE, 1.0, NONE, 0.4, 1.0, 0.2)}, "identity")
    assert alone == {"Z+": pytest.approx(0.3)}
    assert math.isnan(left_out({"Z+": frame(*[NONE] * 6)}, "identity")[0]["Z+"])
