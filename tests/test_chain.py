"""Runs that start where another one ended: by name, image by image, and what is wrong with a start."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zinv.config import compose, layer, run_id, slug
from zinv.evaluation.store import Run
from zinv.generators.toy import toy_stylegan2
from zinv.spaces.z import ZPlus

TOY = ["generator=toy", "space=zplus", "method.num_steps=2", "data.num=3", "trainer=cpu"]
CHECKOUT = Path(__file__).parents[1]
Cli = Callable[..., Any]


def toy(overrides: str) -> str:
    """A command line on the toy, with overrides over it."""
    return " ".join(["evaluate", *layer(TOY, overrides.split())])


def only(pattern: str) -> Path:
    (found,) = Path("runs").glob(pattern)
    return found


def rows(run: Path) -> dict[str, dict[str, str]]:
    lines = [line for line in (run / "records.csv").read_text().splitlines() if not line.startswith("#")]
    return {row["image"]: row for row in csv.DictReader(lines)}


def error(said: Any) -> str:
    assert said.status == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1, said
    return str(said.err.removeprefix("error: ").rstrip("\n"))


@pytest.fixture
def parent(cli: Cli) -> Path:
    assert cli(toy("method=optimize")).status == 0
    return only("optimize-*/*")


def test_a_chain_of_three(cli: Cli, parent: Path):
    """optimize, bdinvert, pti: each starts at the codes of the one before, and has its method in its name."""
    assert cli(toy(f"method=bdinvert start={parent} method.num_steps=0")).status == 0
    second = only("optimize-zplus-toy-bdinvert/*")
    assert cli(toy(f"method=pti start={second}")).status == 0
    third = only("optimize-zplus-toy-bdinvert-pti/*")
    first_ws = toy_stylegan2().above("b8.conv0").first_ws
    for name in Run.open(parent).finished():
        codes = [Run.open(run).read(name).tensors["code"] for run in (parent, second, third)]
        assert torch.equal(codes[1], codes[0][first_ws:]) and torch.equal(codes[2], codes[1])
        assert "weights/synthesis_network.b16.conv1.weight" in Run.open(third).read(name).tensors
    assert Run.open(third).facts["settings"]["start"] == Run.open(second).name  # type: ignore[index,call-overload]
    shutil.rmtree(parent)
    shutil.rmtree(second)
    assert cli(f"score {third} protocol=pixel").status == 0  # needs no start any more


def test_the_id_counts_the_parents_identity_and_nothing_else_of_it(cli: Cli, parent: Path):
    base = ["generator=toy", "space=zplus", "method=pti"]
    child = compose([*base, f"start={parent}"])
    assert slug(child) == "optimize-zplus-toy-pti"
    assert run_id(child) != run_id(compose(base))
    moved = parent.with_name("moved")
    shutil.copytree(parent, moved)
    shutil.rmtree(moved / "images")
    assert run_id(compose([*base, f"start={moved}"])) == run_id(child)
    facts = json.loads((moved / "run.json").read_text())
    facts["identity"]["seed"] = 1
    (moved / "run.json").write_text(json.dumps(facts))
    assert run_id(compose([*base, f"start={moved}"])) != run_id(child)


def test_images_that_the_parent_lacks_are_recorded_and_done_when_it_has_them(cli: Cli, parent: Path):
    shutil.rmtree(parent / "images" / "toy-00001")
    said = cli(toy(f"method=optimize start={parent}"))
    assert said.status == 1
    reason = f"its start is not finished in {Run.open(parent).name}"
    assert f"failed: toy-00001: {reason}" in said.out
    records = rows(only("optimize-zplus-toy-optimize/*"))
    assert {name: row["status"] for name, row in records.items()} == {
        "toy-00000": "ok", "toy-00001": "failed", "toy-00002": "ok",
    }  # fmt: skip
    assert records["toy-00001"]["reason"] == reason
    assert cli(toy("method=optimize")).status == 0
    assert cli(toy(f"method=optimize start={parent}")).status == 0
    assert {row["status"] for row in rows(only("optimize-zplus-toy-optimize/*")).values()} == {"ok"}


def test_a_parent_that_has_nothing_is_one_error(cli: Cli, parent: Path):
    shutil.rmtree(parent / "images")
    (parent / "images").mkdir()
    said = error(cli(toy(f"method=pti start={parent}")))
    assert said == f"start={parent}: none of the 3 images is finished there."


@pytest.mark.parametrize(
    ("overrides", "what", "there", "here"),
    [
        ("generator.seed=1", "generator: seed", "0", "1"),
        ("space=wplus", "space: _target_", "zinv.spaces.z.ZPlus", "zinv.spaces.w.WPlus"),
        ("space.truncation_psi=.7", "space: truncation_psi", "1.0", "0.7"),
    ],
)
def test_a_parent_of_another_generator_or_space(
    cli: Cli, parent: Path, overrides: str, what: str, there: str, here: str
):
    said = error(cli(toy(f"method=pti start={parent} {overrides}")))
    assert said == f"start={parent}: made with another {what} is {there} there, {here} here."


def test_a_parent_of_other_pictures(cli: Cli, parent: Path):
    result = parent / "images" / "toy-00000" / "result.json"
    result.write_text(json.dumps({**json.loads(result.read_text()), "target_sha256": "0" * 64}))
    assert "image 'toy-00000' was made from another picture" in error(cli(toy(f"method=pti start={parent}")))


def test_codes_above_a_base_code_are_no_start_of_a_whole_one(cli: Cli):
    assert cli(toy("method=bdinvert data.num=1")).status == 0
    said = error(cli(toy(f"method=optimize start={only('bdinvert-*/*')}")))
    assert said == "start: its codes have shape (4, 16), not (6, 16); were they made above a base code?"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("runs/nowhere", "start=runs/nowhere: neither the folder of a run, an encoder's weights nor a start. "),
        ("rndom", "start=rndom: neither the folder of a run, an encoder's weights nor a start. Did you mean 'random'?"),
        (".", "start=.: there is no run in this folder (run.json is missing)."),
    ],
)
def test_no_such_start(cli: Cli, start: str, message: str):
    assert error(cli(toy(f"method=pti start={start}"))).startswith(message)


def test_a_spaces_start_has_a_short_name(cli: Cli):
    assert compose(["space=w", "start=random"]) == compose(["space=w", "space.start=random"])
    assert "space.start=mean: unknown choice." in error(cli(toy("start=mean")))
    assert error(cli("evaluate start=random space.start=random")).startswith("space.start=random: given twice")


def test_where_a_space_draws_does_not_matter_to_a_child(cli: Cli, parent: Path):
    said = cli(toy(f"method=optimize start={parent} space.start=best_of_k"))
    assert said.status == 0
    assert ZPlus().start == "random"


def test_weights_that_are_not_kept_are_scored_by_their_pictures(cli: Cli):
    assert cli(toy("method=pti method.pivot_steps=2 method.keep_weights=false")).status == 0
    run = Run.open(only("pti-zplus-toy/*"))
    assert not any(name.startswith("weights/") for name in run.read("toy-00000").tensors)
    assert all(float(row["mse"]) > 0 for row in rows(run.path).values())


def test_a_shared_generator_is_the_same_whatever_is_left_to_do(cli: Cli):
    line = "method=pti method.pivot_steps=2 method.shared=all data.batch_size=2"
    assert cli(toy(line)).status == 0
    run, name = Run.open(only("pti-zplus-toy/*")), "weights/synthesis_network.b16.conv1.weight"
    before = {image: run.read(image).tensors[name] for image in run.finished()}
    assert len(before) == 3 and torch.equal(before["toy-00000"], before["toy-00002"])
    shutil.rmtree(run.path / "images" / "toy-00001")
    assert cli(toy(line)).status == 0
    assert torch.equal(run.read("toy-00001").tensors[name], before["toy-00001"])
    assert "holds a run of another configuration (different: shared_by)" in error(cli(toy(f"{line} data.num=2")))


def test_tuning_that_diverges_is_a_recorded_failure(cli: Cli):
    said = cli(toy("method=pti method.pivot_steps=2 method.num_steps=6 method.lr=3"))
    assert said.status == 1
    assert "failed: toy-00000: tuning diverged: loss" in said.out
    assert {row["status"] for row in rows(only("pti-*/*")).values()} == {"failed"}


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(cli: Cli):
    line = toy("method=pti method.pivot_steps=20 method.num_steps=40")
    process = subprocess.Popen(
        [sys.executable, "-m", "zinv", *line.split()], env={**os.environ, "PYTHONPATH": str(CHECKOUT)}
    )
    while not list(Path("runs").glob("*/*/images/[!.]*/result.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = Run.open(only("pti-*/*")).finished()
    assert 1 <= len(done) < 3
    assert cli(line).status == 0
    assert cli(f"{line} runs=undisturbed").status == 0
    other = next(Path("undisturbed").glob("*/*"))
    assert (only("pti-*/*") / "records.csv").read_bytes() == (other / "records.csv").read_bytes()
