"""Many small images end to end: seconds of each part of a run, and two processes against one on the same cores.

    python benchmarks/scale.py --num 10000 > benchmarks/results/scale.json

The toy's 16 pixels and few steps leave little but what a run does besides descending: start, data, results, records.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS: Final = {
    "compose": "zinv.run.compose",
    "build": "zinv.run.build_parts",
    "create": "zinv.run._create",
    "invert and store": "zinv.run.invert",
    "hand to the store": "zinv.inverting.write_batch",
    "wait for the store": "zinv.inverting.settle",
    "score": "zinv.run.score_images",
    "records and table": "zinv.run.finish",
}
"""Functions of a run; the store's are part of inverting, where they are called."""


def command(given: argparse.Namespace, *more: str) -> list[str]:
    """A run's overrides."""
    size = (f"data.num={given.num}", f"data.batch_size={given.batch}", f"method.num_steps={given.steps}")
    return ["generator=toy", "data=toy", "method=optimize", "space=wplus", "trainer=cpu", *size, *more]


def timed(name: str, seconds: dict[str, float]) -> None:
    """Let a function of zinv add what it takes to the parts' seconds."""
    module, _, attribute = PARTS[name].rpartition(".")
    place = importlib.import_module(module)
    plain: Callable[..., object] = getattr(place, attribute)

    def call(*args: object, **kwargs: object) -> object:
        started = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

    setattr(place, attribute, call)


def in_parts(given: argparse.Namespace) -> dict[str, object]:
    """One run in this process, and again with nothing left to do."""
    started, seconds = time.perf_counter(), dict[str, float]()
    from zinv import run

    seconds["import"] = time.perf_counter() - started
    for name in PARTS:
        timed(name, seconds)
    with tempfile.TemporaryDirectory() as folder:
        status = run.evaluate(command(given, f"runs={folder}"))
        first, _ = dict(seconds), seconds.clear()
        again = time.perf_counter()
        status |= run.evaluate(command(given, f"runs={folder}"))
        files = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    resumed = {"all": time.perf_counter() - again, **seconds}
    return {"status": status, "first": rounded(first), "with nothing left": rounded(resumed), "bytes": files}


def whole(given: argparse.Namespace, processes: int) -> float:
    """Seconds of the command line with one process or more, each with its share of the threads."""
    threads = max(1, given.threads // processes)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "zinv", "evaluate", *command(given, f"runs={folder}")]
        started = time.perf_counter()
        devices = f"trainer.devices={processes}"
        subprocess.run([*line, devices], cwd=CHECKOUT, env=environment, stdout=sys.stderr, check=True)
        return time.perf_counter() - started


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=10_000, help="images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        found = in_parts(given)
        print("\n" + json.dumps(found))
        return int(found["status"] != 0)
    size = [f"--{name}={getattr(given, name)}" for name in ("num", "batch", "steps")]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": str(given.threads)}
    child = [sys.executable, __file__, "--part", *size]
    said = subprocess.run(child, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    parts = json.loads(said.stdout.splitlines()[-1])
    walls = {f"{processes} process{'es' * (processes > 1)}": round(whole(given, processes), 3) for processes in (1, 2)}
    print(json.dumps({**vars(given), "parts": parts, "whole run": walls}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
