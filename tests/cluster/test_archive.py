"""An experiment in one file, run again; two runs held against each other; W&B uploads; what is deleted."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from zinv.cluster import reproduce as reproduction
from zinv.cluster import sync as syncing
from zinv.plans import work
from zinv.plans.attempts import attempts
from zinv.plans.plan import Plan, current

Cli = Callable[..., Any]
BASE = "{generator: toy, method: optimize, method.num_steps: 2, data.num: 2, data.batch_size: 1, trainer: cpu}"


@pytest.fixture
def tiny(cli: Cli) -> None:
    folder = Path("experiments") / "tiny"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(f"base: {BASE}\ngrid: {{space: [z, wplus]}}\n")


def runs(root: str = "runs") -> list[Path]:
    return sorted(path.parent for path in Path(root).glob("*/*/records.csv"))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of an archive are done here, by the code that is tested; Python needs long to start again."""

    def work_on(unpacked: reproduction.Unpacked, module: str, plan: str, file: str) -> str:
        opened = Plan.open(Path(plan))
        work.do(opened, work._one(opened, file))
        return ""

    monkeypatch.setattr(reproduction, "_from_its_code", work_on)


def test_an_archive_is_reproduced_byte_for_byte(cli: Cli, tiny: None, in_this_process: None):
    reproduced(cli)


@pytest.mark.slow
def test_an_archive_is_reproduced_from_its_own_code(cli: Cli, tiny: None):
    reproduced(cli)


def test_what_moves_numbers_is_no_place_on_this_machine(cli: Cli, tiny: None, in_this_process: None):
    cli("run tiny --jobs 1")
    cli("archive tiny")
    said = cli("reproduce tiny.tar.gz seed=1")
    assert said.status == 2
    assert said.err.startswith("error: seed=1: changes what optimize-z-toy computes (seed); zinv reproduce takes ")
    said = cli("reproduce tiny.tar.gz data.batch_size=2 trainer.accelerator=cpu")
    assert "changes what" not in said.err and said.status in (0, 1)


def reproduced(cli: Cli) -> None:
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
    again, fresh = cli("reproduce tiny.tar.gz"), cli("reproduce tiny.tar.gz --fresh")
    assert again.out.count(" images were reproduced here before, and kept; --fresh makes them again") == 2
    assert (again.status, fresh.out) == (0, said.out)
    records = Path("reproduced/tiny/archived") / run / "records.csv"
    assert records.read_bytes() == (runs()[0] / "records.csv").read_bytes()


