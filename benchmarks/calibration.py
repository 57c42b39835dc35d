"""Type-one error and power of zinv's paired tests on simulated tables of clustered data.

    python benchmarks/calibration.py

A table is 50 images in two rows, each image edited 5 x 11 times, with 3 seeds that change nothing. An image's edits
share its difference between the rows, which is drawn once; the true mean difference lies at the margin, so that every
claim is just false. Each test sees what `zinv.statistics.per_image` makes of a table. Writes results/statistics.json.
(The file is not called statistics.py: that would hide Python's own module from the scripts beside it.)
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import numpy as np  # noqa: E402
import scipy  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from zinv.statistics import Claim, Test, Unit, compare, holm, images_needed, per_image, power  # noqa: E402

ALPHA = 0.05
IMAGES, EDITS, SEEDS = 50, 55, 3
BETWEEN, WITHIN = 0.10, 0.10
"""Standard deviations of the difference between two rows: from image to image, and from edit to edit of one image."""


@dataclass(frozen=True)
class Case:
    """A claim that is tested in many tables, and how the true mean difference lies to it."""

    name: str
    claim: Claim
    margin: float
    gain: float
    unit: Unit = "own"
    test: Test = "t"
    images: int = IMAGES
    higher: bool = True


SPREAD = math.sqrt(BETWEEN**2 + WITHIN**2 / EDITS)
AT_MARGIN = (
    Case("non-inferior, higher is better", "noninferior", 0.03, -0.03),
    Case("non-inferior, lower is better", "noninferior", 0.03, -0.03, higher=False),
    Case("non-inferior, Wilcoxon", "noninferior", 0.03, -0.03, test="wilcoxon"),
    Case("superior", "superior", 0.0, 0.0),
    Case("superior, Wilcoxon", "superior", 0.0, 0.0, test="wilcoxon"),
    Case("superior by a margin", "superior", 0.02, 0.02),
    Case("equivalent", "equivalent", 0.08, 0.08),
    Case("non-inferior, percent", "noninferior", 5.0, -0.05, "percent"),
    Case("non-inferior, 8 images", "noninferior", 0.03, -0.03, images=8),
)
BEYOND = (
    Case("non-inferior, 20 images", "noninferior", 0.05, 0.0, images=20),
    Case("non-inferior, 50 images", "noninferior", 0.03, 0.0),
    Case("superior, 50 images", "superior", 0.0, 0.03),
    Case("equivalent, 50 images", "equivalent", 0.05, 0.0),
    Case("equivalent, 20 images", "equivalent", 0.08, 0.01, images=20),
)


def tables(case: Case, num: int, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """New and reference row of each table, `(images, edits, seeds)`; seeds repeat the same number."""
    rng = np.random.default_rng(seed)
    sign = 1.0 if case.higher else -1.0
    same = np.ones((1, EDITS, SEEDS))
    for _ in range(num):
        reference = 1.0 + 0.05 * rng.standard_normal((case.images, 1, 1)) * same
        own = case.gain + BETWEEN * rng.standard_normal((case.images, 1, 1))
        yield reference + sign * (own + WITHIN * rng.standard_normal((case.images, EDITS, 1))), reference


def by_image(values: NDArray[np.float64]) -> list[float]:
    """Each image's mean, through the function that tables use."""
    flat, images = values.reshape(-1), np.repeat(np.arange(len(values)), values[0].size)
    return [*per_image(flat.tolist(), images.tolist()).values()]


def rejections(case: Case, num: int, seed: int = 0, unit: str = "image") -> float:
    """Share of tables in which the claim is called shown. `unit="edit"` counts every edit, as one must not.

    The means are taken with NumPy; `test_calibration.py` holds them against `per_image`.
    """
    shown = 0
    for new, reference in tables(case, num, seed):
        a, b = (x.mean((1, 2)) if unit == "image" else x[..., 0].reshape(-1) for x in (new, reference))
        found = compare(a, b, case.margin, case.higher, case.claim, case.unit, case.test)
        shown += found.p < ALPHA
    return shown / num


def computed(case: Case) -> float:
    """The power that `zinv.statistics.power` promises."""
    return power(case.images, case.gain, SPREAD, case.margin, case.claim)


def family_error(num: int, contrasts: int = 7, seed: int = 0) -> dict[str, float]:
    """Share of tables with a claim called shown of several that are all just false: corrected by Holm, and not."""
    rng = np.random.default_rng(seed)
    wrong = {"holm": 0, "uncorrected": 0}
    for _ in range(num):
        rows = 1.0 + 0.05 * rng.standard_normal((IMAGES, 1)) + BETWEEN * rng.standard_normal((IMAGES, contrasts + 1))
        p = [compare(rows[:, i], rows[:, -1], 0.0, True, "superior").p for i in range(contrasts)]
        wrong["holm"] += min(holm(p)) < ALPHA
        wrong["uncorrected"] += min(p) < ALPHA
    return {key: count / num for key, count in wrong.items()}


def monte_carlo(share: float, num: int) -> float:
    """Half of the 99 % interval of a share that is counted in so many tables."""
    return 2.576 * math.sqrt(share * (1 - share) / num)


def measure(num: int) -> dict[str, object]:
    """Every number of the result file."""
    errors = {case.name: rejections(case, num, seed) for seed, case in enumerate(AT_MARGIN)}
    powers = {
        case.name: {"found": rejections(case, num, 100 + seed), "computed": computed(case)}
        for seed, case in enumerate(BEYOND)
    }
    few = images_needed(0.03, SPREAD, claim="superior")
    planned = Case("superior, as many images as planned for .8", "superior", 0.0, 0.03, images=few or 0)
    powers[planned.name] = {"found": rejections(planned, num, 2), "computed": computed(planned), "images": few or 0}
    return {
        "tables": num,
        "nominal": ALPHA,
        "monte_carlo_99": monte_carlo(ALPHA, num),
        "type_one_error": errors,
        "type_one_error_edits_as_units": rejections(AT_MARGIN[0], num, unit="edit"),
        "family_of_7": family_error(num),
        "power": powers,
        "setting": {"images": IMAGES, "edits": EDITS, "seeds": SEEDS, "between": BETWEEN, "within": WITHIN},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "statistics.json")
    given = parser.parse_args()
    began = time.process_time()
    found = measure(given.tables)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    found |= {"versions": versions, "processor_seconds": round(time.process_time() - began)}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
