"""`zinv doctor`: a line for each thing, and how to mend what is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import Said
from zinv import devices, doctor
from zinv.devices import Driver
from zinv.doctor import Finding

Cli = Callable[..., Said]
TRAINER = {"accelerator": "auto", "devices": 1, "num_nodes": 1, "strategy": "auto"}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No job, no W&B, no weights but the shipped ones."""
    import os

    for name in os.environ:
        if name.startswith(("SLURM_", "WANDB_", "CUDA_VISIBLE", "ZINV_", "LOCAL_RANK")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def only(findings: object) -> Finding:
    (finding,) = list(findings)  # type: ignore[call-overload]
    return finding


def test_a_healthy_machine(cli: Cli, tmp_path: Path):
    said = cli("doctor trainer=cpu")
    lines = said.out.splitlines()
    assert said.status == 0 and said.err == ""
    assert all(line.startswith("ok      ") for line in lines)
    subjects = [line.split()[1].rstrip(":") for line in lines]
    assert [s for s in subjects if s != "GPU"] == ["software", "torch", "device", "weights", "runs", "SLURM", "W&B"]
    assert f"torch {torch.__version__.partition('+')[0]}" in lines[0]
    assert f"runs: {tmp_path / 'runs'}: written, synced and renamed; " in said.out
    assert not (tmp_path / "runs").exists()


def test_one_broken_thing_is_status_1_and_keeps_no_other_line_back(cli: Cli, tmp_path: Path):
    (tmp_path / "file").touch()
    said = cli(f"doctor trainer=cpu runs={tmp_path}/file/runs")
    assert said.status == 1
    (broken,) = (line for line in said.out.splitlines() if not line.startswith("ok"))
    reason = "cannot be written to (Not a directory); choose another with runs=FOLDER"
    assert broken == f"broken  runs: {tmp_path}/file/runs: {reason}"
    assert "W&B" in said.out


def test_it_takes_only_what_it_looks_at(cli: Cli):
    said = cli("doctor space=zplus")
    assert (said.status, said.err) == (2, "error: space=zplus: zinv doctor takes trainer, logger and runs.\n")
    assert cli("doctor trainer=gpuu").err.startswith("error: trainer=gpuu: there is no such preset.")


@pytest.mark.parametrize(
    ("built", "driver", "expected"),
    [
        ("12.8", Driver((12, 4), 1), Finding(True, "torch", "built for CUDA 12.8; the driver runs CUDA 12.4")),
        ("12.8", Driver((13, 0), 1), Finding(True, "torch", "built for CUDA 12.8; the driver runs CUDA 13.0")),
        (
            "13.2",
            Driver((12, 8), 1),
            Finding(
                False,
                "torch",
                "built for CUDA 13.2; the driver runs CUDA 12.8: "
                "update the driver, or install a torch built for CUDA 12",
            ),
        ),
        (
            None,
            Driver((12, 8), 1),
            Finding(
                False,
                "torch",
                "built without CUDA, but the driver runs CUDA 12.8; "
                "https://pytorch.org/get-started/locally names the build to install",
            ),
        ),
        (None, None, Finding(True, "torch", "built without CUDA; no NVIDIA driver here")),
        ("12.8", None, Finding(True, "torch", "built for CUDA 12.8; no NVIDIA driver here")),
    ],
)
def test_the_build_of_torch_against_the_driver(
    monkeypatch: pytest.MonkeyPatch, built: str | None, driver: Driver | None, expected: Finding
):
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(devices, "driver", lambda: driver)
    assert list(doctor.software())[1] == expected


class Card:
    name, total_memory = "H100", 80_000_000_000


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, of which the second does not work."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    monkeypatch.setattr(devices, "cuda_failure", lambda device: "no kernel image" if device == 1 else None)


def test_each_gpu_runs_a_kernel(two_gpus: None):
    first, second, device = doctor.gpus(TRAINER)
    assert first == Finding(True, "GPU 0", "H100, 80.0 GB")
    assert not second.ok and second.text.startswith(
        "H100, 80.0 GB: no kernel image; install a torch that was built for"
    )
    assert device == Finding(True, "device", "a run takes cuda")


def test_more_gpus_wanted_than_there_are(two_gpus: None):
    *_, device = doctor.gpus({**TRAINER, "devices": 4})
    assert device == Finding(False, "device", "trainer.devices=4, but torch sees 2: take 2 or ask for more")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_was_given_and_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    said = cli("doctor")
    (broken,) = (line for line in said.out.splitlines() if line.startswith("broken"))
    assert said.status == 1
    assert broken.startswith("broken  device: SLURM_JOB_GPUS=0: a GPU was asked for, and none works (")
    assert broken.endswith("trainer=cpu needs none")
    assert cli("doctor trainer=cpu").status == 0


def test_a_damaged_weight_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"half")
    damaged, counts = doctor.weight_files(None)
    assert not damaged.ok and "alexnet-owt-7be5be79.pth: truncated or another file: sha256 " in damaged.text
    assert counts.ok


