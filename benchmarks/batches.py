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


def compare(first: pd.DataFrame, other: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Per metric: the shift of the mean in half-widths, and the largest relative shift of an image."""
    return {
        metric: {
            "mean": round(float(first[metric].mean()), 6),
            "shift_in_half_widths": abs(first[metric].mean() - other[metric].mean()) / half_width(first[metric]),
            "largest_image": float((other[metric] / first[metric] - 1).abs().max()),
        }
        for metric in METRICS
    }


def half_width(values: pd.Series[float]) -> float:
    return mean_interval(values.to_numpy()).half_width


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=16, help="images")
    parser.add_argument("--steps", type=int, default=300, help="of an image")
    given = parser.parse_args(arguments)
    found = {}
    for label, row in ROWS.items():
        with tempfile.TemporaryDirectory() as folder:
            runs = {name: records(given, row, how, Path(folder) / name) for name, how in variants(given.num).items()}
        first, *others = runs
        found[label] = {name: compare(runs[first], runs[name]) for name in others}
        print(label, json.dumps(found[label]), file=sys.stderr, flush=True)
    shifts = [one["shift_in_half_widths"] for row in found.values() for way in row.values() for one in way.values()]
    print(json.dumps({**vars(given), "largest_shift_in_half_widths": max(shifts), "rows": found}, indent=1))
    return 0 if max(shifts) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
