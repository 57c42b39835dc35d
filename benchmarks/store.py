"""What the store costs: claims and results beside the bare loop at 64 pixels, and status over many finished images.

    python benchmarks/store.py --images 200 --steps 200 --status 10000
    python benchmarks/store.py --status 1000000 --folder /a/shared/file/system

Prints one line of JSON: seconds an image of the bare loop, of claiming, of writing the result, of writing its scores;
`percent`, the three over the first; seconds of `zinv status` over so many finished images and of what it rests on;
and seconds of a rename into a folder as its entries grow tenfold.
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
from zinv.config import compose
from zinv.config.selection import Selection, select
from zinv.evaluation.claims import Claims
from zinv.evaluation.records import ProtocolInfo
from zinv.evaluation.scores import write_scores
from zinv.evaluation.store import Run
from zinv.plans.make import choose, freeze, plan_jobs
from zinv.run import build_parts
from zinv.seeding import image_rngs

ROW = {"generator": "toy", "method.num_steps": 2, "data.num": 4, "trainer": "cpu"}
LOOP = ("generator=portraits", "method=optimize", "space=wplus", "loss=pixel", "protocol=pixel", "trainer=cpu")
RENAMES = 200


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def loop(images: int, steps: int) -> float:
    """Seconds an image of descent and rendering alone, 64 pixels, one after another."""
    parts = build_parts(compose([*LOOP, f"data.num={images + 1}", f"method.num_steps={steps}"]))

    def work(i: int) -> None:
        found = parts.method.invert(parts.source.image(i)[None], image_rngs(0, [parts.source.ids[i]]))
        parts.method.reconstruct(found)

    work(images)  # the first one is slower
    return timed(lambda: [work(i) for i in range(images)]) / images


def results(folder: Path, images: int) -> dict[str, float]:
    """Seconds an image of a claim, of a result of 64 pixels with StyleGAN2's code of W+, and of its scores."""
    run = Run.create(folder / "run", {}, {})
    claims, code, picture = Claims(run.path), torch.zeros(18, 512), torch.zeros(3, 64, 64)
    info = ProtocolInfo.of(build_parts(compose([*LOOP, "data.num=1"])).protocol)
    values = dict.fromkeys(info.columns, 0.5)
    names = [f"image-{i:07d}" for i in range(images)]
    facts = {"target_sha256": "", "losses": {"mse": 0.0}, "num_steps": 1, "scalars": 1, "note": ""}
    with claims.held():
        claiming = timed(lambda: [claims.take(name) for name in names])
        writing = timed(lambda: [run.finish(name, {"code": code}, {}, picture, facts) for name in names])
        scoring = timed(lambda: [write_scores(run, info, name, values) for name in names])
    files = sum(len(entries) for _, _, entries in os.walk(run.path / "images"))
    return {
        "claim": claiming / images,
        "result": writing / images,
        "scores": scoring / images,
        "files": files / images,
    }


def renames(folder: Path, entries: int) -> dict[str, float]:
    """Seconds of a new folder's rename into one that has 10, 100, ... `entries`."""
    place, found, made = folder / "full", {}, 0
    place.mkdir()
    for size in [10**k for k in range(1, 10) if 10**k <= entries]:
        for i in range(made, size):
            (place / f"{i:07d}").mkdir()
        made = size
        for i in range(RENAMES):
            (folder / f"new-{i}").mkdir()
        taken = timed(lambda at=size: [(folder / f"new-{i}").rename(place / f"x{at}-{i}") for i in range(RENAMES)])
        found[f"rename_at_{size}"] = taken / RENAMES
    return found


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
    return {"status_seconds": taken, "listing_seconds": timed(lambda: os.listdir(place)), "mkdir": making / images}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200, help="results that are written")
    parser.add_argument("--looped", type=int, default=4, help="images of the bare loop")
    parser.add_argument("--steps", type=int, default=200, help="of the bare loop")
    parser.add_argument("--status", type=int, default=10_000, help="finished images that status counts")
    parser.add_argument("--folder", help="on the file system that is meant; a temporary one by default")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        found = {"loop": loop(given.looped, given.steps), **results(folder, given.images)}
        found["percent"] = 100 * (found["claim"] + found["result"] + found["scores"]) / found["loop"]
        found |= {**renames(folder, given.status), **status(folder, given.status)}
        os.chdir("/")
    print(json.dumps({**vars(given), "threads": torch.get_num_threads(), **{k: round(v, 6) for k, v in found.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
