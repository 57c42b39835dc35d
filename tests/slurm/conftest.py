"""A real SLURM of one node with two CPUs, started for the session with folders, ports and a key of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
sys.path.insert(0, str(CHECKOUT / "benchmarks"))
import private_slurm  # noqa: E402
from private_slurm import Slurm  # noqa: E402


@pytest.fixture(scope="session")
def daemons() -> Iterator[Slurm]:
    """munged, slurmctld and slurmd; without them, or without being root, tests are skipped."""
    if reason := private_slurm.missing():
        pytest.skip(reason)
    with private_slurm.started() as slurm:
        yield slurm


@pytest.fixture
def slurm(daemons: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """The daemons, an empty working folder, and an empty queue afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("ZINV_LEASE", "10")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # the node's name is SLURM's own
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield daemons
    private_slurm.said("scancel", "--user=root")
    daemons.wait(60)


@pytest.fixture
def zinv(slurm: Slurm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a process of its own."""

    def call(line: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zinv", *line.split(), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)

    return call
