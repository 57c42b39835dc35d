"""Runs that are killed: nothing is lost, nothing is done twice, and the records are the same byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT / "benchmarks"))
import kill  # noqa: E402

RUN = "evaluate generator=toy method=bdinvert space=zplus method.num_steps=60 data.num=6 data.batch_size=1 trainer=cpu"
Cli = Callable[..., Any]


def _as_a_shell_does() -> None:
    """Ctrl-C works also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*more: str) -> subprocess.Popen[str]:
    """The run in a process of its own, of one thread."""
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "zinv", *RUN.split(), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_a_shell_does,
    )


def finished(root: str = "runs") -> dict[str, int]:
    """Finished images, and when each was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(root).glob("*/*/images/[!.]*/result.json")}


def wait_for(process: subprocess.Popen[str], number: int) -> None:
    """Until so many images are finished."""
    deadline = time.monotonic() + 300
    while len(finished()) < number:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.01)


def stop(process: subprocess.Popen[str], how: signal.Signals) -> str:
    """Signal it, and what it said."""
    process.send_signal(how)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == (-how if how == signal.SIGKILL else 130), said
    return said


def results() -> dict[str, int]:
    """Finished images of all runs, and when each was finished."""
    return {str(path): path.stat().st_mtime_ns for path in Path("runs").glob("*/*/images/[!.]*/result.json")}


def gone(group: int) -> bool:
    """Whether no process is left of a group, or none after a moment."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def records(root: str) -> bytes:
    (path,) = Path(root).glob("*/*/records.csv")
    return path.read_bytes()


@pytest.mark.slow
def test_killed_and_interrupted_runs_end_as_an_undisturbed_one(cli: Cli):
    process = start()
    wait_for(process, 1)
    time.sleep(0.05)
    stop(process, signal.SIGKILL)
    first = finished()
    process = start()
    wait_for(process, len(first) + 1)
    said = stop(process, signal.SIGINT)
    assert "stopped. Every finished image is kept; the same command goes on from there: zinv evaluate" in said
    assert "Traceback" not in said
    second = finished()
    assert first.items() <= second.items() and len(second) < 6
    assert cli(RUN).status == 0
    assert second.items() <= finished().items()
    assert cli(f"{RUN} runs=undisturbed").status == 0
    assert records("runs") == records("undisturbed")


@pytest.mark.slow
def test_twenty_kills_at_random_moments(capsys: pytest.CaptureFixture[str]):
    """The campaign of benchmarks/kill.py, small: nothing is lost, made twice or left over, and all tables are equal."""
    words = f"--num 20 --images 12 --steps 30 --side 2 --seed {random.randrange(1000)}"
    assert kill.main(words.split()) == 0, capsys.readouterr().out


@pytest.mark.slow
def test_sigterm_stops_at_once(cli: Cli):
    """As a scheduler sends it; Lightning alone would go on."""
    process = start()
    wait_for(process, 1)
    assert "the same command goes on from there" in stop(process, signal.SIGTERM)


@pytest.mark.slow
def test_ctrl_c_stops_rows_side_by_side_at_once_and_loses_nothing(cli: Cli):
    folder = Path("experiments") / "tiny"
    folder.mkdir(parents=True)
    base = "{generator: toy, method: optimize, method.num_steps: 150, data.num: 5, data.batch_size: 1, trainer: cpu}"
    (folder / "experiment.yaml").write_text(f"base: {base}\ngrid: {{space: [z, zplus, wplus]}}\n")
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "zinv", "run", "tiny", "--jobs", "2"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_a_shell_does,
        start_new_session=True,
    )
    wait_for(process, 3)
    first = results()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    began = time.monotonic()
    said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there: zinv run tiny --jobs 2" in said[1]
    assert "Traceback" not in said[0] + said[1]
    assert time.monotonic() - began < 20
    assert gone(process.pid)
    second = results()
    assert first.items() <= second.items() and len(second) < 15
    assert cli("run tiny --jobs 2").status == 0
    assert second.items() <= results().items()
    assert cli("run tiny --jobs 1 runs=undisturbed").status == 0
    files = [path.relative_to("runs") for path in Path("runs").glob("*/*/records.csv")]
    assert len(files) == 3
    assert all((Path("runs") / file).read_bytes() == (Path("undisturbed") / file).read_bytes() for file in files)
