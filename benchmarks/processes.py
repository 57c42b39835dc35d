"""One run by 1, 2, 3 and 4 processes, and by two commands at a time: is the table the same to the byte, and how fast?

    python benchmarks/processes.py --num 48 --steps 100 > benchmarks/results/processes.json

Each process has one thread and batches of one image, so that nothing may differ; `1 process, 2 threads` is there for
its pace. Images a second are those of the inversions alone; seconds are a command's from its first process to its last
image, which the start of other processes is part of.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RUN = (
    *("generator=portraits", "data=portraits", "method=bdinvert", "space=zplus", "loss=demo", "protocol=demo"),
    *("trainer=cpu", "data.batch_size=1"),
)


@dataclass(frozen=True)
class Way:
    """A way to do the run: commands at a time, processes of each, and threads of each process."""

    commands: int = 1
    processes: int = 1
    threads: int = 1

    def __str__(self) -> str:
        words = [f"{n} {what}{'es' * (what == 'process' and n > 1)}" for what, n in self._counts() if n > 1]
        return ", ".join(words) or "1 process"

    def _counts(self) -> list[tuple[str, int]]:
        return [("commands", self.commands), ("process", self.processes), ("threads", self.threads)]


WAYS = (Way(), Way(processes=2), Way(processes=3), Way(processes=4), Way(commands=2), Way(threads=2))


@dataclass(frozen=True)
class Outcome:
    """What came of a way.

    Attributes:
        images_per_second: of all processes together, while they invert.
        seconds: the slowest command's.
        images: done by each process of each command.
        twice: images that more than one process did.
        equal: whether the records are those of one process, byte for byte.
    """

    images_per_second: float
    seconds: float
    images: list[int]
    twice: int
    equal: bool


def run(given: argparse.Namespace, way: Way, folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Records, and what each command noted."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": str(way.threads)}
    size = (f"data.num={given.num}", f"method.num_steps={given.steps}", f"trainer.devices={way.processes}")
    line = [sys.executable, "-m", "zinv", "evaluate", *RUN, *size, f"runs={folder}"]
    started = [
        subprocess.Popen(line, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL) for _ in range(way.commands)
    ]
    if any(process.wait() for process in started):
        raise SystemExit(f"{way}: a command failed")
    (place,) = folder.glob("*/*/")
    return (place / "records.csv").read_bytes(), json.loads((place / "run.json").read_text())["starts"]


def outcome(given: argparse.Namespace, way: Way, first: bytes | None) -> tuple[Outcome, bytes]:
    """Do the run in a folder of its own, and hold its records against the first's."""
    with tempfile.TemporaryDirectory() as folder:
        records, starts = run(given, way, Path(folder))
    images = [number for start in starts for number in start["ranks"]]
    seconds = max(float(start["wall_seconds"]) for start in starts)
    pace = sum(len(start["ranks"]) / start["seconds_per_image"] for start in starts if start["seconds_per_image"])
    return Outcome(round(pace, 4), seconds, images, sum(images) - given.num, records == (first or records)), records


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=48, help="images")
    parser.add_argument("--steps", type=int, default=100, help="of an image")
    given = parser.parse_args(arguments)
    found, first = dict[str, Outcome](), None
    for way in WAYS:
        found[str(way)], records = outcome(given, way, first)
        first = first or records
        print(way, found[str(way)], file=sys.stderr, flush=True)
    print(json.dumps({**vars(given), "ways": {name: asdict(one) for name, one in found.items()}}, indent=1))
    return 0 if all(one.equal and not one.twice for one in found.values() if one is not found["2 threads"]) else 1


if __name__ == "__main__":
    sys.exit(main())
