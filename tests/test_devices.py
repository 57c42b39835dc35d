"""Which device a run takes, and that a job whose GPU is not there ends at once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zinv import devices
from zinv.devices import Driver, check_given, choose, cuda_failure, decide, given
from zinv.errors import ConfigError

CHECKOUT = Path(__file__).parents[1]
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch):
    for name in (*devices.GIVEN, "LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    devices._say_once.cache_clear()


def has_driver(monkeypatch: pytest.MonkeyPatch, found: Driver | None) -> None:
    monkeypatch.setattr(devices, "driver", lambda: found)
    monkeypatch.setattr(devices, "AMD_DRIVER", Path("/nowhere"))


def cuda(monkeypatch: pytest.MonkeyPatch, failure: str | None) -> None:
    monkeypatch.setattr(devices, "cuda_failure", lambda device: failure)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_GPUS": "0,1"}, "SLURM_JOB_GPUS=0,1"),
        ({"CUDA_VISIBLE_DEVICES": "2"}, "CUDA_VISIBLE_DEVICES=2"),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_JOB_GPUS": "3"}, "SLURM_JOB_GPUS=3"),
    ],
)
def test_how_a_gpu_was_given(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str | None):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert given() == expected


def test_auto_is_cuda_where_a_kernel_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    cuda(monkeypatch, None)
    assert choose("auto") == choose("gpu") == "cuda"
    assert capsys.readouterr().err == ""


def test_auto_is_else_the_cpu_with_a_word_and_never_mps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cuda(monkeypatch, "no kernel image is available for execution on the device")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [choose("auto"), choose("auto")] == ["cpu", "cpu"]
    said = capsys.readouterr()
    assert said.err == "device: the CPU (no kernel image is available for execution on the device).\n"
    assert said.out == ""


def test_only_the_first_process_of_a_machine_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cuda(monkeypatch, "none")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose("auto") == "cpu"
    assert capsys.readouterr().err == ""


def test_cpu_is_asked_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(devices, "cuda_failure", lambda device: pytest.fail("asked"))
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    assert decide("cpu") == ("cpu", "")
    check_given("cpu")
    check_given("mps")


def test_mps_on_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose("mps") == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^trainer.accelerator=mps: torch sees no such device here\."):
        choose("mps")


def test_what_was_asked_for_and_does_not_work_is_an_error(monkeypatch: pytest.MonkeyPatch):
    cuda(monkeypatch, "out of order")
    with pytest.raises(ConfigError) as error:
        choose("gpu")
    assert str(error.value) == (
        "trainer.accelerator=gpu: a GPU was asked for, and none works (out of order). `zinv doctor` says more; "
        "trainer=cpu needs none."
    )
    monkeypatch.setenv("SLURM_JOB_GPUS", "1")
    with pytest.raises(ConfigError, match=r"^SLURM_JOB_GPUS=1: a GPU was asked for, and none works \(out of order\)"):
        choose("auto")


@needs_none
def test_a_kernel_that_fails_says_why(monkeypatch: pytest.MonkeyPatch):
    before = cuda_failure()
    assert before in ("torch sees no GPU", f"torch {torch.__version__} was built without CUDA") or "driver" in str(
        before
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    try:
        torch.ones(1, device="cuda:0")
    except (RuntimeError, AssertionError) as error:
        expected = str(error).partition("\n")[0]
    assert cuda_failure() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_kernel_that_runs():
    assert cuda_failure() is None and choose("auto") == "cuda"
    found = devices.driver()
    assert found and found.num_gpus == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("found", "reason"), [(None, "no NVIDIA driver"), (Driver((12, 8), 0), "the driver sees no GPU")]
)
def test_the_early_check(monkeypatch: pytest.MonkeyPatch, found: Driver | None, reason: str):
    has_driver(monkeypatch, found)
    check_given("auto")
    with pytest.raises(ConfigError, match=rf"^trainer.accelerator=gpu: .* \({reason}\)\. `zinv doctor` says more"):
        check_given("gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ConfigError, match="^CUDA_VISIBLE_DEVICES=0: a GPU was asked for"):
        check_given("auto")
    has_driver(monkeypatch, Driver((12, 8), 1))
    check_given("auto")
    check_given("gpu")


COMMANDS = [
    ["evaluate", "generator=toy", "trainer=gpu"],
    ["train", "model=generator", "trainer.accelerator=gpu"],
    ["run", "demo"],
]


@needs_none
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[0])
def test_a_job_without_its_gpu_ends_before_torch_is_imported(line: list[str], tmp_path: Path):
    code = f"import sys\nfrom zinv.cli import main\nstatus = main({line})\nprint(status, 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "SLURM_JOB_GPUS": "0"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    asked = "SLURM_JOB_GPUS=0" if line[0] == "run" else "trainer.accelerator=gpu"
    assert done.stderr.startswith(f"error: {asked}: a GPU was asked for, and none works (")
    assert done.stderr.count("\n") == 1
    assert done.stdout == "2 False\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@needs_none
def test_a_job_without_its_gpu_may_take_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from zinv.config.selection import Selection
    from zinv.early import check_devices, check_devices_of_experiment

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    check_devices(["trainer=cpu", "space=zplus"])
    check_devices_of_experiment("demo", ["trainer.accelerator=cpu"], Selection())
    with pytest.raises(ConfigError, match="trainer=gpuu: there is no such preset. Did you mean 'gpu'?"):
        check_devices(["trainer=gpuu"])
