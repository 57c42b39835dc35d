"""Do directions do what they say? Of finished runs with edits: strength against the judge's attribute, image by image.

    zinv run editing                              # runs with direction=portraits in every space
    python benchmarks/directions.py runs

For each run and direction: the share of images whose Spearman correlation of strength and the attribute that the judge
sees is at least .9 (the judge is a network that no direction was fitted with), the mean change of the attribute over
the strengths, and the drift of the others: the mean absolute change of each at the two outermost strengths, in the
domain's units (attributes span 2, glasses are a probability). Writes results/directions.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402

from zinv.evaluation.edits import EditHeader, read_edits  # noqa: E402

STEADY = 0.9
WANTED = 0.9  # of the images


def correlations(frame: pd.DataFrame) -> dict[str, float]:
    """Spearman's of strength and the judge's own attribute, by image; 0 where the attribute does not move at all.

    >>> rows = [("ada", -1.0, -0.2), ("ada", 0.0, 0.0), ("ada", 1.0, 0.5)]
    >>> frame = pd.DataFrame(rows, columns=["image", "strength", "judge_change"])
    >>> round(correlations(frame)["ada"], 6)
    1.0
    """
    found = {}
    for image, rows in frame.groupby("image", sort=False):
        still = rows["judge_change"].nunique() < 2
        found[str(image)] = 0.0 if still else float(spearmanr(rows["strength"], rows["judge_change"]).statistic)
    return found


def drift(frame: pd.DataFrame, own: str) -> dict[str, float]:
    """Mean absolute change of each other attribute at the two outermost strengths."""
    ends = frame[frame["strength"].isin([frame["strength"].min(), frame["strength"].max()])]
    columns = [name for name in frame if name.startswith("judge_") and name not in ("judge_change", f"judge_{own}")]
    return {name.removeprefix("judge_"): float(ends[name].abs().mean()) for name in columns if ends[name].notna().any()}


def own_attribute(frame: pd.DataFrame) -> str:
    """The attribute that `judge_change` is of."""
    names = [name for name in frame if name.startswith("judge_") and name != "judge_change"]
    same = [name for name in names if np.allclose(frame[name], frame["judge_change"], equal_nan=True)]
    return same[0].removeprefix("judge_") if same else ""


def measure(header: EditHeader, frame: pd.DataFrame) -> dict[str, object]:
    """The numbers of one run."""
    done = frame[(frame["status"] == "ok") & frame["judge_change"].notna()]
    found: dict[str, object] = {}
    for direction, rows in done.groupby("direction", sort=False):
        own = own_attribute(rows)
        each = correlations(rows)
        means = rows.groupby("strength")["judge_change"].mean()
        others = drift(rows, own)
        found[str(direction)] = {
            "images": len(each),
            "steady": float(np.mean([value >= STEADY for value in each.values()])),
            "median": float(np.median([*each.values()])),
            "change": float(means.iloc[-1] - means.iloc[0]),
            "drift": others,
            "mean_drift": float(np.mean([*others.values()])) if others else float("nan"),
        }
    return {"edits": header.edits.line, "directions": found}


def collect(folders: Sequence[Path]) -> dict[str, dict[str, object]]:
    """The numbers of each run by its label; of runs that share one, as a row and its rerun, each by its digits too."""
    found: dict[str, dict[str, object]] = {}
    several: list[tuple[str, EditHeader, pd.DataFrame]] = []
    for file in sorted({path for folder in folders for path in folder.glob("**/edits.csv")}):
        header, frame = read_edits(file)
        label = str(header.settings.get("name") or header.settings.get("label"))
        if "judge_change" not in frame or header.edits.amount != "step":
            print(f"{label}: no edits by steps with a judge.", file=sys.stderr)
            continue
        several.append((label, header, frame))
    count = Counter(label for label, _, _ in several)
    for label, header, frame in several:
        key = f"{label} {header.run[-8:]}" if count[label] > 1 else label
        settings = {name: header.settings.get(name) for name in ("num_steps", "seed")}
        found[key] = {"run": header.run, **settings, **measure(header, frame)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that hold runs")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "directions.json")
    given = parser.parse_args()
    found = collect(given.runs)
    for label, numbers in found.items():
        for direction, values in numbers["directions"].items():  # type: ignore[attr-defined]
            held = "held" if values["steady"] >= WANTED else "not held"
            words = f"{values['steady']:.0%} of {values['images']} images at {STEADY} or more ({held})"
            print(
                f"{label:>10} {direction:>8}: {words}, change {values['change']:+.2f}, drift {values['mean_drift']:.3f}"
            )
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
