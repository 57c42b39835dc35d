"""Do bfloat16 descents end where float32 descents do? Whole runs on rendered portraits, image by image.

    python benchmarks/fast.py --num 32 > benchmarks/results/fast.json

Each row is run in both precisions and scored in float32. Accepted is what holds for MSE and perceptual distance: the
95 % interval of the mean over images of (bfloat16 - float32), relative to the mean in float32, lies within 1 %, and so
does that of the shift of the difference between two spaces. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from zinv.statistics import Interval, mean_interval

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = {
    "W+": ("method=optimize", "space=wplus", "method.lr=0.1"),
    "Z+": ("method=optimize", "space=zplus", "method.lr=0.1"),
    "F/W+": ("method=bdinvert", "space=wplus", "method.lr=0.05"),
    "F/Z+": ("method=bdinvert", "space=zplus", "method.lr=0.05"),
}
PAIRS = (("W+", "Z+"), ("F/W+", "F/Z+"))
METRICS = ("mse", "portrait_perceptual")
LIMIT = 0.01


def place(given: argparse.Namespace, row: str, precision: str) -> Path:
    """Folder of one run: another size has another."""
    return Path(given.runs) / f"{given.num}x{given.steps}" / row.replace("/", "") / precision


def records(given: argparse.Namespace, row: str, precision: str) -> pd.DataFrame:
    """Run a row, and read what came out; a run that is there is not run again."""
    folder = place(given, row, precision)
    settings = ("loss=demo", "protocol=demo", "data=portraits", "generator=portraits", "trainer=cpu", f"runs={folder}")
    size = (f"data.num={given.num}", f"data.batch_size={given.batch}", f"method.num_steps={given.steps}")
    command = [sys.executable, "-m", "zinv", "evaluate", *settings, *size, *ROWS[row], f"trainer.precision={precision}"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=sys.stderr, check=True)
    return pd.read_csv(next(folder.glob("*/*/records.csv")), comment="#", index_col="image")


def seconds(given: argparse.Namespace, row: str, precision: str) -> float:
    """Of an image."""
    starts = json.loads(next(place(given, row, precision).glob("*/*/run.json")).read_text())["starts"]
    return next((float(start["seconds_per_image"]) for start in starts if start.get("seconds_per_image")), math.nan)


def judged(interval: Interval) -> dict[str, object]:
    """An interval in percent, and whether it lies within the limit."""
    low, high = 100 * interval.low, 100 * interval.high
    accepted = -LIMIT <= interval.low and interval.high <= LIMIT
    return {"percent": 100 * interval.value, "low": low, "high": high, "n": interval.n, "accepted": accepted}


def compare(tables: dict[tuple[str, str], pd.DataFrame], metric: str) -> dict[str, object]:
    """Each row's difference between the precisions, and its difference between two rows, in means of float32."""
    exact = {row: tables[row, "float32"][metric] for row in ROWS}
    change = {row: tables[row, "bfloat16"][metric] - exact[row] for row in ROWS}
    rows = {row: judged(mean_interval(change[row] / exact[row].mean())) for row in ROWS}
    shifts = {}
    for a, b in PAIRS:
        both = (exact[a].mean() + exact[b].mean()) / 2
        shifts[f"{b} - {a}"] = judged(mean_interval((change[b] - change[a]) / both))
    return {"rows": rows, "shifts": shifts}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=32, help="images")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--runs", help="folder that runs are kept in, to go on later; by default one for this time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        given.runs = given.runs or temporary
        tables = {key: records(given, *key) for key in itertools.product(ROWS, ("float32", "bfloat16"))}
        times = {f"{row} {precision}": seconds(given, row, precision) for row, precision in tables}
    found = {metric: compare(tables, metric) for metric in METRICS}
    judgements = [each["accepted"] for part in found.values() for kind in part.values() for each in kind.values()]  # type: ignore[attr-defined]
    size = {"images": given.num, "steps": given.steps, "batch": given.batch}
    print(json.dumps({**size, **found, "seconds_per_image": times, "accepted": all(judgements)}, indent=1))
    return 0 if all(judgements) else 1


if __name__ == "__main__":
    sys.exit(main())