@pytest.mark.slow
def test_archived_results_are_scored_again_without_being_made_again(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    cli("archive tiny")
    said = cli("reproduce tiny.tar.gz --rescore --to lean")
    assert said.status == 2
    assert said.err == "error: tiny.tar.gz: no results are in it: zinv archive tiny --images keeps them.\n"
    assert cli("archive tiny --images").status == 0
    said = cli("reproduce tiny.tar.gz --rescore")
    assert (said.status, said.out.count("the same, byte for byte")) == (0, 2), said.out + said.err
    assert not list(Path("reproduced/tiny").glob("runs/*"))
    with tarfile.open("tiny.tar.gz") as tar:
        names = tar.getnames()
    assert {"table.md", "table.csv"} <= set(names) and any(name.startswith("figures/") for name in names)
    run = runs()[0].name
    assert f"runs/{run}/images/toy-00000/inversion.safetensors" in names


@pytest.mark.slow
def test_what_differs_from_an_archive_is_told_in_numbers(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    cli("archive tiny --images")
    cli("reproduce tiny.tar.gz --rescore")
    folder = Path("reproduced/tiny/archived") / runs()[0].name
    text = (folder / "records.csv").read_text()
    (value,) = {line.split(",")[4] for line in text.splitlines() if line.startswith("toy-00001,")}
    (folder / "records.csv").write_text(text.replace(value, "0.5"))
    lines = list(reproduction._differences(folder, next(Path("reproduced/tiny/rescored").glob(f"{folder.name}/*/*"))))
    assert len(lines) == 1 and " over 2 images" in lines[0] and "; at most 0." in lines[0]


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
    assert said.status == 1 and "1 reports uploaded, 0 were before, 1 failed." in said.out
    assert said.err == "error: runs/x/bbbbbbbb: not uploaded: no network\n"
    broken.clear()
    assert cli("sync").out == "1 reports uploaded, 1 were before, 0 failed.\n"
    assert cli("sync").out == "0 reports uploaded, 2 were before, 0 failed.\n" and len(sent) == 3
    (Path("runs/x/aaaaaaaa/wandb/offline-run-3-a")).mkdir()  # the run went on
    assert cli("sync").out == "1 reports uploaded, 1 were before, 0 failed.\n"
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
    assert {path: path.read_bytes() for path in before} == before
    assert json.loads(cli("status tiny --json").out)[0]["state"] == "done"


def test_cleaning_takes_an_older_plan_once_no_one_has_used_it_for_a_week(cli: Cli, tiny: None):
    cli("run tiny --jobs 1")
    cli("run tiny --jobs 1 seed=1")
    experiment = Path("runs/experiments/tiny")
    plans = experiment / "plans"
    older = plans / (set(path.name for path in plans.iterdir()) - {current(experiment).folder.name}).pop()
    tries = [last for job in Plan(older).jobs for last in attempts(experiment, job.id)]
    cli("clean")
    assert older.is_dir()
    for path in (older, *(last.path for last in tries)):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    os.utime(tries[0].path)  # an agent of a sweep took a job of it
    cli("clean")
    assert older.is_dir()
    os.utime(tries[0].path, (time.time() - 8 * 24 * 3600,) * 2)
    cli("clean")
    assert list(plans.iterdir()) == [current(experiment).folder]


def test_cleaning_to_codes_leaves_what_makes_the_pictures_again(cli: Cli, tiny: None):
    cli("run tiny --jobs 1 store.keep=all")
    pictures = {path: path.read_bytes() for path in Path("runs").glob("*/*/images/*/*.png")}
    assert len(pictures) == 8
    said = cli("clean --keep images")
    assert f"deleted 2 pictures of {runs()[0]} (" in said.out
    assert {path.name for path in Path("runs").glob("*/*/images/*/*.png")} == {"reconstruction.png"}
    cli("clean --keep codes")
    assert not list(Path("runs").glob("*/*/images/*/*.png"))
    for run in runs():
        assert cli(f"score {run} --pictures").status == 0
    left = list(Path("runs").glob("*/*/images/*/*.png"))
    assert len(left) == 4 and all(path.read_bytes() == pictures[path] for path in left)


def test_pictures_that_no_code_gives_again_stay(cli: Cli):
    parts = "method=pti method.num_steps=2 method.pivot_steps=2 method.keep_weights=false"
    said = cli(f"evaluate generator=toy space=wplus data.num=1 trainer=cpu store.keep=codes {parts}")
    assert said.status == 0, said.err
    cli("clean --keep codes")
    assert len(list(Path("runs").glob("*/*/images/*/reconstruction.png"))) == 1


def test_a_plan_of_another_version_hides_no_other_job_or_report(cli: Cli, tiny: None, monkeypatch: pytest.MonkeyPatch):
    cli("run tiny --jobs 1")
    other = Path("runs/experiments/older")
    (other / "plans" / "aaaaaaaa").mkdir(parents=True)
    (other / "experiment.json").write_text('{"plan": "aaaaaaaa", "from": "x"}')
    (other / "plans" / "aaaaaaaa" / "plan.json").write_text('{"format": 0, "version": "0.1"}')
    said = cli(f"logs {runs()[0].name}")
    assert "a plan of another version of zinv (0.1, format 0;" in said.err
    assert said.err.endswith("it was not submitted; what zinv run does is said on its own terminal.\n")
    (runs()[0] / "wandb" / "offline-run-1-a").mkdir(parents=True)
    monkeypatch.setattr(syncing, "_upload", lambda _: True)
    said = cli("sync")
    assert (said.status, said.out) == (0, "1 reports uploaded, 0 were before, 0 failed.\n")
    assert "warning: older as a whole was not reported (runs/experiments/older/plans/aaaaaaaa: a plan of" in said.err


@pytest.mark.slow
def test_an_experiment_is_a_report_of_its_own_told_once_for_each_state(
    cli: Cli, tiny: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    sent: list[str] = []

    def upload(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        sent.append(command[-1])
        return subprocess.CompletedProcess(command, 0, "", "")

    assert cli("run tiny --jobs 1 logger=wandb").status == 0
    monkeypatch.setattr(syncing.subprocess, "run", upload)
    said = cli("sync")
    assert "tiny: table and figures are the W&B run summary-" in said.out, said.err
    assert "3 reports uploaded, 0 were before, 0 failed." in said.out
    (place,) = Path("runs/experiments/tiny/wandb").glob("offline-run-*")
    media = place / "files" / "media"
    table = json.loads(next(media.rglob("table*.table.json")).read_text())
    assert [line[0] for line in table["data"]] == ["Z", "W+"] and {"space", "MSE", "MSE ±"} <= {*table["columns"]}
    assert list(media.rglob("*reconstructions*.png"))
    assert cli("sync").out == "0 reports uploaded, 3 were before, 0 failed.\n"
    assert len(sent) == 3


def test_all_reports_of_a_training_are_uploaded_in_order(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    for name in ("offline-run-1-a", "offline-run-2-a"):
        (Path("runs/train/generator-aaaaaaaa/wandb") / name).mkdir(parents=True)
    sent: list[list[str]] = []

    def upload(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        sent.append(command[4:])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(syncing.subprocess, "run", upload)
    assert cli("sync").out == "2 reports uploaded, 0 were before, 0 failed.\n"
    place = "runs/train/generator-aaaaaaaa/wandb"
    assert sent == [[f"{place}/offline-run-1-a"], ["--append", f"{place}/offline-run-2-a"]]


@pytest.mark.slow
def test_an_agent_of_a_sweep_does_a_job(cli: Cli, tiny: None):
    sweep = sweep_of(cli)
    job = sweep["parameters"]["job"]["values"][0]
    command = ["env", *sweep["command"][1:-1], f"job={job}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith(job), done.stderr


def test_the_sweep_of_a_plan_names_its_jobs_and_its_code(cli: Cli, tiny: None):
    sweep = sweep_of(cli)
    assert sweep["command"][-4:-2] == ["-m", "zinv.plans.work"]
    words = [sweep["command"][-2], f"job={sweep['parameters']['job']['values'][0]}"]
    assert work.main(words[:1]) == 2
    plan = Plan.open(Path(words[0]))
    assert work._one(plan, words[1]) == plan.jobs[0]


def sweep_of(cli: Cli) -> dict[str, Any]:
    """What the sweep file of a plan holds, checked against the plan."""
    cli("run tiny --jobs 1")
    (path,) = Path("runs/experiments/tiny/plans").glob("*/sweep.yaml")
    sweep = yaml.safe_load(path.read_text())
    recipe = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert f"wandb sweep {path}" in recipe[1]
    assert recipe[2].endswith('sbatch --array=0-1 --job-name=tiny --wrap "wandb agent --count 1 ENTITY/PROJECT/ID"')
    assert sorted(sweep["parameters"]["job"]["values"]) == sorted(run.name for run in runs())
    assert sweep["command"][-1] == "${args_no_hyphens}"
    environment = dict(word.split("=", 1) for word in sweep["command"] if "=" in word)
    assert environment["PYTHONPATH"].startswith(str(path.parent.resolve() / "code"))
    found: dict[str, Any] = sweep
    return found
