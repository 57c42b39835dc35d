"""Hours and gigabytes of a plan, from one image of each cell."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zinv.evaluation.store import Run
from zinv.plans.plan import Plan, Planned
from zinv.run import evaluate_config


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        seconds: of its inversion.
        size: bytes of its folder.
        memory: bytes of the process, or on its GPU.
    """

    seconds: float
    size: int
    memory: int


def estimate(plan: Plan, jobs: Sequence[Planned]) -> None:
    """Do one image of each run in a folder that is thrown away, and print what all of them will take."""
    costs = {job.run_id: job for job in jobs if not job.training}
    measured = {name: measure(job, plan.num_images(job) * job.shard[1]) for name, job in costs.items()}
    hours, size = 0.0, 0.0
    for job in jobs:
        if (cost := measured.get(job.run_id)) is None:
            continue
        images = plan.num_images(job)
        hours, size = hours + images * cost.seconds / 3600, size + images * cost.size / 1e9
        gigabytes = f"{images * cost.size / 1e9:.3g} GB on disk, {cost.memory / 1e9:.3g} GB of memory"
        print(
            f"{job.id}  {job.name}: {images * cost.seconds / 3600:.3g} h ({cost.seconds:.3g} s an image), {gigabytes}"
        )
    print(
        f"in all {hours:.3g} h of one device, {size:.3g} GB on disk, by one image of each of {len(measured)} runs here"
    )


def measure(job: Planned, num_images: int) -> Cost:
    """Do the first image of a run on one device."""
    trainer = {**job.config["trainer"], "devices": 1, "num_nodes": 1, "strategy": "auto"}
    with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stdout(io.StringIO()):
        logger = {"_name_": "none", "_target_": "zinv.config.settings.LoggerSettings"}
        config: dict[str, Any] = {**job.config, "runs": runs, "trainer": trainer, "logger": logger}
        evaluate_config(config, shard=(0, num_images))
        (file,) = Path(runs).glob("*/*/run.json")
        run = Run.open(file.parent)
        (name,) = run.finished() | run.failed()
        size = sum(path.stat().st_size for path in (run.path / "images").rglob("*") if path.is_file())
        times: Any = run.result(name).get("times", {})
        start: Any = run.facts["starts"]
        return Cost(float(times.get("seconds", 0.0)), size, int(max(start[-1]["peak_memory_bytes"])))
