"""What the store costs: a claim and a result beside an inversion at 64 pixels, and status over many images.

python benchmarks/store.py --images 200 --status 10000
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from zinv.cluster.state import progress
from zinv.config.selection import Selection, select
from zinv.evaluation.claims import Claims
from zinv.evaluation.store import Run
from zinv.plans.make import choose, freeze, plan_jobs

ROW = {"generator": "toy", "method.num_steps": 2, "data.num": 4, "trainer": "cpu"}


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def results(folder: Path, images: int) -> dict[str, float]:
    """Seconds an image of a claim, and of a result of 64 pixels with a code of W+ of StyleGAN2's size."""
    run = Run.create(folder / "run", {}, {})
    claims, code, picture = Claims(run.path), torch.zeros(18, 512), torch.zeros(3, 64, 64)
    names = [f"image-{i:07d}" for i in range(images)]
    facts = {"target_sha256": "", "losses": {"mse": 0.0}, "num_steps": 1, "scalars": 1, "note": ""}
    with claims.held():
        claiming = timed(lambda: [claims.take(name) for name in names])
        writing = timed(lambda: [run.finish(name, {"code": code}, {}, picture, facts) for name in names])
    files = sum(len(entries) for _, _, entries in os.walk(run.path / "images"))
    return {"claim": claiming / images, "result": writing / images, "files": files / images}


def status(folder: Path, images: int) -> dict[str, float]:
    """Seconds of `status` over one job of so many finished images, and of its listing alone."""
    os.chdir(folder)
    selected = select(None, [f"{key}={value}" for key, value in ROW.items()], Selection(grid=True))
    plan = freeze(selected.experiment, plan_jobs(choose(selected)))
    (job,) = plan.jobs
    names = [f"image-{i:07d}" for i in range(images)]
    (plan.folder / "images" / f"{job.images}.txt").write_text("\n".join(names))
    plan.facts["images"][job.images] = images
    place = Path(str(job.folder)) / "images"
    place.mkdir(parents=True)
    (place.parent / "failed").mkdir()
    making = timed(lambda: [(place / name).mkdir() for name in names])
    taken = timed(lambda: progress(plan))
    assert progress(plan)[0].finished == images
    return {"status": taken, "listing": timed(lambda: os.listdir(place)), "mkdir": making / images}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200, help="results that are written")
    parser.add_argument("--status", type=int, default=10_000, help="finished images that status counts")
    parser.add_argument("--folder", help="on the file system that is meant; a temporary one by default")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = {**results(Path(folder), given.images), **status(Path(folder), given.status)}
        os.chdir("/")
    print(json.dumps({**vars(given), **{key: round(value, 6) for key, value in found.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
