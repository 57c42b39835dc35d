"""Hours and gigabytes of a plan, from one image of each cell."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zinv.evaluation.store import Run
from zinv.plans.plan import Plan, Planned
from zinv.run import evaluate_config

PICTURES: Final = ("reconstruction.png", "target.png")
KEPT: Final = {"codes": (), "images": PICTURES[:1], "all": PICTURES}
"""Pictures that each choice of `store.keep` keeps."""


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        seconds: of its inversion.
        sizes: bytes of its folder, by what is kept.
        memory: bytes of the process, or on its GPU.
    """

    seconds: float
    sizes: Mapping[str, int]
    memory: int


def estimate(plan: Plan, jobs: Sequence[Planned]) -> None:
    """Do one image of each run in a folder that is thrown away, and print what all of them will take."""
    runs = {job.run_id: job for job in jobs if not job.training and job.folder}
    costs = {name: measure(job, plan.num_images(job) * job.shard[1]) for name, job in runs.items()}
    counted = [(job, plan.num_images(job), costs[job.run_id]) for job in jobs if job.run_id in costs]
    for job, images, cost in counted:
        time = f"{images * cost.seconds / 3600:.3g} h ({cost.seconds:.3g} s an image)"
        print(f"{job.id}  {job.name}: {time}, {cost.memory / 1e9:.3g} GB of memory, {_on_disk([(images, cost)])}")
    hours = sum(images * cost.seconds for _, images, cost in counted) / 3600
    disk = _on_disk([(images, cost) for _, images, cost in counted])
    print(f"in all {hours:.3g} h of one device, {disk}, by one image of each of {len(costs)} runs here")


def _on_disk(counted: Sequence[tuple[int, Cost]]) -> str:
    """Gigabytes of images by what is kept."""
    sizes = {keep: sum(images * cost.sizes[keep] for images, cost in counted) / 1e9 for keep in KEPT}
    return "on disk " + ", ".join(f"{size:.3g} GB (store.keep={keep})" for keep, size in sizes.items())


def measure(job: Planned, num_images: int) -> Cost:
    """Do the first image of a run on one device."""
    trainer = {**job.config["trainer"], "devices": 1, "num_nodes": 1, "strategy": "auto"}
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        logger = {"_name_": "none", "_target_": "zinv.config.settings.LoggerSettings"}
        store = {**job.config["store"], "keep": "all"}
        config: dict[str, Any] = {**job.config, "runs": runs, "trainer": trainer, "logger": logger, "store": store}
        evaluate_config(config, shard=(0, num_images))
        (file,) = Path(runs).glob("*/*/run.json")
        run = Run.open(file.parent)
        (name,) = run.finished() | run.failed()
        times: Any = run.result(name).get("times", {})
        start: Any = run.facts["starts"]
        sizes = {keep: _size(run.path / "images", kept) for keep, kept in KEPT.items()}
        return Cost(float(times.get("seconds", 0.0)), sizes, int(max(start[-1]["peak_memory_bytes"])))


def _size(folder: Path, kept: Sequence[str]) -> int:
    """Bytes of a folder without pictures that are not kept."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if path.name in kept or path.name not in PICTURES)
