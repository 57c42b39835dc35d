"""Does a table depend on the batch size or on the number of processes? Whole runs in float32, against each other.

    python benchmarks/batches.py --num 16 --steps 300 > benchmarks/results/batches.json

Rounding differs between batch sizes, and hundreds of steps amplify it. Each row is run whole with one batch of all
images, and again with other batches and with two processes; a mean may move by a tenth of its 95 % half-width.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from zinv.statistics import mean_interval

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = {
    "W+": ("method=optimize", "space=wplus", "method.lr=0.1"),
    "Z+": ("method=optimize", "space=zplus", "method.lr=0.1"),
    "F/Z+": ("method=bdinvert", "space=zplus", "method.lr=0.05"),
}
METRICS = ("mse", "ssim", "portrait_perceptual", "portrait_identity")
LIMIT = 0.1


class Shift(TypedDict):
    """What becomes of a metric."""

    mean: float
    shift_in_half_widths: float
    difference_in_half_widths: list[float]
    largest_image: float


def variants(num: int) -> dict[str, tuple[str, ...]]:
    """Ways to run the same row; the first is what the others are held against."""
    return {
        "all at once": (f"data.batch_size={num}",),
        "batch 4": ("data.batch_size=4",),
        "batch 1": ("data.batch_size=1",),
        "two processes": (f"data.batch_size={num}", "trainer.devices=2"),
    }


def records(given: argparse.Namespace, row: tuple[str, ...], variant: tuple[str, ...], folder: Path) -> pd.DataFrame:
    """Run, and read what came out."""
    settings = ("loss=demo", "protocol=demo", "data=portraits", "generator=portraits", "trainer=cpu", f"runs={folder}")
    size = (f"data.num={given.num}", f"method.num_steps={given.steps}")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "zinv", "evaluate", *settings, *size, *row, *variant]
    subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=sys.stderr, check=True)
    return pd.read_csv(next(folder.glob("*/*/records.csv")), comment="#", index_col="image")


def compare(first: pd.DataFrame, other: pd.DataFrame) -> dict[str, Shift]:
    """Per metric: the mean's shift in half-widths, the interval of its paired difference, the largest of an image."""
    return {
        metric: {
            "mean": round(float(first[metric].mean()), 6),
            "shift_in_half_widths": abs(first[metric].mean() - other[metric].mean()) / half_width(first[metric]),
            "difference_in_half_widths": difference(first[metric], other[metric]),
            "largest_image": float((other[metric] / first[metric] - 1).abs().max()),
        }
        for metric in METRICS
    }


def difference(first: pd.Series[float], other: pd.Series[float]) -> list[float]:
    """95 % t-interval of the paired difference, in half-widths of the first: with 0 in it, no way is better."""
    found, unit = mean_interval((other - first).to_numpy()), half_width(first)
    return [round(found.low / unit, 4), round(found.high / unit, 4)]


def half_width(values: pd.Series[float]) -> float:
    return mean_interval(values.to_numpy()).half_width


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=16, help="images")
    parser.add_argument("--steps", type=int, default=300, help="of an image")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS], default=[*ROWS], help="of the table; all by default")
    given = parser.parse_args(arguments)
    found = {}
    for label, row in ((label, ROWS[label]) for label in given.rows):
        with tempfile.TemporaryDirectory() as folder:
            runs = {name: records(given, row, how, Path(folder) / name) for name, how in variants(given.num).items()}
        first, *others = runs
        found[label] = {name: compare(runs[first], runs[name]) for name in others}
        print(label, json.dumps(found[label]), file=sys.stderr, flush=True)
    cells = [cell for row in found.values() for way in row.values() for cell in way.values()]
    shifts = [cell["shift_in_half_widths"] for cell in cells]
    print(json.dumps({**vars(given), "largest_shift_in_half_widths": max(shifts), "rows": found}, indent=1))
    return 0 if max(shifts) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
