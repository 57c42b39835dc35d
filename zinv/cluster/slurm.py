"""SLURM's own commands, and what they answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from zinv.errors import ConfigError, suggest

TIMEOUT: Final = 60
FAILURES: Final = {
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "PREEMPTED": "stopped",
    **dict.fromkeys(("FAILED", "NODE_FAIL", "BOOT_FAIL"), "lost"),
}
"""Reasons by the last state that SLURM tells of a task; others say no more than that it ended."""


@dataclass(frozen=True)
class Queued:
    """A task in the queue.

    Attributes:
        state: `PENDING`, `RUNNING` …
        reason: why it waits.
        node: where it runs.
    """

    state: str
    reason: str
    node: str


def is_here() -> bool:
    """Whether this machine can submit jobs."""
    return shutil.which("sbatch") is not None


def require() -> None:
    """Raise ConfigError if this machine cannot submit jobs."""
    if not is_here():
        raise ConfigError(
            "there is no SLURM on this machine (sbatch is not in PATH). Submit from a login node of the cluster, "
            "or do the same jobs here with zinv run."
        )


def sbatch(script: Path, flags: Sequence[str] = ()) -> str:
    """Submit a batch script.

    Returns:
        The number of its job.

    Raises:
        ConfigError: SLURM refuses it, with its reason; names the partitions if that was wrong.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    clean |= {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    done = _run("sbatch", "--parsable", *flags, str(script), environment=clean)
    if done.returncode:
        reason = " ".join(done.stderr.replace("sbatch: error: ", "").split())
        known = f" {suggest(_partition(script), partitions())}" if "partition" in reason else ""
        raise ConfigError(f"{script}: SLURM refuses it: {reason.rstrip('.')}.{known}")
    return done.stdout.strip().partition(";")[0]


def partitions() -> list[str]:
    """Names of the partitions of this cluster."""
    return sorted({name.rstrip("*") for name in _run("sinfo", "-h", "-o", "%P").stdout.split()})


def queue(jobs: Sequence[str]) -> dict[str, Queued]:
    """What is in the queue of these jobs and their tasks, by number: `12`, or `12_3` in an array.

    Raises:
        ConfigError: SLURM is here and does not answer.
    """
    if not jobs or shutil.which("squeue") is None:
        return {}
    done = _run("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N")
    if done.returncode:
        reason = " ".join(done.stderr.split()).rstrip(".") or f"squeue ends with {done.returncode}"
        raise ConfigError(f"SLURM does not tell its queue ({reason}); what runs or waits there is not known.")
    lines = done.stdout.splitlines()
    found = {number: Queued(*rest) for number, *rest in (line.split("|") for line in lines) if len(rest) == 3}
    gone = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "DEADLINE")
    return {n: task for n, task in found.items() if n.partition("_")[0] in jobs and task.state not in gone}


def last_state(number: str) -> str:
    """How SLURM says that a task ended, such as `OUT_OF_MEMORY`; nothing if it does not remember."""
    return last_states(number.partition("_")[0]).get(number, "")


@cache
def last_states(job: str) -> dict[str, str]:
    """The states of a job and its tasks, by number: one call for a whole array."""
    lines = _run("scontrol", "show", "job", "-o", job).stdout.splitlines()
    facts = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    found = {f"{job}_{one['ArrayTaskId']}" if "ArrayTaskId" in one else job: one.get("JobState", "") for one in facts}
    if found:
        return found
    lines = _run("sacct", "-n", "-P", "-X", "-j", job, "-o", "JobID,State").stdout.splitlines()
    return {number: state.partition(" ")[0] for number, _, state in (line.partition("|") for line in lines)}


def _run(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _partition(script: Path) -> str:
    lines = script.read_text(encoding="utf-8").splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("#SBATCH --partition=")), "")
