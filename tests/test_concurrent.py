"""Several commands that do the same thing at a time: each image once, the same table, nothing lost with a dead one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
RUN = "evaluate generator=toy method=optimize space=zplus data.num=6 data.batch_size=1 trainer=cpu"
Cli = Callable[..., Any]


def start(*words: str) -> subprocess.Popen[str]:
    """A command line in a process of its own, of one thread."""
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "zinv", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "ZINV_LEASE": "5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> None:
    said = process.communicate(timeout=600)
    assert process.returncode == 0, said


def folder(root: str) -> Path:
    (path,) = Path(root).glob("*/*/records.csv")
    return path.parent


def done(root: str) -> list[int]:
    """Images that each start has done."""
    starts = json.loads((folder(root) / "run.json").read_text())["starts"]
    return [sum(one.get("ranks", [0])) for one in starts]


@pytest.mark.slow
def test_two_runs_at_a_time_share_the_images_and_leave_one_table(cli: Cli):
    words = [*RUN.split(), "method.num_steps=150"]
    processes = [start(*words), start(*words)]
    for process in processes:
        ended(process)
    assert sum(done("runs")) == 6 and len(done("runs")) == 2
    assert cli(" ".join(words), "runs=alone").status == 0
    assert (folder("runs") / "records.csv").read_bytes() == (folder("alone") / "records.csv").read_bytes()
    assert not list((folder("runs") / "claims").iterdir())


@pytest.mark.slow
def test_what_one_that_dies_had_begun_the_other_does(cli: Cli):
    words = [*RUN.split(), "method.num_steps=500"]
    first = start(*words)
    while not list(Path("runs").glob("*/*/claims/*")):
        assert first.poll() is None
        time.sleep(0.05)
    second = start(*words)
    while len({path.name for path in Path("runs").glob("*/*/owners/[!.]*")}) < 2:
        assert second.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    ended(second)
    assert len(list(Path("runs").glob("*/*/images/[!.]*/result.json"))) == 6
    assert cli(" ".join(words), "runs=alone").status == 0
    assert (folder("runs") / "records.csv").read_bytes() == (folder("alone") / "records.csv").read_bytes()


@pytest.mark.slow
def test_two_runs_of_an_experiment_at_a_time(cli: Cli):
    place = Path("experiments") / "tiny"
    place.mkdir(parents=True)
    base = "{generator: toy, method: optimize, method.num_steps: 60, data.num: 4, data.batch_size: 1, trainer: cpu}"
    (place / "experiment.yaml").write_text(f"base: {base}\ngrid: {{space: [z, zplus, wplus]}}\n")
    processes = [start("run", "tiny", "--jobs", "1"), start("run", "tiny", "--jobs", "2")]
    for process in processes:
        ended(process)
    assert cli("run tiny --jobs 1 runs=alone").status == 0
    files = [path.relative_to("alone") for path in Path("alone").glob("*/*/records.csv")]
    assert len(files) == 3
    assert all((Path("alone") / file).read_bytes() == (Path("runs") / file).read_bytes() for file in files)
    for file in files:
        starts = json.loads((Path("runs") / file.parent / "run.json").read_text())["starts"]
        assert sum(sum(one["ranks"]) for one in starts) == 4
