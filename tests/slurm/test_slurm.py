"""A real SLURM: submit, look, kill, preempt, retry; the tables are those of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import preempt
import pytest
from private_slurm import Slurm

Zinv = Callable[..., subprocess.CompletedProcess[str]]
ASK = ("cluster=cpu", "--cpus", "1", "--time", "10")
pytestmark = pytest.mark.required


def experiment(steps: int, rows: str = "space: [z, zplus]") -> None:
    folder = Path("experiments") / "tiny"
    folder.mkdir(parents=True)
    base = f"generator: toy, method: optimize, method.num_steps: {steps}, data.num: 3, data.batch_size: 1, trainer: cpu"
    (folder / "experiment.yaml").write_text(f"base: {{{base}}}\ngrid: {{{rows}}}\n")


def status(zinv: Zinv) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(zinv("status tiny --json").stdout)
    return found


def until(condition: Callable[[], object], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def finished() -> list[Path]:
    return list(Path("runs").glob("*/*/images/[!.]*/result.json"))


def attempt(task: str) -> dict[str, Any]:
    """What the last try of a task of an array says of itself."""
    tries = [json.loads(path.read_text()) for path in sorted(Path("runs/experiments/tiny/jobs").glob("*/[!.]*.json"))]
    number = task.partition("_")[2]
    return [one for one in tries if one["slurm"]["SLURM_ARRAY_TASK_ID"] == number][-1]


@pytest.mark.slow
def test_submitted_killed_and_preempted_jobs_end_as_those_of_a_run(slurm: Slurm, zinv: Zinv):
    """The source of a space changes while its jobs wait: they run the frozen one."""
    Path("mine.py").write_text("from zinv.spaces.z import Z\n\nclass Mine(Z):\n    label = 'first'\n")
    experiment(200, "space: [mine.Mine, zplus]")
    alone = zinv("run tiny --jobs 1 runs=alone")
    assert alone.returncode == 0, alone.stderr
    said = zinv("submit tiny", *ASK)
    assert said.returncode == 0, said.stderr
    assert "submitted: 2 jobs in 2 tasks as SLURM job" in said.stdout
    assert zinv("submit tiny", *ASK).stdout.endswith("nothing to submit: every job is done or in the queue.\n")
    Path("mine.py").write_text("raise RuntimeError('edited')\n")
    until(finished)
    (first, *_) = [line.split()[0] for line in slurm.queue() if line.endswith("RUNNING")]
    os.kill(attempt(first)["pid"], signal.SIGKILL)  # as its node's kernel does when memory runs out
    slurm.wait(empty=lambda tasks: not any(line.startswith(f"{first} ") for line in tasks))
    slurm.run("sbatch", "-p", "urgent", "-n", "2", "-o", "/dev/null", "--wrap", "sleep 1")
    slurm.wait()
    lost = [job for job in status(zinv) if job["reason"] == "lost"]
    assert len(lost) == 1 and zinv("logs", lost[0]["id"]).stdout.startswith("# ")
    again = zinv("retry tiny")
    assert f"again: {lost[0]['id']} {lost[0]['name']} (died without a word)" in again.stdout
    slurm.wait()
    assert {job["state"] for job in status(zinv)} == {"done"}
    assert zinv("retry tiny").stdout == "nothing is missing.\n"
    files = [path.relative_to("alone") for path in Path("alone").glob("*/*/records.csv")]
    assert len(files) == 2
    assert all((Path("alone") / file).read_bytes() == (Path("runs") / file).read_bytes() for file in files)


@pytest.mark.slow
def test_an_unknown_partition_names_the_ones_there_are(slurm: Slurm, zinv: Zinv):
    experiment(2)
    said = zinv("submit tiny --partition man", *ASK)
    assert said.returncode == 2
    assert "SLURM refuses it: " in said.stderr and "partition" in said.stderr
    assert "Did you mean 'main'? Choose from: main, urgent." in said.stderr


@pytest.mark.slow
def test_processes_under_srun_share_the_images_and_one_that_dies_ends_the_job(slurm: Slurm, zinv: Zinv):
    Path("deadly.py").write_text(
        "import os\nfrom zinv.spaces.z import Z\n\nclass Deadly(Z):\n    def initial(self, generator, rngs):\n"
        "        if os.environ['SLURM_PROCID'] == '1':\n            raise MemoryError('rank 1')\n"
        "        return super().initial(generator, rngs)\n"
    )
    experiment(5, "space: [z, deadly.Deadly]")
    several = "trainer.strategy=ddp trainer.devices=2".split()
    assert zinv("submit tiny", *ASK, *several).returncode == 0
    slurm.wait()
    well, badly = status(zinv)
    assert (well["state"], well["finished"]) == ("done", 3), zinv("logs", well["id"]).stdout
    (start,) = json.loads((Path(well["folder"]) / "run.json").read_text())["starts"]
    assert start["ranks"] == [2, 1]
    assert badly["state"] == "failed" and badly["finished"] < 3
    assert "MemoryError: rank 1" in zinv("logs", badly["id"]).stdout


@pytest.mark.slow
def test_processes_of_a_whole_node_do_a_job_each(slurm: Slurm, zinv: Zinv):
    experiment(5)
    assert zinv("submit tiny cluster=cpu cluster.whole_node=2 --cpus 1 --time 10").returncode == 0
    slurm.wait()
    jobs = status(zinv)
    assert [job["state"] for job in jobs] == ["done", "done"], zinv("logs", jobs[0]["id"]).stdout
    assert len({job["slurm"] for job in jobs}) == 1


@pytest.mark.slow
def test_a_time_limit_is_told_and_the_next_one_is_longer(slurm: Slurm, zinv: Zinv):
    """SLURM tells a job up to a minute too early, by its manual: here 20 s after its start at the earliest."""
    experiment(60000, "space: [z]")
    assert zinv("submit tiny cluster=cpu cluster.notice=40", "--cpus", "1", "--time", "2").returncode == 0
    slurm.wait()
    (job,) = status(zinv)
    assert job["reason"] == "time"
    assert "#SBATCH --time=0:04:00" in zinv("retry tiny --dry-run").stdout


@pytest.mark.slow
def test_a_task_that_breaks_before_its_job_begins(slurm: Slurm, zinv: Zinv):
    experiment(5, "space: [z]")
    assert zinv("submit tiny", *ASK, "cluster.prologue=[echo no such module; exit 3]").returncode == 0
    slurm.wait()
    (job,) = status(zinv)
    assert (job["state"], job["reason"]) == ("failed", "lost")
    assert "no such module" in zinv("logs", job["id"]).stdout


@pytest.mark.slow
def test_a_sweep_under_random_events(slurm: Slurm, capsys: pytest.CaptureFixture[str]):
    """The campaign of benchmarks/preempt.py, small."""
    seed = random.randrange(1000)
    words = f"--jobs 6 --images 2 --steps 40 --events 8 --every 4 --seed {seed}"
    assert preempt.main(words.split(), slurm) == 0, capsys.readouterr().out
