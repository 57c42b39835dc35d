"""A sweep on a real SLURM, disturbed at random moments: are its tables those of the sweep that was left alone?

    python benchmarks/preempt.py --jobs 24 --events 40

Needs root and Debian's slurm-wlm and munge: it starts a SLURM of its own. Tasks are killed (`scancel --signal=KILL`),
requeued, given a shorter time limit, preempted by a partition of higher priority, and their slurmd is killed. What is
missing then `zinv retry` submits, until nothing is. Each records.csv is held against the same row's under `zinv run`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import private_slurm
from private_slurm import Slurm

CHECKOUT = Path(__file__).resolve().parents[1]
EVENTS = ("kill", "requeue", "limit", "preempt", "slurmd")
ROUNDS = 30


def experiment(folder: Path, jobs: int, images: int, steps: int) -> None:
    """An experiment of so many rows: methods and spaces, then learning rates."""
    base = "generator: toy, data.batch_size: 1, trainer: cpu"
    rates = [0.01 * (i + 1) for i in range(jobs // 6)]
    grid = f"method: [optimize, bdinvert], space: [z, zplus, wplus], method.lr: {rates}"
    (folder / "experiments" / "sweep").mkdir(parents=True)
    text = f"base: {{{base}, data.num: {images}, method.num_steps: {steps}}}\ngrid: {{{grid}}}\n"
    (folder / "experiments" / "sweep" / "experiment.yaml").write_text(text)


def zinv(folder: Path, *words: str) -> str:
    """A command line in the folder."""
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "ZINV_LEASE": "15"}
    command = [sys.executable, "-m", "zinv", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def records(folder: Path, runs: str) -> dict[str, bytes]:
    files = (folder / runs).glob("*/*/records.csv")
    return {f"{file.parent.parent.name}/{file.parent.name}": file.read_bytes() for file in files}


def results(folder: Path) -> dict[str, int]:
    """Each finished image, with the inode of its result: another one if it was made again."""
    return {str(file): file.stat().st_ino for file in (folder / "runs").glob("*/*/images/[!.]*/result.json")}


def disturb(slurm: Slurm, rng: random.Random, events: Counter[str]) -> None:
    """One event, if there is a task that it can hit."""
    event = rng.choice(EVENTS)
    running = [line.split()[0] for line in slurm.queue() if line.endswith(" RUNNING")]
    if not running:
        return
    task = rng.choice(running)
    actions: dict[str, Callable[[], object]] = {
        "kill": lambda: slurm.run("scancel", "--signal=KILL", "--full", task),
        "requeue": lambda: slurm.run("scontrol", "requeue", task),
        "limit": lambda: slurm.run("scontrol", "update", f"JobId={task}", "TimeLimit=1"),
        "preempt": lambda: slurm.run("sbatch", "-p", "urgent", "-n", "2", "-o", "/dev/null", "--wrap", "sleep 2"),
        "slurmd": lambda: (slurm.kill_slurmd(), time.sleep(2), slurm.start_slurmd()),
    }
    try:
        actions[event]()
    except AssertionError:
        return  # it ended in between
    events[event] += 1


def drain(slurm: Slurm, rng: random.Random, events: Counter[str], given: argparse.Namespace) -> None:
    """Disturb the queue until it is empty or all events are spent; then wait for it."""
    deadline = time.monotonic() + given.limit
    while slurm.queue():
        if time.monotonic() > deadline:
            raise SystemExit(f"the queue is not empty after {given.limit} s:\n{slurm.queue()}\n{slurm.tail()}")
        time.sleep(rng.uniform(0, 2 * given.every))
        if sum(events.values()) < given.events:
            disturb(slurm, rng, events)


def campaign(given: argparse.Namespace, folder: Path, slurm: Slurm) -> dict[str, object]:
    """Left alone, then disturbed."""
    began = time.monotonic()
    experiment(folder, given.jobs, given.images, given.steps)
    zinv(folder, "run", "sweep", "--jobs", "1", "runs=alone")
    rng, events, rounds = random.Random(given.seed), Counter[str](), 1
    flags = ("--gpus", "0", "--cpus", "1", "--time", "30", "--array-limit", "100")
    zinv(folder, "submit", "sweep", "cluster=cpu", *flags)
    seen: dict[str, int] = {}
    again = 0
    while True:
        drain(slurm, rng, events, given)
        now = results(folder)
        again += sum(now.get(name) != inode for name, inode in seen.items())
        seen = now
        found = json.loads(zinv(folder, "status", "sweep", "--json"))
        if all(job["state"] == "done" for job in found) or rounds == ROUNDS:
            break
        rounds += 1
        zinv(folder, "retry", "sweep", "--all")
    alone, disturbed = records(folder, "alone"), records(folder, "runs")
    tries = [json.loads(file.read_text()) for file in (folder / "runs/experiments/sweep/jobs").glob("*/[!.]*")]
    return {
        "jobs": len(found),
        "done": sum(job["state"] == "done" for job in found),
        "rounds": rounds,
        "events": dict(events),
        "tries": len(tries),
        "ends": dict(
            Counter("done" if t.get("ended") and not t.get("reason") else t.get("reason") or "lost" for t in tries)
        ),
        "unequal": sum(alone[name] != disturbed.get(name) for name in alone),
        "images": len(seen),
        "made_again": again,
        "seconds": round(time.monotonic() - began),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=24, help="of the sweep, a multiple of 6")
    parser.add_argument("--images", type=int, default=4, help="of a job")
    parser.add_argument("--steps", type=int, default=60, help="of an image")
    parser.add_argument("--events", type=int, default=40, help="at most")
    parser.add_argument("--every", type=float, default=5.0, help="mean seconds between events")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that the queue may take to empty")
    parser.add_argument("--seed", type=int, default=0, help="of events and moments")
    return parser.parse_args(arguments)


def clean(outcome: dict[str, object]) -> bool:
    """Nothing lost, nothing twice, all tables equal."""
    return outcome["done"] == outcome["jobs"] and not outcome["unequal"] and not outcome["made_again"]


def main(arguments: Sequence[str] | None = None, slurm: Slurm | None = None) -> int:
    given = parse(arguments)
    with tempfile.TemporaryDirectory() as folder, nullcontext(slurm) if slurm else private_slurm.started() as daemons:
        outcome = campaign(given, Path(folder), daemons)
    print(json.dumps({**vars(given), **outcome}))
    return 0 if clean(outcome) else 1


if __name__ == "__main__":
    sys.exit(main())
