"""Mutated checkpoints through the readers: does anything come out but what a file holds, or one line of error?

    python benchmarks/fuzz.py --minutes 10

Small valid files of every kind and format are changed, at random and with knowledge of their structure, and read. A
finding is any other exception, an import, a command or a written file, more than --seconds of the processor, or more
than --mebibytes of memory. Each is kept in --findings, and makes the exit status 1. What was counted is written into
--out. File number N of a seed is always the same: `--first N --num 1` makes it again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import mutations  # noqa: E402
import torch  # noqa: E402

from tests.generators.checkpoints import layouts  # noqa: E402
from tests.unpickle import samples  # noqa: E402
from zinv.errors import ZinvError  # noqa: E402
from zinv.generators import load_generator  # noqa: E402
from zinv.generators.toy import toy_stylegan1, toy_stylegan2  # noqa: E402
from zinv.unpickle import PERSISTENT, Stub, load  # noqa: E402

CLASSES = ((PERSISTENT, "*"), ("dnnlib.tflib.network", "Network"))
MODULES = {"argparse", *(module for module, _ in CLASSES)}
WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "shutil.", "socket.", "ctypes.", "pickle.", "marshal.")

Reader = Callable[[Path], object]


@dataclass
class Seed:
    """A valid file, and what reads it."""

    name: str
    content: bytes
    read: Reader


@dataclass
class Outcome:
    """What the readers did.

    Attributes:
        files: by kind of mutation, and by outcome.
        seeds: files made of each valid one.
        seconds: of the processor, for the slowest file, and which it was.
        peak: bytes above what the process had, for the largest, and which it was.
        findings: what must not be.
    """

    files: dict[str, Counter[str]] = field(default_factory=dict)
    seeds: Counter[str] = field(default_factory=Counter)
    seconds: tuple[float, str] = (0.0, "")
    peak: tuple[int, str] = (0, "")
    findings: list[str] = field(default_factory=list)


class Slow(Exception):
    """A file that takes too long."""


class Watch:
    """What Python reports while a file is read: imports, executions, commands, files opened for writing."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.on and (event.startswith(WATCHED) or (event == "open" and args[1] not in ("r", "rb", None))):
            self.events.append(f"{event} {args}"[:200])


def seeds() -> Iterator[Seed]:
    """Small valid files of every pickled kind, and of every format."""
    for name, content in samples.samples().items():
        yield Seed(name, content, load_plain)
    networks = {
        "StyleGAN2": (toy_stylegan2(0, 8, 4), layouts.STYLEGAN2),
        "StyleGAN1": (toy_stylegan1(0, 8, 4), layouts.STYLEGAN1),
    }
    with tempfile.TemporaryDirectory() as folder:
        for kind, (generator, writers) in networks.items():
            for name, write in writers.items():
                path = write(Path(folder) / "file", generator)
                yield Seed(f"{name} {kind}", path.read_bytes(), read_generator)


def load_plain(path: Path) -> None:
    """Load a file, whose content must be plain data and stubs of the classes that were asked for."""
    waiting: list[object] = [load(path, CLASSES)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Stub):
            if value.module not in MODULES:
                raise TypeError(f"a stub of {value.module}")
            waiting += [value.state, value.args]
        elif type(value) in (dict, list, tuple):
            waiting += [*value, *value.values()] if isinstance(value, dict) else value
        elif value is not None and type(value) not in (bool, int, float, str, bytes, torch.Tensor):
            raise TypeError(f"a {type(value)}")


def read_generator(path: Path) -> None:
    """Read a generator, and examine one of eight, which takes longer."""
    load_generator(str(path), check=path.stat().st_size % 8 == 0)


def status(name: str) -> int:
    """A number of bytes in this process's status, 0 where there is none such."""
    file = Path("/proc/self/status")
    found = re.search(rf"{name}:\s*(\d+) kB", file.read_text()) if file.exists() else None
    return int(found[1]) << 10 if found else 0


def forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def attempt(read: Reader, path: Path, watch: Watch, limit: float) -> tuple[str, float, int]:
    """Outcome, seconds and bytes of one file."""
    forget_peak()
    before, start, watch.on = status("VmRSS"), time.process_time(), True
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        read(path)
        outcome = "read"
    except ZinvError as error:
        outcome = "refused" if "\n" not in str(error) else f"an error of several lines: {error!r}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever else it is, is a finding
        outcome = repr(error)[:300]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        watch.on = False
    seconds, peak = time.process_time() - start, max(status("VmHWM") - before, 0)
    events, watch.events = watch.events, []
    return (f"it ran {events[0]}" if events else outcome), seconds, peak


