"""An experiment in one file, run again; two runs held against each other; W&B uploads; what is deleted."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from zinv.cluster import sync as syncing

Cli = Callable[..., Any]
BASE = "{generator: toy, method: optimize, method.num_steps: 2, data.num: 2, data.batch_size: 1, trainer: cpu}"


@pytest.fixture
def tiny(cli: Cli) -> None:
    folder = Path("experiments") / "tiny"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(f"base: {BASE}\ngrid: {{space: [z, wplus]}}\n")


def runs(root: str = "runs") -> list[Path]:
    return sorted(path.parent for path in Path(root).glob("*/*/records.csv"))


def test_an_archive_is_reproduced_byte_for_byte_and_says_what_differs(cli: Cli, tiny: None):
    said = cli("archive tiny")
    assert said.status == 2 and "tiny: no plan of it in runs/experiments" in said.err
    assert cli("run tiny --jobs 1").status == 0
    said = cli("archive tiny")
    assert said.status == 0 and said.out.startswith("tiny.tar.gz: 2 jobs, ")
    with tarfile.open("tiny.tar.gz") as tar:
        names = tar.getnames()
    run = runs()[0].name
    for name in ("archive.json", "table.md", "plan/jobs.jsonl", "plan/code/zinv/run.py", f"runs/{run}/SHA256SUMS"):
        assert name in names
    said = cli("reproduce tiny.tar.gz")
    assert (said.status, said.out.count("the same, byte for byte")) == (0, 2), said.out + said.err
    records = Path("reproduced/tiny/archived") / run / "records.csv"
    assert records.read_bytes() == (runs()[0] / "records.csv").read_bytes()


def test_an_experiment_that_is_not_done_is_not_archived(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    next(runs()[0].glob("images/toy-00000/result.json")).parent.rename("elsewhere")
    said = cli("archive tiny")
    assert said.status == 2 and "tiny: 1 jobs are not done (" in said.err


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive(cli: Cli, content: bytes):
    Path("x.tar.gz").write_bytes(content)
    said = cli("reproduce x.tar.gz")
    assert said.status == 2 and said.err.startswith("error: x.tar.gz: not an archive of zinv archive (")


def test_two_runs_differ_in_settings_and_image_by_image(cli: Cli, tiny: None):
    line = "evaluate generator=toy space=wplus method.num_steps=2 data.num=3 trainer=cpu"
    cli(line)
    cli(line, "method.lr=0.05", "seed=1")
    first, second = map(str, runs())
    said = cli(f"diff {first} {second}")
    assert said.status == 1
    lines = said.out.splitlines()
    assert {line.partition(":")[0] for line in lines} >= {"method.lr", "seed", "MSE"}
    (mse,) = (line for line in lines if line.startswith("MSE: "))
    assert " over 3 images, p = " in mse and "; at most " in mse
    assert cli(f"diff {first} {first}").out == "no difference.\n"
    assert "there is no run in this folder" in cli(f"diff {first} nowhere").err


def test_each_offline_report_is_uploaded_once_and_the_last_one_only(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("offline-run-1-a", "offline-run-2-a"):
        (Path("runs/x/aaaaaaaa/wandb") / name).mkdir(parents=True)
    (Path("runs/x/bbbbbbbb/wandb/offline-run-1-b")).mkdir(parents=True)
    sent: list[str] = []
    broken = {"bbbbbbbb"}

    def upload(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        fails = any(name in command[-1] for name in broken)
        sent.append(command[-1])
        return subprocess.CompletedProcess(command, int(fails), "", "no network\n" if fails else "")

    monkeypatch.setattr(syncing.subprocess, "run", upload)
    said = cli("sync")
    assert sent == ["runs/x/aaaaaaaa/wandb/offline-run-2-a", "runs/x/bbbbbbbb/wandb/offline-run-1-b"]
    assert said.status == 1 and "1 runs uploaded, 0 were before, 1 failed." in said.out
    assert said.err == "error: runs/x/bbbbbbbb: not uploaded: no network\n"
    broken.clear()
    assert cli("sync").out == "1 runs uploaded, 1 were before, 0 failed.\n"
    assert cli("sync").out == "0 runs uploaded, 2 were before, 0 failed.\n" and len(sent) == 3
    (Path("runs/x/aaaaaaaa/wandb/offline-run-3-a")).mkdir()  # the run went on
    assert cli("sync").out == "1 runs uploaded, 1 were before, 0 failed.\n"
    assert "nowhere: no folder of runs." in cli("sync nowhere").err


def test_cleaning_takes_what_serves_no_one_and_leaves_results(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    cli("run tiny --jobs 1 seed=1")
    run = runs()[0]
    for path in (
        run / "images" / ".tmp-toy-00000-host-1",
        run / "wandb" / "offline-run-1-a",
        run / "wandb" / "offline-run-2-a",
    ):
        path.mkdir(parents=True)
    (run / "claims" / "toy-00000.0").write_text("gone")
    before = {path: path.read_bytes() for path in Path("runs").glob("*/*/records.csv")}
    said = cli("clean --dry-run")
    assert "would delete" in said.out and (run / "claims" / "toy-00000.0").exists()
    said = cli("clean")
    assert said.status == 0 and "offline-run-1-a" in said.out
    assert not list(run.glob("claims/*")) and not list(run.glob("images/.*"))
    assert [path.name for path in run.glob("wandb/*")] == ["offline-run-2-a"]
    assert len(list(Path("runs/experiments/tiny/plans").iterdir())) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads(cli("status tiny --json").out)[0]["state"] == "done"


def test_the_sweep_of_a_plan_names_its_jobs_and_its_code(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    (path,) = Path("runs/experiments/tiny/plans").glob("*/sweep.yaml")
    sweep = yaml.safe_load(path.read_text())
    assert sorted(sweep["parameters"]["job"]["values"]) == sorted(run.name for run in runs())
    assert sweep["command"][-1] == "${args_no_hyphens}"
    environment = dict(word.split("=", 1) for word in sweep["command"] if "=" in word)
    assert environment["PYTHONPATH"].startswith(str(path.parent.resolve() / "code"))
    job = sweep["parameters"]["job"]["values"][0]
    command = ["env", *sweep["command"][1:-1], f"job={job}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith(job), done.stderr
