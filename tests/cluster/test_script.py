"""Batch scripts: what they ask for, how signals reach Python, several processes, whole nodes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zinv.cluster.script import Shape, longer, minutes, script, split, tasks
from zinv.config.settings import ClusterSettings
from zinv.errors import ConfigError


def text(cluster: ClusterSettings, shape: Shape = Shape(), number: int = 3) -> str:  # noqa: B008
    place = Path("/lab/runs/experiments/tiny/submissions/001")
    return script("tiny", number, shape, cluster, place, Path("/lab/code"), Path("/lab"), "3 jobs")


def flags(of: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in of.splitlines() if line.startswith("#SBATCH")]


def test_one_process_takes_the_signal_itself():
    made = text(ClusterSettings(partition="gpu", account="lab", time="1:00:00", max_running=2, python="/env/python"))
    assert {"--partition=gpu", "--account=lab", "--time=1:00:00", "--array=0-2%2"} <= set(flags(made))
    assert {"--requeue", "--signal=B:USR1@60", "--gres=gpu:1", "--open-mode=append", "--chdir=/lab"} <= set(flags(made))
    assert "--output=/lab/runs/experiments/tiny/logs/%A_%a.out" in flags(made)
    last = made.splitlines()[-1]
    assert last == (
        'exec /env/python -m zinv.plans.work /lab/runs/experiments/tiny/submissions/001 "$SLURM_ARRAY_TASK_ID"'
    )


def test_several_processes_are_started_by_srun_which_ends_all_if_one_dies():
    made = text(ClusterSettings(gpus=4, nodes=2), Shape(2, 4))
    assert {"--nodes=2", "--ntasks-per-node=4", "--gres=gpu:4", "--signal=USR1@60"} <= set(flags(made))
    assert made.splitlines()[-1].startswith("exec srun --kill-on-bad-exit=1 ")


def test_whole_nodes_get_a_job_on_each_gpu():
    made = text(ClusterSettings(gpus=4, whole_node=4))
    assert {"--nodes=1", "--ntasks-per-node=4", "--gres=gpu:4"} <= set(flags(made))
    assert "export ZINV_SPREAD=1" in made and "exec srun --kill-on-bad-exit=0 " in made


def test_the_clusters_own_lines_and_flags_come_along():
    made = text(ClusterSettings(gpus=0, prologue=("module load cuda",), flags=("--exclusive",)))
    assert made.index("module load cuda") < made.index("exec ")
    assert "--exclusive" in flags(made) and "gres" not in made


def test_every_script_is_right_bash(tmp_path: Path):
    for cluster in (ClusterSettings(), ClusterSettings(whole_node=2), ClusterSettings(prologue=("source x y",))):
        done = subprocess.run(["bash", "-n"], input=text(cluster), text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("limit", "number"), [("30", 30), ("90:00", 90), ("1:30:00", 90), ("0:00:30", 1), ("2-0", 2880), ("1-2:3", 1563)]
)
def test_limits_as_slurm_writes_them(limit: str, number: int):
    assert minutes(limit) == number


@pytest.mark.parametrize("limit", ["", "soon", "10min", "1:2:3:4", "-1", "UNLIMITED", "1-"])
def test_what_is_no_limit(limit: str):
    with pytest.raises(ConfigError, match=f"cluster.time={limit}: not a limit such as 30 "):
        minutes(limit)


def test_longer_limits():
    assert (longer("24:00:00"), longer("1-0"), longer("10")) == ("48:00:00", "48:00:00", "0:20:00")


def test_jobs_fill_tasks_and_tasks_fill_arrays():
    assert split(tasks([str(i) for i in range(5)], 2), 2) == [[["0", "1"], ["2", "3"]], [["4"]]]
