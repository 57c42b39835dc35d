"""Numbers that move only when somebody means it: see README.md beside this file."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PINNED = Path(__file__).with_name("toy.csv")
CELLS = [("optimize", "wplus"), ("optimize", "zplus"), ("bdinvert", "zplus")]


def measured(cli: Callable[..., Any], method: str, space: str) -> list[float]:
    cli(f"evaluate generator=toy method={method} space={space} method.num_steps=20 data.batch_size=4 trainer=cpu")
    (path,) = Path("runs").glob(f"{method}-{space}-toy/*/records.csv")
    lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
    return [float(row["mse"]) for row in csv.DictReader(lines)]


@pytest.mark.skipif("ZINV_PIN" not in os.environ, reason="pins are written on request")
def test_write_pins(cli: Callable[..., Any]):
    with open(PINNED, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "space", "toy-00000", "toy-00001", "toy-00002", "toy-00003"])
        for method, space in CELLS:
            writer.writerow([method, space, *(f"{value:.6g}" for value in measured(cli, method, space))])


@pytest.mark.parametrize(("method", "space"), CELLS)
def test_the_toys_errors_are_the_pinned_ones(cli: Callable[..., Any], method: str, space: str):
    with open(PINNED, encoding="utf-8") as file:
        (row,) = (row for row in csv.DictReader(file) if (row["method"], row["space"]) == (method, space))
    pinned = [float(value) for name, value in row.items() if name.startswith("toy-")]
    assert measured(cli, method, space) == pytest.approx(pinned, rel=1e-3)