def test_the_weight_files_of_an_experiment(cli: Cli, tmp_path: Path):
    (tmp_path / "experiments" / "mine").mkdir(parents=True)
    text = "rows:\n  - {generator: toy, loss: paper, protocol: pixel}\n"
    (tmp_path / "experiments" / "mine" / "experiment.yaml").write_text(text)
    said = cli("doctor --for mine trainer=cpu")
    assert said.status == 1
    assert (
        "broken  weights: 0 of 1 files of mine are here; missing: lpips/vgg16. "
        "`zinv weights fetch --for mine` gets them or says how\n"
    ) in said.out


def test_a_runs_folder_that_is_there_is_left_as_it_was(tmp_path: Path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert only(doctor.runs_folder(tmp_path / "runs")).ok
    assert only(doctor.runs_folder(tmp_path / "new" / "runs")).ok
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "runs"]


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(doctor, "LOW_SPACE", 10**18)
    finding = only(doctor.runs_folder(tmp_path))
    assert not finding.ok and finding.text.endswith("free; make room")


JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2"}


@pytest.mark.parametrize(
    ("environment", "trainer", "ok", "words"),
    [
        ({}, {}, True, "not in a job"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}, {}, True, "job 7, not under srun of 1, SLURM_JOB_GPUS=0"),
        (JOB, {}, False, "start it with srun, or name the job interactive"),
        ({**JOB, "SLURM_JOB_NAME": "interactive"}, {}, True, "job 7, not under srun of 4, no GPU given"),
        (
            {**JOB, "SLURM_STEP_ID": "0", "SLURM_PROCID": "3"},
            {},
            False,
            "job 7, step 0, task 3 of 4, no GPU given: the trainer has 1 of 4 processes; "
            "run it with trainer=ddp trainer.devices=2 trainer.num_nodes=2",
        ),
        ({**JOB, "SLURM_STEP_ID": "0"}, {"devices": 2, "num_nodes": 2}, True, "step 0, task 0 of 4"),
        (
            {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"},
            {"devices": 2},
            False,
            "Lightning wants --ntasks-per-node, not --ntasks alone",
        ),
    ],
)
def test_slurm(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], trainer: dict[str, int], ok: bool, words: str
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    finding = only(doctor.slurm({**TRAINER, **trainer}))
    assert finding.ok is ok and words in finding.text


def test_under_srun_each_line_says_whose_it_is(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    for name, value in {**JOB, "SLURM_STEP_ID": "0", "SLURM_PROCID": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("socket.gethostname", lambda: "node2")
    said = cli("doctor trainer=cpu trainer.devices=2 trainer.num_nodes=2")
    assert said.status == 0
    assert all(line.startswith("node2 3/4  ok ") for line in said.out.splitlines())


ONLINE = {"mode": "online", "project": "zinv"}


@pytest.mark.parametrize(
    ("environment", "logger", "ok", "words"),
    [
        ({}, {}, True, "not asked for (logger=none)"),
        ({}, {"mode": "offline"}, True, "logger.mode=offline; `wandb sync` uploads it later"),
        ({"WANDB_MODE": "offline"}, ONLINE, True, "WANDB_MODE=offline; `wandb sync` uploads it later"),
        ({}, ONLINE, False, "online, but without a key: `wandb login`, or take logger.mode=offline"),
        (
            {"WANDB_API_KEY": "k"},
            ONLINE,
            False,
            "online, but nowhere.invalid does not answer: take logger.mode=offline",
        ),
    ],
)
def test_wandb(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    logger: dict[str, str],
    ok: bool,
    words: str,
):
    for name, value in {"HOME": str(tmp_path), "WANDB_BASE_URL": "https://nowhere.invalid", **environment}.items():
        monkeypatch.setenv(name, value)
    finding = only(doctor.wandb(logger))
    assert finding.ok is ok and words in finding.text


def test_wandb_with_a_login_and_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setattr(doctor, "_answers", lambda host: host == "api.wandb.ai")
    assert only(doctor.wandb(ONLINE)) == Finding(True, "W&B", "online; api.wandb.ai answers and there is a key")
