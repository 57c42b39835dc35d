"""Short forms of `benchmarks/read.py` and `benchmarks/hostile.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]


def result_of(script: str, out: Path, *arguments: object) -> dict:
    command = [sys.executable, CHECKOUT / "benchmarks" / script, "--out", out, *map(str, arguments)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(out.read_text())


def test_hostile_files_are_counted_by_kind_and_outcome(tmp_path: Path):
    found = result_of("hostile.py", tmp_path / "hostile.json", "--every", 20)
    assert found["findings"] == []
    assert set(found["outcomes"]) == {"read", "refused"}
    assert found["files"] == sum(found["outcomes"].values()) > 100
    assert {"call", "cut", "one bit", "nested storage"} <= set(found["by_kind"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_reading_takes_at_most_one_and_a_half_times_the_files_size(tmp_path: Path):
    """At 256 pixels the published widths make files of 100 MB, of which the mapping networks are 8 MB."""
    found = result_of("read.py", tmp_path / "read.json", "--resolution", 256)
    assert len(found["files"]) == 9
    assert found["largest_peak_per_byte"] <= 1.5