def campaign(given: argparse.Namespace, folder: Path) -> Outcome:
    """Mutate and read until the time is over or the files are."""
    files, outcome, watch = list(seeds()), Outcome(), Watch()
    warm_up(files, folder)
    number, end = given.first, time.monotonic() + 60 * given.minutes
    while time.monotonic() < end and (given.num is None or number < given.first + given.num):
        rng = random.Random(f"{given.seed} {number}")
        seed, other = rng.choice(files), rng.choice(files).content
        kind, mutation = mutations.choose(seed.content, rng)
        path = folder / "file.pkl"
        path.write_bytes(mutation(seed.content, rng, other))
        count(outcome, given, (seed, kind, number), path, attempt(seed.read, path, watch, given.seconds))
        number += 1
    return outcome


def warm_up(files: list[Seed], folder: Path) -> None:
    """Read each valid file, which must do; Python imports its own codecs and torch its own parts meanwhile."""
    for seed in files:
        (folder / "valid.pkl").write_bytes(seed.content)
        seed.read(folder / "valid.pkl")


def count(
    outcome: Outcome,
    given: argparse.Namespace,
    which: tuple[Seed, str, int],
    path: Path,
    found: tuple[str, float, int],
) -> None:
    """Enter a file; keep it if it is a finding."""
    (seed, kind, number), (result, seconds, peak) = which, found
    name = f"{number}: {seed.name}, {kind}"
    if peak > given.mebibytes << 20:
        result = f"it took {peak >> 20} MiB"
    if result not in ("read", "refused"):
        outcome.findings.append(f"{name}: {result}")
        given.findings.mkdir(parents=True, exist_ok=True)
        (given.findings / f"{given.seed}-{number}.pkl").write_bytes(path.read_bytes())
        result = "finding"
    outcome.files.setdefault(kind, Counter())[result] += 1
    outcome.seeds[seed.name] += 1
    outcome.seconds = max(outcome.seconds, (round(seconds, 3), name))
    outcome.peak = max(outcome.peak, (peak, name))


def report(given: argparse.Namespace, outcome: Outcome, seconds: float, command: str) -> dict[str, object]:
    """What is written into the result file."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "command": command,
        "commit": commit.stdout.strip(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seconds": round(seconds),
        "files": sum(sum(kinds.values()) for kinds in outcome.files.values()),
        "outcomes": dict(sorted(sum(outcome.files.values(), Counter()).items())),
        "by_kind": {kind: dict(sorted(outcome.files[kind].items())) for kind in sorted(outcome.files)},
        "by_valid_file": dict(sorted(outcome.seeds.items())),
        "slowest": {"processor_seconds": outcome.seconds[0], "file": outcome.seconds[1]},
        "largest": {"bytes_above_before": outcome.peak[0], "file": outcome.peak[1]},
        "limits": {"processor_seconds": given.seconds, "mebibytes": given.mebibytes},
        "findings": outcome.findings,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--num", type=int, default=None, help="files at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the processor that a file may take")
    parser.add_argument("--mebibytes", type=int, default=128, help="that a file may take")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fuzz.json", help="result file")
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"), help="folder of what was found")
    return parser.parse_args(arguments)


def limit_memory() -> None:
    """What would take a GiB and more fails instead, which is a finding."""
    limit = status("VmSize") + (1 << 30)
    if limit > 1 << 30:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def slow(number: int, frame: object) -> None:
    raise Slow("it took too long")


def main(arguments: Sequence[str] | None = None) -> int:
    given, start = parse(arguments), time.monotonic()
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, slow)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        outcome = campaign(given, Path(folder))
    command = f"python benchmarks/fuzz.py --minutes {given.minutes:g} --seed {given.seed}"
    write(given.out, report(given, outcome, time.monotonic() - start, command))
    return 1 if outcome.findings else 0


def write(out: Path, result: object) -> None:
    """Write a result file, and print it."""
    text = json.dumps(result, indent=1) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    limit_memory()
    sys.exit(main())
