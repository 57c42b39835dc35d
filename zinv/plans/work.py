"""`python -m zinv.plans.work`: the jobs of one task of a submission, run from the plan's frozen code.

python -m zinv.plans.work runs/experiments/NAME/submissions/001 3      # a task of a batch script
python -m zinv.plans.work runs/experiments/NAME/plans/1a2b3c4d job=ID  # a job, as any scheduler starts it
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from zinv.errors import StoreError, ZinvError
from zinv.evaluation.claims import Heart
from zinv.evaluation.files import names, read_json
from zinv.plans.attempts import REASONS, Reason, Stopped, attempt, rank
from zinv.plans.plan import Plan, Planned

USAGE: Final = "python -m zinv.plans.work SUBMISSION TASK, or PLAN job=ID"
SIGNALS: Final[dict[signal.Signals, Reason]] = {signal.SIGTERM: "stopped", signal.SIGUSR1: "time"}
"""SIGTERM is preemption or scancel; SIGUSR1 comes from `#SBATCH --signal` alone, before the time limit."""


def main(arguments: Sequence[str]) -> int:
    """Do the jobs of a task, one after another; under `srun` each of several processes takes its share.

    Returns:
        0; 1 if a job failed; 143 if it was told to stop.
    """
    if len(arguments) != 2:
        print(f"error: two arguments, not {len(arguments)}: {USAGE}.", file=sys.stderr)
        return 2
    place, which = Path(arguments[0]), arguments[1]
    try:
        if not which.isdecimal():
            plan = Plan.open(place)
            return work(plan, [_one(plan, which)], {}, "")
        number = int(which)
        submission = read_json(place / "submission.json", "plan", "tasks")
        tasks: Any = submission["tasks"]
        plan = Plan.open(place.parent.parent / "plans" / str(submission["plan"]))
        return work(plan, [plan.job(name) for name in _share(tasks[number]["jobs"])], tasks[number], place.name)
    except ZinvError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _one(plan: Plan, which: str) -> Planned:
    """A job that is named as a W&B agent does, or written in a file of its own."""
    if which.startswith("job="):
        return plan.job(which.removeprefix("job="))
    try:
        content = json.loads(Path(which).read_text(encoding="utf-8"))
        return Planned(**{**content, "shard": tuple(content["shard"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{which}: neither job=ID nor a file with a job of a plan ({error}).") from error


def work(plan: Plan, jobs: Sequence[Planned], task: dict[str, Any], submission: str) -> int:
    """Do jobs; one that fails does not stop the others."""
    listen()
    if all(job.num_processes == 1 for job in jobs):
        os.environ["SLURM_JOB_NAME"] = "interactive"  # or Lightning asks SLURM how many processes a job has
    status = 0
    for job in jobs:
        print(f"{job.id} {job.name}", flush=True)
        try:
            status = max(status, min(1, do(plan, job, task.get("batch_size", {}).get(job.id), submission)))
        except Stopped as stop:
            Stopped.asked = stop.reason
        except ZinvError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            status = 1
        except Exception:
            traceback.print_exc()
            status = 1
        if Stopped.asked:
            print(f"stopped: {REASONS[Stopped.asked]}; every finished image is kept", file=sys.stderr)
            return 143
    return status


def do(plan: Plan, job: Planned, batch_size: int | None = None, submission: str = "") -> int:
    """One job, its try on record.

    Returns:
        0, or 1 if an image has no result.
    """
    if not _is_first():
        with rank(plan.experiment, job.id):
            return _compute(plan, job, batch_size)
    facts = {"submission": submission, "batch_size": batch_size, "asked": job.asked}
    with attempt(plan.experiment, job.id, **facts) as heart:
        status = _compute(plan, job, batch_size, heart)
        heart.tell(reason="images" if status else None)
    return status


def _compute(plan: Plan, job: Planned, batch_size: int | None, heart: Heart | None = None) -> int:
    if job.training:
        from zinv.train import train_config, training_folder

        if heart:
            heart.tell(folder=str(training_folder(job.config)))
        return train_config(job.config)
    from zinv.config import run_folder
    from zinv.run import evaluate_config

    config = job.config
    if batch_size is not None:
        config = {**config, "data": {**config["data"], "batch_size": batch_size}}
    folder = run_folder(config)
    if job.folder not in (None, str(folder)):
        raise StoreError(
            f"{plan.folder}: {job.id} is now {folder.name}: a weight file or the start has changed since the plan was "
            "made. Make a new plan with zinv run or submit."
        )
    if heart:
        heart.tell(folder=str(folder), before=len(_finished(folder) & set(plan.ids(job))))
    return evaluate_config(config, keep=True, group=plan.experiment.name, shard=job.shard)


def _finished(folder: Path) -> set[str]:
    return set(names(folder / "images")) if (folder / "images").is_dir() else set()


def listen() -> None:
    """Take the signals that a scheduler sends as requests to stop."""
    Stopped.asked = None
    for number in SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    Stopped.asked = SIGNALS[signal.Signals(number)]
    raise Stopped(Stopped.asked)


def _share(jobs: list[str]) -> list[str]:
    """The jobs of this process: all, or where `srun` started one a GPU of a whole node, every n-th.

    What srun says of the other processes is no part of them then: Lightning would take it for ranks of one run.
    """
    if os.environ.get("ZINV_SPREAD") != "1":
        return jobs
    own = jobs[int(os.environ["SLURM_PROCID"]) :: int(os.environ["SLURM_NTASKS"])]
    if gpus := os.environ.get("CUDA_VISIBLE_DEVICES", ""):
        devices = gpus.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[int(os.environ["SLURM_LOCALID"]) % len(devices)]
    for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS"):
        os.environ.pop(name, None)
    return own


def _is_first() -> bool:
    """Whether this process speaks for its job: rank 0, however it was started."""
    if os.environ.get("ZINV_SPREAD") == "1":
        return True
    return all(os.environ.get(name, "0") == "0" for name in ("SLURM_PROCID", "LOCAL_RANK", "RANK", "NODE_RANK"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
