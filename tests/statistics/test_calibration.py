"""The short form of benchmarks/calibration.py, and what its committed results say."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TABLES = 400


@pytest.fixture(scope="module")
def calibration():
    import sys

    spec = importlib.util.spec_from_file_location("calibration", BENCHMARKS / "calibration.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    return module


def test_at_the_margin_five_percent_of_tables_err(calibration):
    for case in calibration.AT_MARGIN:
        if case.test == "t":
            found = calibration.rejections(case, TABLES, seed=7)
            assert found == pytest.approx(0.05, abs=calibration.monte_carlo(0.05, TABLES)), case.name


def test_edits_counted_as_independent_err_far_too_often(calibration):
    assert calibration.rejections(calibration.AT_MARGIN[0], TABLES, seed=7, unit="edit") > 0.2


def test_power_is_as_computed(calibration):
    for case in calibration.BEYOND:
        expected = calibration.computed(case)
        found = calibration.rejections(case, TABLES, seed=7)
        assert found == pytest.approx(expected, abs=calibration.monte_carlo(expected, TABLES)), case.name


def test_its_means_are_those_of_per_image(calibration):
    ((new, reference),) = calibration.tables(calibration.AT_MARGIN[0], 1, 0)
    for x in (new, reference):
        assert calibration.by_image(x) == pytest.approx(x.mean((1, 2)).tolist())
        assert np.array_equal(x[..., 0], x[..., 2])  # seeds change nothing


def test_the_committed_results_hold():
    found = json.loads((BENCHMARKS / "results" / "statistics.json").read_text(encoding="utf-8"))
    assert found["tables"] == 10_000
    for name, share in found["type_one_error"].items():
        assert share == pytest.approx(0.05, abs=found["monte_carlo_99"]), name
    for name, entry in found["power"].items():
        assert entry["found"] == pytest.approx(entry["computed"], abs=0.013), name
    assert found["family_of_7"]["holm"] < 0.05 + found["monte_carlo_99"]
    assert found["type_one_error_edits_as_units"] > 0.2 and found["family_of_7"]["uncorrected"] > 0.15
