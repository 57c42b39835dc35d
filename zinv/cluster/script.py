"""The batch script of a submission, as a person would write it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zinv.config.settings import ClusterSettings
from zinv.errors import ConfigError

LIMIT: Final = re.compile(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2}")


@dataclass(frozen=True)
class Shape:
    """What a job asks of SLURM: nodes, and processes on each."""

    nodes: int = 1
    processes: int = 1


def script(
    name: str, tasks: int, shape: Shape, cluster: ClusterSettings, place: Path, code: Path, cwd: Path, what: str
) -> str:
    """The text of a batch script.

    Args:
        name: of the job in the queue.
        tasks: of the array.
        shape: of each task.
        cluster: what is asked for.
        place: the submission's folder, which has the list of tasks.
        code: the plan's code.
        cwd: where paths in configurations start.
        what: a line on it.
    """
    spread = bool(cluster.whole_node)
    processes = cluster.whole_node or shape.processes
    srun = "srun --kill-on-bad-exit=1 " if not spread and shape.nodes * shape.processes > 1 else ""
    srun = "srun --kill-on-bad-exit=0 " if spread else srun
    python = cluster.python or sys.executable
    exports = [f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1"]
    exports += ["export WANDB_MODE=${WANDB_MODE:-offline}", "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}"]
    exports += ["export ZINV_SPREAD=1  # each process does jobs of its own"] if spread else []
    work = f'exec {srun}{shlex.quote(python)} -m zinv.plans.work {shlex.quote(str(place))} "$SLURM_ARRAY_TASK_ID"'
    head = [f"#SBATCH {flag}" for flag in _flags(name, tasks, shape.nodes, processes, cluster, place, cwd, bool(srun))]
    lines = ["#!/bin/bash", f"# {what}", *head, "", *cluster.prologue, *exports, work]
    return "\n".join(lines) + "\n"


def _flags(
    name: str, tasks: int, nodes: int, processes: int, cluster: ClusterSettings, place: Path, cwd: Path, srun: bool
) -> Iterator[str]:
    running = f"%{cluster.max_running}" if cluster.max_running else ""
    yield f"--job-name={name}"
    yield f"--array=0-{tasks - 1}{running}"
    for key in ("partition", "account", "qos"):
        if value := getattr(cluster, key):
            yield f"--{key}={value}"
    yield f"--nodes={nodes}"
    yield f"--ntasks-per-node={processes}"
    if cluster.gpus:
        yield f"--gres=gpu:{cluster.gpus}"
    yield f"--cpus-per-task={cluster.cpus}"
    if cluster.memory:
        yield f"--mem={cluster.memory}"
    yield f"--time={cluster.time}"
    yield "--requeue"
    yield f"--signal={'' if srun else 'B:'}USR1@{cluster.notice}"
    yield "--open-mode=append"
    yield f"--chdir={cwd}"
    yield f"--output={place.parent.parent / 'logs'}/%A_%a.out"
    yield from cluster.flags


def minutes(limit: str) -> int:
    """A time limit as SLURM writes them, in minutes.

    >>> minutes("30"), minutes("1:30:00"), minutes("2-0"), minutes("1-12:30")
    (30, 90, 2880, 2190)

    Raises:
        ConfigError: it is none.
    """
    if not LIMIT.fullmatch(limit):
        raise ConfigError(f"cluster.time={limit}: not a limit such as 30 (minutes), 4:00:00 or 1-12:00:00.")
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, mins, _ = [*parts, 0, 0][:3]
        return int(days) * 1440 + hours * 60 + mins
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + (parts[2] > 0)
    return parts[0] + (len(parts) == 2 and parts[1] > 0)


def longer(limit: str, factor: int = 2) -> str:
    """A longer limit.

    >>> longer("1:30:00")
    '3:00:00'
    """
    total = minutes(limit) * factor
    return f"{total // 60}:{total % 60:02d}:00"


def split(items: Sequence[list[str]], limit: int) -> list[list[list[str]]]:
    """Tasks in arrays of at most `limit`.

    >>> split([["a"], ["b"], ["c"]], 2)
    [[['a'], ['b']], [['c']]]
    """
    return [list(items[i : i + limit]) for i in range(0, len(items), limit)]


def tasks(jobs: Sequence[str], each: int) -> list[list[str]]:
    """Jobs in tasks of `each`.

    >>> tasks(["a", "b", "c"], 2)
    [['a', 'b'], ['c']]
    """
    return [list(jobs[i : i + each]) for i in range(0, len(jobs), each)]
