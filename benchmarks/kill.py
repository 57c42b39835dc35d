"""SIGKILL at random moments: is a result lost, or made twice, and is the table the same to the byte?

    python benchmarks/kill.py --num 20
    python benchmarks/kill.py --num 500 --side 2 > benchmarks/results/kill.json

One run is left alone. The same run is then killed and started again, `--num` times at random moments of its life; when
it gets to its end between two kills, another begins in a new folder. Each that ended is held against the first.
With `--side 2` two processes at a time do the same run, and one of them is killed. Processes are forked from one that
has imported zinv, or most kills would hit the import.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

CHECKOUT = Path(__file__).resolve().parents[1]
PROCESSES: Final = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["zinv.run", "zinv.cli"])
RUN = ("generator=toy", "method=bdinvert", "space=zplus", "data.batch_size=1")


@dataclass
class Outcome:
    """What the kills did.

    Attributes:
        kills: that hit a living process.
        kills_while_inverting: of these, after the run's first image and before its last.
        runs: that were killed at least once, and came to their end.
        lost: results that were there at a kill and not at the end.
        twice: results that were there at a kill and were written again.
        missing: images without a row.
        unequal: runs whose records.csv differs from that of the run that was left alone.
        leftovers: temporary files that a finished run kept.
    """

    kills: int = 0
    kills_while_inverting: int = 0
    runs: int = 0
    lost: int = 0
    twice: int = 0
    missing: int = 0
    unequal: int = 0
    leftovers: int = 0

    def clean(self) -> bool:
        return not any((self.lost, self.twice, self.missing, self.unequal, self.leftovers))


def work(line: Sequence[str], log: Path, threads: int) -> None:
    """A command line, in a process of its own."""
    import torch

    from zinv.cli import main

    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    torch.set_num_threads(threads)
    sys.exit(main(line))


@dataclass
class Campaign:
    """The command that is killed, and where it writes."""

    folder: Path
    images: int
    steps: int
    threads: int
    side: int = 1

    def start(self, name: str) -> ForkServerProcess:
        settings = (*RUN, f"data.num={self.images}", f"method.num_steps={self.steps}", f"runs={self.folder / name}")
        line = ("evaluate", *settings)
        process = PROCESSES.Process(target=work, args=(line, self.folder / f"{name}.log", self.threads))
        process.start()
        return process

    def finish(self, name: str) -> float:
        """Let a run come to its end; returns its seconds."""
        started = time.monotonic()
        process = self.start(name)
        process.join()
        self.check(process, name)
        return time.monotonic() - started

    def check(self, process: ForkServerProcess, name: str) -> None:
        """A process that nobody killed has no reason to fail."""
        if process.exitcode:
            log = (self.folder / f"{name}.log").read_text()[-2000:]
            raise SystemExit(f"the run failed with {process.exitcode}:\n{log}")

    def results(self, name: str) -> dict[str, tuple[int, int]]:
        """Finished images, each with what tells its result file from one written later."""
        files = (self.folder / name).glob("*/*/images/[!.]*/result.json")
        return {file.parent.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    def records(self, name: str) -> bytes:
        return next((self.folder / name).glob("*/*/records.csv")).read_bytes()

    def leftovers(self, name: str) -> int:
        return sum(1 for file in (self.folder / name).rglob(".*"))


def campaign(given: argparse.Namespace, folder: Path) -> Outcome:
    """Run, kill, start again, compare."""
    run, rng, outcome = (
        Campaign(folder, given.images, given.steps, given.threads, given.side),
        random.Random(given.seed),
        Outcome(),
    )
    run.finish("first")  # has the import in it
    seconds = run.finish("whole") / given.side
    while outcome.kills < given.num:
        outcome.runs += 1
        kill_until_done(run, f"killed{outcome.runs}", seconds, given.num, rng, outcome)
        print(outcome, flush=True, file=sys.stderr)
    return outcome


def kill_until_done(run: Campaign, name: str, seconds: float, num: int, rng: random.Random, outcome: Outcome) -> None:
    """One run, killed until it comes to its end by itself, or all kills are spent."""
    before: dict[str, tuple[int, int]] = {}
    others = [run.start(name) for _ in range(run.side - 1)]
    while outcome.kills < num:
        process = run.start(name)
        process.join(rng.uniform(0, seconds))
        if process.is_alive():
            others.append(process)
            process = others.pop(rng.randrange(len(others)))
        if not process.is_alive():
            run.check(process, name)
            break  # one of them came to the end
        process.kill()
        process.join()
        outcome.kills += 1
        now = run.results(name)
        outcome.kills_while_inverting += 0 < len(now) < run.images
        compare(before, now, outcome)
        before = now
    run.finish(name)
    for process in others:
        process.join()
        run.check(process, name)
    compare(before, run.results(name), outcome)
    outcome.missing += run.images - len(run.results(name))
    outcome.unequal += run.records(name) != run.records("whole")
    outcome.leftovers += run.leftovers(name)


def compare(before: dict[str, tuple[int, int]], now: dict[str, tuple[int, int]], outcome: Outcome) -> None:
    """Count what was lost or written again since the last kill."""
    outcome.lost += len(before.keys() - now.keys())
    outcome.twice += sum(now[name] != file for name, file in before.items() if name in now)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num", type=int, default=20, help="kills")
    parser.add_argument("--images", type=int, default=24, help="of the run")
    parser.add_argument("--steps", type=int, default=60, help="of an image")
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--side", type=int, default=1, help="processes that do the same run at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcome = campaign(given, Path(folder))
    print(json.dumps({**vars(given), **asdict(outcome)}))
    return 0 if outcome.clean() else 1


if __name__ == "__main__":
    sys.exit(main())
