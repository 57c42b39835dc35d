"""Quality against steps and seconds, from the traces of runs: where each row reaches what its reference ends at.

    python benchmarks/curves.py runs/*/* > experiments/steps/curves.csv

Rows are called `SPACE, STEPS, …`; the reference of a space is its row `SPACE, 1200 steps`. A line is a traced step of a
row, or its end: mean over images of a loss term with its 95 % half-width, seconds an image until there (what comes
before the first step is shared out over all), and the 95 % interval of the paired difference from the reference's end,
in percent of it. On stderr: from which step on a row is within 1 %.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zinv.errors import StoreError
from zinv.evaluation.rows import Row
from zinv.statistics import mean_interval

REFERENCE = "1200 steps"
MARGIN = 1.0  # percent
COLUMNS = ("row", "step", "seconds", "mean", "half_width", "percent", "low", "high", "n")


@dataclass(frozen=True)
class Curve:
    """A row's values by image and step, and seconds a step."""

    label: str
    values: pd.DataFrame
    seconds: float

    @classmethod
    def read(cls, folder: Path, column: str) -> Curve | None:
        """The curve of a run folder; None without a trace.

        Raises:
            StoreError: there are no records, or there is no such term.
        """
        row = Row.read(folder)
        traces = {path.parent.name: pd.read_csv(path, index_col="step") for path in folder.glob("images/*/trace.csv")}
        if not traces:
            return None
        last = f"loss_{column}"
        if last not in row.done:
            raise StoreError(f"no loss term {column}.")
        steps = int(str(row.setting("num_steps")))
        values = pd.DataFrame({name: trace[column] for name, trace in traces.items() if column in trace}).T
        values[steps] = row.done[last]
        return cls(row.label, values, (row.seconds or float("nan")) / steps)

    @property
    def space(self) -> str:
        """The part of the label before the first comma."""
        return self.label.partition(",")[0]


def lines(curve: Curve, end: pd.Series[float]) -> list[dict[str, object]]:
    """A line a step; `end` has the reference's last values by image."""
    both, found = curve.values.index.intersection(end.index), []
    for step in curve.values.columns:
        here = curve.values.loc[both, step]
        mean = mean_interval(here.to_numpy())
        away = mean_interval(100 * (here - end[both]).to_numpy() / float(end[both].mean()))
        numbers = (curve.seconds * step, mean.value, mean.half_width, away.value, away.low, away.high)
        cells = (curve.label, step, *(f"{x:.6g}" for x in numbers), mean.n)
        found.append(dict(zip(COLUMNS, cells, strict=True)))
    return found


def reached(table: Sequence[dict[str, object]]) -> str:
    """The first step from which on the row is not worse than the reference by more than the margin."""
    good = [float(str(line["high"])) <= MARGIN for line in table]
    if not good or not good[-1]:
        return "not reached"
    first = len(good) - int(np.argmin(good[::-1])) if not all(good) else 0
    return f"step {table[first]['step']}, {table[first]['seconds']} s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--column", default="mse", help="loss term")
    given = parser.parse_args(arguments)
    curves = []
    for folder in given.runs:
        try:
            curves.append(Curve.read(folder, given.column))
        except StoreError as error:
            print(f"{folder}: {error}", file=sys.stderr)
    known = {curve.label: curve for curve in curves if curve}
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for label, curve in known.items():
        reference = known.get(f"{curve.space}, {REFERENCE}")
        if reference is None:
            print(f"{label}: there is no row {curve.space}, {REFERENCE}.", file=sys.stderr)
            continue
        table = lines(curve, reference.values.iloc[:, -1])
        writer.writerows(table)
        print(f"{label}: {reached(table)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
