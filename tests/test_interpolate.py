"""`zinv interpolate` on runs of toys: the strip, its ends, what lies between, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zinv.config import layer
from zinv.evaluation.store import Run
from zinv.generators.toy import toy_stylegan2
from zinv.images import read_image, round_8bit

TOY = ["generator=toy", "space=zplus", "method.num_steps=2", "data.num=3", "trainer=cpu", "protocol=pixel"]
A, B = "toy-00000", "toy-00001"
SIDE, PAD = 16, 2
Cli = Callable[..., Any]


def toy(cli: Cli, overrides: str) -> Path:
    """The folder of a run on the toy, with overrides over it."""
    before = {*Path("runs").glob("*/*/run.json")}
    said = cli(" ".join(["evaluate", *layer(TOY, overrides.split())]))
    assert said.status == 0, said
    (facts,) = {*Path("runs").glob("*/*/run.json")} - before
    return facts.parent


def strip(said: Any) -> list[Tensor]:
    """The pictures of the strip whose path a command printed."""
    assert said.status == 0 and not said.err, said
    sheet = read_image(Path(said.out.strip()))
    num = (sheet.shape[-1] + PAD) // (SIDE + PAD)
    assert sheet.shape == (3, SIDE, num * (SIDE + PAD) - PAD)
    return [sheet[:, :, i * (SIDE + PAD) : i * (SIDE + PAD) + SIDE] for i in range(num)]


def error(said: Any) -> str:
    assert said.status == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1, said
    return str(said.err.removeprefix("error: ").rstrip("\n"))


def codes(run: Path, name: str) -> list[Tensor]:
    return [Run.open(run).read(image).tensors[name] for image in (A, B)]


@pytest.fixture
def zplus(cli: Cli) -> Path:
    return toy(cli, "method=optimize")


@pytest.mark.parametrize(
    "overrides",
    [
        *(f"method=optimize space={space}" for space in ("z", "zplus", "w", "wplus", "pnplus", "s", "fixed")),
        "method=bdinvert space=wplus", "method=bdinvert space=z", "method=pti method.pivot_steps=2",
        "method=sam space=wplus", "generator=toy_stylegan1 method=optimize",
    ],
)  # fmt: skip
def test_the_ends_are_the_stored_reconstructions(cli: Cli, overrides: str):
    run = toy(cli, overrides)
    pictures = strip(cli(f"interpolate {run} {A} {B} --steps 3"))
    assert len(pictures) == 3
    for picture, name in ((pictures[0], A), (pictures[2], B)):
        torch.testing.assert_close(picture, Run.open(run).read(name).reconstruction, rtol=0, atol=0)


def test_codes_of_z_plus_go_along_great_circles(cli: Cli, zplus: Path):
    """Row by row, by the angle between both ends, in numpy."""
    said = cli(f"interpolate {zplus} {A} {B}")
    pictures = strip(said)
    assert Path(said.out.strip()) == zplus / "interpolations" / f"{A}-{B}-7.png" and len(pictures) == 7
    a, b = (code.double().numpy() for code in codes(zplus, "code"))
    angle = np.arccos((a * b).sum(1, keepdims=True) / 16)  # radius 4
    generator = toy_stylegan2()
    for i, picture in enumerate(pictures):
        code = (np.sin((1 - i / 6) * angle) * a + np.sin(i / 6 * angle) * b) / np.sin(angle)
        rendered = generator.synthesis(generator.affine(generator.map_rows(torch.tensor(code[None]).float())))
        torch.testing.assert_close(picture, round_8bit(rendered)[0], rtol=0, atol=1.01 / 127.5)


def test_base_codes_and_codes_of_w_plus_go_on_a_line(cli: Cli):
    run = toy(cli, "method=bdinvert space=wplus")
    middle = strip(cli(f"interpolate {run} {A} {B} --steps 3"))[1]
    point = Run.open(run).read(A).metadata["base"]
    ws, base = (sum(codes(run, name)) / 2 for name in ("code", "base"))
    view = toy_stylegan2().above(point)
    rendered = view.synthesis(view.affine(ws[None]), base=(point, base[None]))  # type: ignore[index]
    torch.testing.assert_close(middle, round_8bit(rendered)[0], rtol=0, atol=1.01 / 127.5)


def test_the_ends_may_be_of_two_runs(cli: Cli, zplus: Path):
    other = toy(cli, "method=optimize seed=1")
    said = cli(f"interpolate {zplus} {A} {A} --to {other} --steps 2")
    first, last = strip(said)
    assert said.out.strip() == str(zplus / "interpolations" / f"{A}-{other.name}-{A}-2.png")
    for run, picture in ((zplus, first), (other, last)):
        assert torch.equal(picture, Run.open(run).read(A).reconstruction)
    assert not torch.equal(first, last)


def test_pictures_and_reconstructions_are_not_needed(cli: Cli):
    kept = toy(cli, "method=optimize store.keep=codes")
    assert not [*kept.glob("images/*/*.png")]
    assert len(strip(cli(f"interpolate {kept} {A} {B}"))) == 7


def test_images_that_are_not_there(cli: Cli, zplus: Path):
    said = error(cli(f"interpolate {zplus} toi-00000 {B}"))
    assert said == (
        f"{zplus}: no image 'toi-00000' is finished. Did you mean 'toy-00000'? 3 are: toy-00000, toy-00001, toy-00002."
    )
    shutil.rmtree(zplus / "images" / B)
    reason = json.dumps({"status": "failed", "code_digest": "0", "reason": "loss is not finite"})
    (zplus / "failed" / f"{B}.json").write_text(reason)
    assert error(cli(f"interpolate {zplus} {A} {B}")) == f"{zplus}: image '{B}' has no inversion: loss is not finite."
    shutil.rmtree(zplus / "images")
    (zplus / "images").mkdir()
    assert error(cli(f"interpolate {zplus} {A} {B}")) == f"{zplus}: no image '{A}' is finished. None is."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{run} toy-00000 toy-00000", "toy-00000: both ends are this image."),
        ("{run} toy-00000 toy-00001 --steps 1", "--steps 1: not an int of 2 or more."),
        ("{run} toy-00000 toy-00001 --steps many", "--steps many: not an int of 1 or more."),
        ("{run} toy-00000", "zinv interpolate: give B."),
        ("{run} toy-00000 toy-00001 --step 3", "zinv interpolate --step: no such flag. Did you mean '--steps'?"),
        ("nowhere toy-00000 toy-00001", "nowhere: there is no run in this folder (run.json is missing)."),
        ("{run} toy-00000 toy-00001 --to none", "none: there is no run in this folder (run.json is missing)."),
    ],
)
def test_mistakes_of_the_command_line(cli: Cli, zplus: Path, words: str, message: str):
    said = error(cli("interpolate " + words.format(run=zplus)))
    assert said.startswith(message)
    assert not (zplus / "interpolations").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("generator.seed=1", "--to {to}: made with another generator: seed is 1 there, 0 here."),
        ("space=wplus", "--to {to}: made with another space: _target_ is zinv.spaces.w.WPlus there, "),
        ("method=bdinvert", "'toy-00000' and 'toy-00001': base codes differ, none and at b8.conv0."),
        ("method=pti method.pivot_steps=2", "'toy-00000' and 'toy-00001': their own weights or layers are none and of"),
    ],
)
def test_runs_that_have_no_path_between_them(cli: Cli, zplus: Path, overrides: str, message: str):
    other = toy(cli, overrides)
    assert error(cli(f"interpolate {zplus} {A} {B} --to {other}")).startswith(message.format(to=other))


def test_tuned_weights_that_differ_or_were_not_kept(cli: Cli):
    one = toy(cli, "method=pti method.pivot_steps=2")
    other = toy(cli, "method=pti method.pivot_steps=2 method.tune_mapping=true")
    said = error(cli(f"interpolate {one} {A} {B} --to {other}"))
    assert said.startswith(f"'{B}' has tuned weights (mapping_network.") and said.endswith(
        f"'{A}' has not: no path leads there."
    )
    lost = toy(cli, "method=pti method.pivot_steps=2 method.keep_weights=false")
    said = error(cli(f"interpolate {lost} {A} {B}"))
    assert said == f"'{A}': its tuned weights were not kept (method.keep_weights=false)."


def test_a_generator_that_has_changed_since(cli: Cli, zplus: Path):
    """As after `zinv train model=generator` over the file of the run's generator."""
    facts = json.loads((zplus / "run.json").read_text())
    facts["identity"]["generator"]["seed"] = 7
    (zplus / "run.json").write_text(json.dumps(facts))
    said = error(cli(f"interpolate {zplus} {A} {B}"))
    assert said == f"{zplus}: its generator's weights have changed since; its codes cannot be decoded."
