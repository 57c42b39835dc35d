"""Status and retry from files: what each try left behind, what died, what is damaged, what is set aside, how fast."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zinv.cluster import slurm, submit
from zinv.cluster.state import progress
from zinv.config.selection import select
from zinv.config.settings import ClusterSettings
from zinv.errors import ConfigError
from zinv.evaluation.claims import here
from zinv.plans import attempts, work
from zinv.plans.attempts import Stopped, attempt, reason_of
from zinv.plans.make import choose, freeze, plan_jobs
from zinv.plans.plan import Plan, current

Cli = Callable[..., Any]
TINY = "base: {generator: toy, method.num_steps: 2, data.num: 4, trainer: cpu}\ngrid: {space: [z, zplus]}\n"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and its plan, which is the same for all tests."""
    place = tmp_path_factory.mktemp("frozen")
    (place / "experiments" / "tiny").mkdir(parents=True)
    (place / "experiments" / "tiny" / "experiment.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        selected = select("tiny", [])
        freeze(selected.experiment, plan_jobs(choose(selected)))
    return place


@pytest.fixture
def plan(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """That plan in a folder of its own, as if it had been made there; SLURM knows of nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm, "queue", lambda jobs: {})
    monkeypatch.setattr(slurm, "last_state", lambda number: "")
    shutil.copytree(frozen, tmp_path, dirs_exist_ok=True, ignore=lambda *_: {"code"})
    experiment = Path("runs") / "experiments" / "tiny"
    (folder,) = (experiment / "plans").iterdir()
    (folder / "code").symlink_to(frozen / folder / "code")
    for path in (experiment / "experiment.json", folder / "plan.json"):
        path.write_text(path.read_text().replace(str(frozen), str(tmp_path)))
    return current(experiment)


def run(plan: Plan) -> Path:
    """The run folder of the first job, still empty."""
    folder = Path(str(plan.jobs[0].folder))
    for part in ("images", "failed"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    return folder


def left(plan: Plan, **facts: Any) -> Path:
    """A file that a try of the first job left behind."""
    folder = attempts.folder(plan.experiment, plan.jobs[0].id)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):020d}-1.json"
    path.write_text(json.dumps({**here(), "count": 1, "seconds": 10.0, **facts}))
    return path


def of(plan: Plan) -> Any:
    return progress(plan)[0]


def test_a_plan_that_was_not_begun(plan: Plan):
    one = of(plan)
    assert (one.state, one.finished, one.total, one.heartbeat) == ("to do", 0, 4, None)


def test_finished_and_failed_images_are_counted_with_their_reasons(plan: Plan):
    folder = run(plan)
    for name in ("toy-00000", "toy-00001", "of-another-start", ".tmp-toy-00002-x"):
        (folder / "images" / name).mkdir()
    (folder / "failed" / "toy-00002.json").write_text(json.dumps({"reason": "no face"}))
    (folder / "failed" / "toy-00001.json").write_text(json.dumps({"reason": "was tried again"}))
    left(plan, reason="images", ended=True, before=0)
    one = of(plan)
    assert (one.finished, one.failures, one.words) == (2, {"toy-00002": "no face"}, "failed: images failed")
    assert one.seconds == 5.0


def all_images(plan: Plan) -> Path:
    folder = run(plan)
    for name in plan.ids(plan.jobs[0]):
        (folder / "images" / name).mkdir()
    return folder


def test_all_images_and_their_records_are_a_job_that_is_done(plan: Plan):
    """Here `zinv evaluate` made them, which keeps no tries."""
    folder = all_images(plan)
    assert of(plan).state == "to do"
    (folder / "records.csv").touch()
    assert of(plan).state == "done"


@pytest.mark.parametrize("group", ["protocol", "direction"])
def test_other_scores_or_edits_of_finished_images_are_still_to_do(plan: Plan, group: str):
    """Neither counts in a job's id."""
    all_images(plan)
    job = plan.jobs[0]
    left(plan, ended=True, reason=None, before=0, asked=job.asked)
    assert of(plan).state == "done"
    other = replace(job, config={**job.config, group: {"_name_": "another"}})
    assert (other.id, progress(plan, [other])[0].state) == (job.id, "to do")


def test_a_job_that_died_after_its_last_image_is_not_done(plan: Plan):
    """Scores and records may be missing."""
    all_images(plan)
    left(plan, pid=2**22 + 1)
    assert of(plan).words == "failed: died without a word"
    left(plan, ended=True, reason=None)
    assert of(plan).state == "done"


def test_a_damaged_record_is_told_and_stops_nothing(plan: Plan):
    (run(plan) / "failed" / "toy-00003.json").write_text("{")
    left(plan, ended=True, reason="images").write_text("{")
    one = of(plan)
    assert "a record that cannot be read; delete it to try the image again" in one.failures["toy-00003"]
    assert one.state in ("running", "failed")


def test_one_that_beats_runs(plan: Plan):
    left(plan, before=0)
    (run(plan) / "images" / "toy-00000").mkdir()
    one = of(plan)
    assert (one.state, one.left) == ("running", 30.0)
    assert one.heartbeat is not None and one.heartbeat < 5
    assert one.node == socket.gethostname()


def test_one_that_beats_no_more_died_without_a_word(plan: Plan):
    path = left(plan, place="elsewhere", host="node7")
    assert of(plan).state == "running"
    old = path.stat().st_mtime - 120
    os.utime(path, (old, old))
    assert of(plan).words == "failed: died without a word"


def test_one_whose_process_is_gone_here_died_at_once(plan: Plan):
    left(plan, pid=2**22 + 1)
    assert of(plan).words == "failed: died without a word"


def test_slurm_says_why_one_died_if_it_remembers(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "last_state", lambda number: {"7_0": "OUT_OF_MEMORY"}[number])
    left(plan, pid=2**22 + 1, slurm={"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"})
    assert of(plan).words == "failed: out of memory"


def test_a_task_that_broke_before_its_job_began_failed(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """A prologue that fails, for instance: no try tells of it, only SLURM."""
    sent = plan.experiment / "submissions" / "001"
    sent.mkdir(parents=True)
    (sent / "submission.json").write_text(json.dumps({"tasks": [{"jobs": [of(plan).job.id]}], "time": "10"}))
    (sent / "slurm.json").write_text(json.dumps({"job": "7"}))
    for state, words in {"FAILED": "failed: died without a word", "TIMEOUT": "failed: time limit", "": "to do"}.items():
        monkeypatch.setattr(slurm, "last_state", {"7_0": state}.__getitem__)
        assert of(plan).words == words


def test_one_call_asks_slurm_of_a_whole_array(monkeypatch: pytest.MonkeyPatch):
    shown = "JobId={} ArrayJobId=7 ArrayTaskId={} JobState={} Reason=None"
    shown = "\n".join([shown.format(8, 0, "FAILED"), shown.format(7, 1, "TIMEOUT")])
    answers = {"scontrol": {"7": shown}, "sacct": {"9": "9_0|CANCELLED by 0\n9_1|NODE_FAIL"}}
    asked = []

    def run(command: str, *rest: str) -> subprocess.CompletedProcess[str]:
        job = next(word for word in rest if word.isdecimal())
        asked.append((command, job))
        return subprocess.CompletedProcess([], 0, answers[command].get(job, ""), "")

    slurm.last_states.cache_clear()
    monkeypatch.setattr(slurm, "_run", run)
    told = [slurm.last_states(number.partition("_")[0]).get(number) for number in ("7_0", "7_1", "9_0", "9_1", "9_2")]
    slurm.last_states.cache_clear()
    assert told == ["FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", None]
    assert asked == [("scontrol", "7"), ("scontrol", "9"), ("sacct", "9")]


def test_preempted_is_not_failed_however_often(plan: Plan):
    for _ in range(5):
        left(plan, ended=True, reason="stopped")
    one = of(plan)
    assert (one.words, one.failed_tries) == ("stopped: preempted or cancelled", 0)


def test_the_third_failure_in_vain_sets_a_job_aside(plan: Plan):
    for reason in ("error", "memory"):
        left(plan, ended=True, reason=reason, before=0, error="ValueError: x")
    assert of(plan).state == "failed"
    left(plan, ended=True, reason="error", before=0, error="ValueError: x")
    one = of(plan)
    assert (one.state, one.failed_tries, one.error) == ("set aside", 3, "ValueError: x")


def test_the_last_try_is_the_last_by_the_clock_of_the_file_system(plan: Plan):
    """A node whose clock goes ahead names its file of a time to come."""
    all_images(plan)
    early = left(plan, ended=True, reason="stopped")
    early = early.rename(early.with_name(f"{10**19:020d}-1.json"))
    os.utime(early, (1e9, 1e9))
    left(plan, ended=True, reason=None)
    assert of(plan).state == "done"


def test_failures_that_got_further_set_nothing_aside(plan: Plan):
    for before in (0, 1, 2):
        left(plan, ended=True, reason="time", before=before)
        (run(plan) / "images" / f"toy-0000{before}").mkdir()
    assert of(plan).words == "failed: time limit"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (ValueError("x"), "error"),
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(1), "stopped"),
        (Stopped("time"), "time"),
    ],
)
def test_reasons_of_exceptions(plan: Plan, error: BaseException, reason: str):
    assert reason_of(error) == reason
    with pytest.raises(type(error)), attempt(plan.experiment, plan.jobs[0].id):
        raise error
    (kept,) = attempts.attempts(plan.experiment, plan.jobs[0].id)
    assert (kept.reason, kept.ended) == (reason, True)


