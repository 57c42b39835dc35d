"""Two processes on the CPU (gloo): each image once, an uneven rest, an empty rank; the records of one process."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed
from PIL import Image

CHECKOUT = Path(__file__).parents[1]
RUN = "evaluate generator=toy method=bdinvert space=zplus method.num_steps=3 trainer=cpu"
Cli = Callable[..., Any]

pytestmark = [
    pytest.mark.required,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo"),
]


def two_processes(*more: str) -> subprocess.CompletedProcess[str]:
    """The run on two devices."""
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "zinv", *RUN.split(), "trainer.strategy=ddp", "trainer.devices=2", *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def folder(root: str) -> Path:
    (path,) = Path(root).glob("*/*")
    return path


def ranks(root: str) -> list[Any]:
    """How many images each process did, at each start."""
    return [start["ranks"] for start in json.loads((folder(root) / "run.json").read_text())["starts"]]


def same_records(one: str, other: str) -> bool:
    return (folder(one) / "records.csv").read_bytes() == (folder(other) / "records.csv").read_bytes()


def test_two_processes_give_the_records_of_one(cli: Cli):
    """Five images: three and two, so that the second process has an empty batch at its end."""
    done = two_processes("data.num=5", "runs=two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("protocol pixel ") == 1  # one of them prints
    assert ranks("two") == [[3, 2]]
    (start,) = json.loads((folder("two") / "run.json").read_text())["starts"]
    assert len(start["peak_memory_bytes"]) == 2 and min(start["peak_memory_bytes"]) > 1e8
    with open(folder("two") / "times.csv") as file:
        assert [row["rank"] for row in csv.DictReader(file)] == ["0", "1", "0", "1", "0"]
    cli(f"{RUN} data.num=5 runs=one")
    assert ranks("one") == [[5]]
    assert same_records("one", "two")


@pytest.mark.slow
def test_torchrun_starts_the_processes_as_lightning_does(cli: Cli):
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "zinv"]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *RUN.split(), "trainer.strategy=ddp", "trainer.devices=2", "data.num=5"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("protocol pixel ") == 1
    assert ranks("runs") == [[3, 2]]
    cli(f"{RUN} data.num=5 runs=one")
    assert same_records("one", "runs")


@pytest.mark.slow
def test_a_process_may_have_nothing_left_to_do(cli: Cli):
    cli(f"{RUN} data.num=5 runs=two")
    done = two_processes("data.num=6", "runs=two")
    assert done.returncode == 0, done.stderr
    assert ranks("two") == [[5], [1, 0]]
    cli(f"{RUN} data.num=6 runs=one")
    assert same_records("one", "two")
    assert two_processes("data.num=6", "runs=two").returncode == 0
    assert ranks("two") == [[5], [1, 0], [0, 0]]


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_stops_no_process(cli: Cli):
    Path("photos").mkdir()
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 20, 30)).save(f"photos/{i}.png")
    Path("photos/1.png").write_bytes(b"x")
    done = two_processes("data=folder", "data.path=photos")
    assert done.returncode == 1, done.stderr
    assert "failed: 1: 1.png: not a readable picture" in done.stdout
    assert ranks("runs") == [[2, 1]]


def test_more_processes_than_images_start_nothing(cli: Cli):
    said = cli(f"{RUN} trainer.strategy=ddp trainer.devices=3 data.num=2")
    assert (said.status, said.err) == (2, "error: trainer.devices=3: there are only 2 images.\n")
