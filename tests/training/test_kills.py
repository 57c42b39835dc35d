"""Trainings that are killed go on as if nothing had been: the same network, the same loss curve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from zinv.training.callbacks import LAST

CHECKOUT = Path(__file__).parents[2]
TOY = "generator=toy space=zplus data=toy data.num=40 trainer.checkpoint_minutes=1e-9 trainer.log_steps=1"
TRAININGS = {
    "generator": "model.resolution=16 model.channels=[8,8,8] model.z_dim=8 model.w_dim=8 model.num_images=160 "
    "model.noise_from=80 model.batch_size=4 data=toy data.num=40 trainer.checkpoint_minutes=1e-9 trainer.log_steps=1",
    "base_code": f"{TOY.replace('space=zplus data=toy data.num=40', '')} loss=pixel model.width=4 model.num_steps=40",
    "latent_encoder": f"{TOY} loss=pixel model.size=16 model.widths=[4,4,8,8] model.units=[1,1,1,1] model.head=8 "
    "model.progressive_from=10 model.progressive_every=5 model.num_steps=40 model.batch_size=4",
    "in_domain_encoder": f"{TOY} loss=pixel model.width=4 model.max_width=8 model.discriminator=null "
    "model.channels=[4,4,4] model.adversarial_every=3 model.r1_every=2 model.num_steps=40 model.batch_size=4",
    "invertibility": "generator=toy data=toy data.num=5 model.network=pixel model.size=16 model.width=4 "
    "model.num_steps=60 model.batch_size=4 trainer.checkpoint_minutes=1e-9 trainer.log_steps=1",
}
Cli = Callable[..., Any]


def only(root: str, pattern: str) -> Path:
    (found,) = Path(root).glob(f"train/*/{pattern}")
    return found


def curve(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def single_space_runs(cli: Cli) -> str:
    """What the invertibility predictor learns from."""
    toy = "generator=toy data=toy data.num=5 space=zplus method=sam method.num_steps=2 trainer=cpu"
    for layer in ("code", "b4.out", "b8.out"):
        assert cli(f"evaluate {toy} method.only={layer} runs=inversions").status == 0
    return ",".join(str(path) for path in sorted(Path("inversions").glob("sam-zplus-toy/*")))


@pytest.fixture
def killed() -> Iterator[Callable[[str], None]]:
    """Starts a command, and kills it soon after its first checkpoint."""
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> None:
        path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        process = subprocess.Popen([sys.executable, "-m", "zinv", *line.split()], env=environment)
        started.append(process)
        deadline = time.monotonic() + 300
        while not list(Path("runs").glob(f"train/*/{LAST}")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.002)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()

    yield start
    for process in started:
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_training_ends_as_an_undisturbed_one(cli: Cli, killed: Callable[[str], None], name: str):
    line = f"train model={name} trainer.accelerator=cpu {TRAININGS[name]}"
    line += f" model.runs=[{single_space_runs(cli)}]" if name == "invertibility" else ""
    killed(line)
    folder = only("runs", LAST).parent
    assert not (folder / f"{name}.safetensors").exists(), "it ended before the kill"
    steps = int(
        torch.load(folder / LAST, weights_only=False)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"][
            "processed"
        ]
    )
    assert steps >= 1
    kept = curve(folder)[:steps]
    shutil.rmtree(folder / "samples", ignore_errors=True)
    assert cli(line).status == 0 and cli(f"{line} runs=undisturbed").status == 0
    whole = only("undisturbed", f"{name}.safetensors")
    assert curve(folder)[:steps] == kept and curve(folder) == curve(whole.parent)
    again, expected = load_file(folder / f"{name}.safetensors"), load_file(whole)
    assert all(torch.equal(again[key], value) for key, value in expected.items())