def test_a_job_that_another_rank_ended_has_its_reason(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """The first rank learns only that it is alone, or is killed."""

    def compute(*_: object) -> int:
        raise MemoryError("no more")

    job = plan.jobs[0]
    monkeypatch.setattr(work, "_compute", compute)
    with attempt(plan.experiment, job.id) as heart:
        monkeypatch.setenv("SLURM_PROCID", "1")
        with pytest.raises(MemoryError):
            work.do(plan, job)
        heart.tell(reason="stopped")  # as srun ends the others
    one = of(plan)
    assert (one.words, one.error, one.failed_tries) == ("failed: out of memory", "rank 1: MemoryError: no more", 1)
    with attempt(plan.experiment, job.id) as heart:
        heart.tell(reason="time")
    with pytest.raises(MemoryError):
        work.do(plan, job)  # it dies after the first, whose reason stands
    assert of(plan).words == "failed: time limit"


def test_a_signal_that_a_library_turns_into_an_error_still_stops_the_task(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """As in the middle of an import."""

    def compute(*_: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(1)
        except BaseException as error:
            raise ImportError("half a module") from error
        return 0

    monkeypatch.setattr(work, "_compute", compute)
    monkeypatch.setattr(Stopped, "asked", None)
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    handlers = {number: signal.getsignal(number) for number in work.SIGNALS}
    try:
        assert work.work(plan, plan.jobs, {}, "") == 143
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.pop("SLURM_JOB_NAME", None)
    first, second = progress(plan)
    assert (first.words, second.words) == ("failed: time limit", "to do")


def test_what_is_submitted_again_and_how(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    left(plan, ended=True, reason="memory", batch_size=8)
    sent: list[Path] = []
    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr(slurm, "sbatch", lambda path, flags: sent.append(path) or "7")
    assert submit.retry("tiny", [], "runs") == 0
    tasks = json.loads((sent[0].parent / "submission.json").read_text())["tasks"]
    first, second = (job.id for job in plan.jobs)
    assert tasks == [{"jobs": [first], "batch_size": {first: 4}}, {"jobs": [second], "batch_size": {}}]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is given to sbatch: each script, and the flags beside it."""
    sent: list[str] = []

    def sbatch(path: Path, flags: Sequence[str] = ()) -> str:
        sent.append(path.read_text() + " ".join(flags))
        return str(len(sent))

    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr(slurm, "sbatch", sbatch)
    return sent


def limits(scripts: Sequence[str]) -> list[str]:
    return [line.partition("=")[2] for text in scripts for line in text.splitlines() if line.startswith("#SBATCH --ti")]


def test_a_time_limit_is_doubled_for_those_that_it_ended(plan: Plan, scripts: list[str]):
    left(plan, ended=True, reason="error")
    assert submit.retry("tiny", ["cluster.time=1:00:00"], "runs") == 0
    left(plan, ended=True, reason="time")
    assert submit.retry("tiny", [], "runs") == 0
    assert sorted(limits(scripts)) == ["1:00:00", "1:00:00", "2:00:00"]
    left(plan, ended=True, reason="images")
    assert submit.retry("tiny", [], "runs") == 0  # the limit of all is what was asked for
    assert limits(scripts)[3:] == ["1:00:00"]


def test_a_limit_that_is_given_is_that_of_all(plan: Plan, scripts: list[str]):
    left(plan, ended=True, reason="time")
    assert submit.retry("tiny", ["cluster.time=3:00:00"], "runs") == 0
    assert limits(scripts) == ["3:00:00"]


def test_what_slurm_refused_is_no_model_of_the_next_submission(
    plan: Plan, scripts: list[str], monkeypatch: pytest.MonkeyPatch
):
    assert submit.retry("tiny", ["cluster.partition=main"], "runs") == 0
    with monkeypatch.context() as patch, pytest.raises(ConfigError, match="refuses"):

        def refuse(*_: object) -> str:
            raise ConfigError("SLURM refuses it")

        patch.setattr(slurm, "sbatch", refuse)
        submit.retry("tiny", ["cluster.partition=man"], "runs")
    assert submit.retry("tiny", [], "runs") == 0
    assert "--partition=main" in scripts[-1]


def needing(plan: Plan) -> Plan:
    """The same, whose first job is a training that the second one needs."""
    first, second = plan.jobs
    plan.__dict__["jobs"] = [replace(first, training=True), replace(second, needs=[first.id])]
    return plan


def test_a_training_that_the_limit_ended_still_goes_first(
    plan: Plan, scripts: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submit, "current", lambda _: needing(plan))
    left(plan, ended=True, reason="time")
    assert submit.retry("tiny", ["cluster.partition=main"], "runs") == 0
    assert limits(scripts) == ["48:00:00", "24:00:00"]
    assert scripts[1].endswith("--dependency=afterok:1 --kill-on-invalid-dep=yes")


def test_what_needs_a_training_that_is_set_aside_waits(
    plan: Plan, scripts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(submit, "current", lambda _: needing(plan))
    for _ in range(3):
        left(plan, ended=True, reason="error")
    assert submit.retry("tiny", [], "runs") == 0
    first, second = plan.jobs
    assert scripts == []
    assert f"waits: {second.id} {second.name} needs {first.id}, which is set aside" in capsys.readouterr().out
    assert submit.retry("tiny", [], "runs", every=True) == 0 and len(scripts) == 2


def test_a_training_is_done_when_its_card_is_there_wherever_one_looks_from(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """Its folder may have been unknown when the plan was made."""
    first = plan.jobs[0]
    plan.__dict__["jobs"] = [replace(first, training=True, folder=None)]
    left(plan, ended=True, reason=None, folder="runs/train/x")
    experiment = plan.experiment.resolve()
    assert of(plan).state == "to do"
    card = Path("runs/train/x/card.json").resolve()
    card.parent.mkdir(parents=True)
    card.touch()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    moved = Plan(experiment / "plans" / plan.folder.name)
    moved.__dict__["jobs"] = plan.jobs
    assert of(moved).state == "done"


def test_nothing_is_submitted_while_slurm_does_not_tell_its_queue(
    plan: Plan, cli: Cli, scripts: list[str], monkeypatch: pytest.MonkeyPatch
):
    assert submit.retry("tiny", [], "runs") == 0
    monkeypatch.undo()
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    (Path("bin")).mkdir()
    for name in ("sbatch", "squeue"):
        (Path("bin") / name).write_text("#!/bin/sh\necho 'slurm_load_jobs error: Socket timed out' >&2\nexit 1\n")
        (Path("bin") / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').resolve()}:{os.environ['PATH']}")
    reason = "SLURM does not tell its queue (slurm_load_jobs error: Socket timed out); what runs or waits there is not"
    for line in ("submit tiny", "retry tiny"):
        said = cli(line)
        assert said.status == 2 and said.err.startswith(f"error: {reason}")
    said = cli("status tiny")
    assert said.err.startswith(f"warning: {reason}") and "0 of 8 images" in said.out


def test_trainings_go_first_and_the_others_wait(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    first, second = plan.jobs
    training = replace(first, id="aaaaaaaa", training=True)
    sent: list[list[str]] = []
    monkeypatch.setattr(slurm, "sbatch", lambda path, flags: sent.append(list(flags)) or f"{len(sent)}")
    made = submit.orders([replace(second, needs=["aaaaaaaa"]), training], ClusterSettings(gpus=0))
    assert submit._submit(plan, made, dry_run=False, awaited={}) == 0
    assert sent == [[], ["--dependency=afterok:1", "--kill-on-invalid-dep=yes"]]
    made = submit.orders([replace(second, needs=["aaaaaaaa"])], ClusterSettings(gpus=0))
    assert submit._submit(plan, made, dry_run=False, awaited={"aaaaaaaa": "9_0"}) == 0
    assert sent[2][0] == "--dependency=afterok:9_0"


def test_a_limit_that_slurm_would_not_understand(plan: Plan, cli: Cli):
    for line in ("submit tiny --dry-run --time soon", "retry tiny --dry-run --time soon"):
        assert cli(line).err.startswith("error: cluster.time=soon: not a limit such as 30 (minutes), 4:00:00")


def test_a_notice_as_long_as_the_limit_is_refused(plan: Plan, cli: Cli):
    said = cli("submit tiny --dry-run cluster=cpu --time 1")
    assert said.status == 2
    assert said.err.startswith("error: cluster.notice=60 (seconds) leaves nothing of cluster.time=1: a job would be")


@pytest.mark.parametrize("flag", ["--time=9", "-t9", "--array=0-3", "--signal=USR2"])
def test_flags_of_sbatch_that_a_retry_changes_are_refused(plan: Plan, cli: Cli, flag: str):
    said = cli(f"submit tiny --dry-run -- {flag}")
    assert said.status == 2
    assert said.err.startswith(f"error: {flag}: zinv asks for this itself, and changes it between tries. Use ")
    assert "#SBATCH --exclude=x" in cli("submit tiny --dry-run -- --exclude=x").out


@pytest.mark.parametrize("text", ["[]", "{}", "{", ""])
@pytest.mark.parametrize("file", ["experiment.json", "submissions/001/submission.json"])
def test_a_damaged_file_of_an_experiment_is_named(plan: Plan, cli: Cli, file: str, text: str):
    path = plan.experiment / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for line in ("status tiny", "retry tiny --dry-run", "clean"):
        said = cli(line)
        assert said.status == 2 and said.err.startswith(f"error: {path}: not readable ("), said


def test_a_damaged_try_counts_as_one_that_is_lost(plan: Plan):
    path = left(plan, ended=True, reason=None)
    path.write_text("[]")
    os.utime(path, (0, 0))
    assert of(plan).words == "failed: died without a word"


def test_several_nodes_without_gpus_are_a_process_each(plan: Plan, cli: Cli):
    said = cli("submit tiny --dry-run cluster=cpu --nodes 2")
    assert said.status == 0, said.err
    assert "#SBATCH --nodes=2" in said.out and "exec srun --kill-on-bad-exit=1 " in said.out


def test_a_retry_leaves_the_processes_of_a_plan(plan: Plan, cli: Cli):
    for flag in ("--nodes", "--gpus"):
        assert cli(f"retry tiny {flag} 2").err.startswith(f"error: zinv retry {flag}: no such flag.")


def test_without_slurm_nothing_is_submitted(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    monkeypatch.setenv("PATH", "")
    for line in ("submit tiny", "retry tiny"):
        said = cli(line)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("error: there is no SLURM on this machine (sbatch is not in PATH). Submit from a ")
    assert not (plan.experiment / "submissions").exists()


def test_a_dry_run_needs_no_slurm_and_prints_jobs_and_script(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    monkeypatch.setenv("PATH", "")
    said = cli("submit tiny --dry-run --partition gpu --array-limit 1 -- --exclusive")
    assert said.status == 0, said.err
    assert said.out.count("#!/bin/bash") == 2
    assert "#SBATCH --partition=gpu" in said.out and "#SBATCH --exclusive" in said.out
    assert f"{plan.jobs[0].id}  optimize-z-toy: 4 images" in said.out
    assert cli("submit tiny --dry-run data.num=9").status == 0
    assert current(plan.experiment).folder.name == plan.folder.name
    assert not (plan.experiment / "submissions").exists()


def test_a_pilot_tells_hours_memory_and_what_each_choice_keeps(plan: Plan, cli: Cli):
    said = cli("submit tiny --dry-run --pilot cluster=cpu data.num=1000 store.keep=codes")
    assert said.status == 0, said.err
    assert " h of one device, on disk " in said.out and "by one image of each of 2 runs here" in said.out
    (line,) = (line for line in said.out.splitlines() if " optimize-z-toy: " in line and "on disk" in line)
    sizes = {keep: float(size) for size, keep in re.findall(r"([\d.e-]+) GB \(store\.keep=(\w+)\)", line)}
    assert 0 < sizes["codes"] < sizes["images"] < sizes["all"]
    assert cli("evaluate generator=toy space=z method.num_steps=2 data.num=1 trainer=cpu store.keep=codes").status == 0
    folder = next(Path("runs").glob("optimize-z-toy/*/images/*"))
    one = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert sizes["codes"] == pytest.approx(1000 * one / 1e9, rel=0.05)


def test_status_of_what_was_never_planned(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    said = cli("status tin")
    assert (said.status, said.err) == (
        2,
        "error: tin: no plan of it in runs/experiments. Did you mean 'tiny'? Choose from: tiny.\n",
    )


def test_status_for_people_and_for_scripts(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    monkeypatch.setattr(slurm, "queue", lambda jobs: {})
    left(plan, ended=True, reason="error", error="ValueError: x")
    said = cli("status tiny")
    assert said.status == 1
    assert "failed: error" in said.out and "0/4" in said.out and "0 of 8 images; 1 failed, 1 to do" in said.out
    first, second = json.loads(cli("status tiny --json").out)
    assert (first["state"], first["error"], second["state"]) == ("failed", "ValueError: x", "to do")


def test_logs_of_what_was_not_submitted(plan: Plan, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(plan.facts["cwd"]))
    said = cli(f"logs {plan.jobs[0].id}")
    assert said.status == 2 and "it was not submitted; what zinv run does is said on its own terminal." in said.err
    assert "zzz: no job of this name." in cli("logs zzz").err


def test_ten_thousand_finished_images_in_under_two_seconds(plan: Plan):
    folder = run(plan)
    ids = [f"image-{i:05d}" for i in range(10_000)]
    for name in ids:
        (folder / "images" / name).mkdir()
    (folder / "records.csv").touch()
    key = plan.jobs[0].images
    (plan.folder / "images" / f"{key}.txt").write_text("\n".join(ids) + "\n")
    plan.facts["images"][key] = len(ids)
    began = time.monotonic()
    assert (of(plan).finished, of(plan).state) == (10_000, "done")
    assert time.monotonic() - began < 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)):
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*words: str) -> int:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode


def test_a_plan_is_whole_or_absent_on_a_disk_that_is_full(plan: Plan, cli: Cli, disk: Path):
    """The frozen code alone is larger."""
    said = cli(f"run tiny runs={disk} --jobs 1")
    place = disk / "experiments" / "tiny"
    assert said.err.startswith(f"error: {place}: cannot write (No space left on device). Finished images are safe;")
    assert not list(place.glob("plans/*"))
    assert cli("status tiny").status == 1  # that of another folder of runs stands


def test_what_is_read_only_can_be_looked_at(plan: Plan, cli: Cli, disk: Path):
    shutil.copytree(plan.experiment, disk / "experiments" / "tiny", symlinks=True, ignore=lambda *_: {"code"})
    assert mount("-o", "remount,ro", str(disk)) == 0
    said = cli(f"status tiny --runs {disk}")
    assert (said.status, said.err) == (1, "") and "0 of 8 images; 2 to do" in said.out
    said = cli(f"run tiny runs={disk} --jobs 1")
    assert said.status == 2 and "cannot write (Read-only file system). Finished images are safe" in said.err
