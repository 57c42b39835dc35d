"""The corpus of hostile checkpoints through the decoder: how many of each kind, and what came of them.

    python benchmarks/hostile.py

Each file would make one named `canary` if it were obeyed. Counted are those that were refused in one line, and those
that are plain data once nothing is called. A finding is anything else, as in `fuzz.py`. Valid files cut at every
37th byte, and with one of their bits changed, come after the corpus.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import fuzz  # noqa: E402
import torch  # noqa: E402

from tests.unpickle.hostile import cases  # noqa: E402
from tests.unpickle.samples import samples  # noqa: E402

STEP, FLIPS = 37, 60


def files() -> Iterator[tuple[str, str, bytes]]:
    """Kind, name and content of each."""
    for case in cases():
        yield case.kind, case.name, case.content
    for name, content in samples().items():
        for size in range(0, len(content), STEP):
            yield "cut", f"{name} to {size}", content[:size]
        rng = random.Random(name)
        for number in range(FLIPS):
            changed = bytearray(content)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            yield "one bit", f"{name}, {number}", bytes(changed)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="take every so many-th file")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the processor that a file may take")
    parser.add_argument("--mebibytes", type=int, default=128, help="that a file may take")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "hostile.json", help="result file")
    given, start = parser.parse_args(arguments), time.monotonic()
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, fuzz.slow)
    outcome, watch = fuzz.Outcome(), fuzz.Watch()
    with tempfile.TemporaryDirectory() as folder:
        given.findings = Path(folder) / "findings"
        fuzz.warm_up([seed for seed in fuzz.seeds() if seed.read is fuzz.load_plain], Path(folder))
        for number, (kind, name, content) in enumerate(files()):
            if number % given.every == 0:
                path = Path(folder) / "file.pkl"
                path.write_bytes(content)
                given.seed, seed = 0, fuzz.Seed(name, content, fuzz.load_plain)
                found = fuzz.attempt(seed.read, path, watch, given.seconds)
                fuzz.count(outcome, given, (seed, kind, number), path, found)
    command = "python benchmarks/hostile.py"
    result = fuzz.report(given, outcome, time.monotonic() - start, command)
    del result["by_valid_file"]
    fuzz.write(given.out, result)
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    fuzz.limit_memory()
    sys.exit(main())
