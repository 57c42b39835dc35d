"""Controls of edits: a random direction that changes the picture as much; and the truth that portraits know."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zinv.altering.control import random_direction
from zinv.config import layer
from zinv.data.sources import Portraits, Toy
from zinv.editing import direction as directions
from zinv.editing.direction import Direction
from zinv.evaluation.edit_means import summaries
from zinv.evaluation.edits import picture_path, read_edits
from zinv.evaluation.store import Run
from zinv.generators import Generator
from zinv.generators.toy import toy_stylegan2
from zinv.images import read_image, round_8bit
from zinv.metrics.features import PortraitFeatures
from zinv.metrics.portraits import PortraitIdentity, PortraitPerceptual
from zinv.networks.portraits import load_attributes
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import ZPlus
from zinv.statistics import kernel_distance

Cli = Callable[..., Any]
RUN = "generator=toy space=wplus method.num_steps=2 trainer=cpu protocol=demo data.num=2 direction=smile"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    step = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    directions.save(folder / "toy_w.safetensors", [Direction("smile", "w", step, toy_stylegan2().sha256)])
    monkeypatch.setenv("ZINV_WEIGHTS", str(folder))
    return folder


def run(overrides: str) -> str:
    return " ".join(["evaluate", *layer(RUN.split(), overrides.split())])


def test_the_control_changes_the_picture_as_much(cli: Cli, weights: Path):
    """Rendered again from its step, without the job's code: as far from the inversion, and its identity."""
    assert cli(run("direction.strengths=-.5,0,.5")).status == 0
    (folder,) = Path("runs").glob("*/*")
    header, frame = read_edits(folder)
    toy, space, metric, identity = toy_stylegan2(), WPlus(), PortraitPerceptual(), PortraitIdentity()
    (smile,) = directions.load(weights / "toy_w.safetensors")
    for row in frame[frame["control_step"].notna()].to_dict("records"):
        name, own = str(row["image"]), random_direction(smile, space, toy, str(row["image"]))
        code = Run.open(folder).read(name).tensors["code"][None]
        before, after = (
            round_8bit(toy.synthesis(toy.affine(x))) for x in (code, code + row["control_step"] * own.step)
        )
        wanted = row["portrait_perceptual_inversion"]
        assert float(metric(after, before)) == pytest.approx(wanted, rel=0.05, abs=2e-4)
        assert row["control_portrait_identity_inversion"] == pytest.approx(float(identity(after, before)), abs=2e-3)
    assert frame["control_step"].notna().sum() >= 4
    assert (frame[frame["strength"] == 0]["control_step"] == 0).all()
    found = {metric.name: values for metric, values in summaries(header, frame)}
    moved = frame[(frame["strength"] != 0) & frame["control_step"].notna()]
    expected = moved.groupby("image")["control_portrait_identity"].mean()
    assert found["edited_portrait_identity_control"].to_dict() == pytest.approx(expected.to_dict())
    assert cli(run("direction.strengths=.5 direction.control=false runs=without")).status == 0
    (other,) = Path("without").glob("*/*")
    assert "control_step" not in read_edits(other)[1]


def test_what_cannot_be_changed_as_much_has_no_control(cli: Cli, weights: Path):
    """A huge edit saturates the picture; where no random direction comes as far, the row says so."""
    assert cli(run("direction.strengths=5000 direction.beyond=true")).status == 0
    (folder,) = Path("runs").glob("*/*")
    _, frame = read_edits(folder)
    lacking = frame[frame["control_step"].isna()]
    assert (frame["status"] == "ok").all()
    assert lacking["note"].str.startswith("no control: ").all()


@pytest.mark.parametrize(
    ("space", "coordinates", "rows"),
    [(W(), "w", 1), (WPlus(), "w", 1), (WPlus(), "w", 6), (ZPlus(), "z", 6), (S(), "s", 1)],
)
def test_a_random_direction_is_as_long_and_each_image_has_its_own(
    toy: Generator, space: Any, coordinates: Any, rows: int
):
    width = sum(toy.style_dims) if coordinates == "s" else 16
    like = Direction("smile", coordinates, torch.full((rows, width), 0.3), toy.sha256, (2, 3) if rows > 1 else None)
    ada, bob = (random_direction(like, space, toy, name) for name in ("ada", "bob"))
    assert ada.step.shape == like.step.shape and ada.rows == like.rows and ada.attribute == ""
    assert float(ada.step.norm()) == pytest.approx(float(like.step.norm()), rel=1e-5)
    assert torch.equal(ada.step, random_direction(like, space, toy, "ada").step)
    assert abs(float((ada.step * bob.step).sum() / ada.step.norm() ** 2)) < 0.95
    ada.check(space, toy)


def test_the_truth_of_a_portrait_has_the_changed_attribute_alone():
    source, net = Portraits(num=3), load_attributes("portraits/attributes_second")
    for name, change in (("smile", 0.6), ("yaw", -0.5), ("light", 0.5)):
        column = net.names.index(name)
        for i in range(3):
            was = float(source.truth(i)[1][column])
            truth = source.counterfactual(i, name, [change])
            assert truth is not None
            seen = (net(truth) - net(source.image(i)[None]))[0]
            wanted = max(-1.0, min(1.0, was + change)) - was
            assert float(seen[column]) == pytest.approx(wanted, abs=0.35)
            others = torch.cat([seen[:column], seen[column + 1 :]])
            assert float(others.abs().max()) < 0.5
    assert source.counterfactual(0, "hat", [1.0]) is None


def test_truths_together_are_those_one_by_one():
    """In the order that was asked for, the equal ones and those cut to the domain's limits included."""
    source, changes = Portraits(num=2), [0.7, 0.0, -0.3, 0.7, 5.0, 9.0]
    together = source.counterfactual(1, "age", changes)
    assert together is not None and together.shape == (6, 3, 64, 64)
    for picture, change in zip(together, changes, strict=True):
        alone = source.counterfactual(1, "age", [change])
        assert alone is not None and torch.equal(picture, alone[0])
    assert torch.equal(together[1], source.image(1)) and torch.equal(together[4], together[5])
    assert not torch.equal(together[0], together[1])


def test_a_binary_attribute_is_there_or_not():
    source = Portraits(num=8)
    with_glasses = next(i for i in range(8) if source.truth(i)[1][5] == 1)
    assert torch.equal(source.counterfactual(with_glasses, "glasses", [-0.4])[0], source.image(with_glasses))  # type: ignore[index]
    bare = source.counterfactual(with_glasses, "glasses", [-0.9])
    assert bare is not None and (bare[0] - source.image(with_glasses)).abs().max() > 0.2


def test_networks_see_each_picture_once(cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch):
    """Of an image the target and the inversion, of an edit its picture, of a control what the search rendered."""
    line = run("direction.strengths=-.5,.5 direction.keep=-.5,.5 data.num=2")
    assert (
        cli(line.replace("direction=smile", "").replace("direction.strengths=-.5,.5 direction.keep=-.5,.5", "")).status
        == 0
    )
    seen: dict[str, list[bytes]] = {}
    for kind in (PortraitIdentity, PortraitPerceptual):
        kept = kind.embed
        monkeypatch.setattr(
            kind,
            "embed",
            lambda self, image, kept=kept: (
                seen.setdefault(self.name, []).append(image.numpy().tobytes()) or kept(self, image)
            ),
        )
    assert cli(line).status == 0
    assert {name: len(pictures) - len(set(pictures)) for name, pictures in seen.items()} == {
        "portrait_identity": 0,
        "portrait_perceptual": 0,
    }
    assert len(seen["portrait_identity"]) == 2 * 2 + 4 + 4


def test_the_kernel_distance_of_edited_pictures(cli: Cli, weights: Path):
    """From the kept pictures, which are rounded like those that features are taken of."""
    given = "direction.strengths=-.5,0,.5 direction.keep=-.5,.5 direction.control=false data.num=3"
    assert cli(run(f"{given} direction.kid=portraits/perceptual")).status == 0
    (folder,) = Path("runs").glob("*/*")
    header, _ = read_edits(folder)
    features, source = PortraitFeatures(), Toy(3)
    files = [picture_path(folder, header.edits, name, "smile", d) for name in source.ids for d in (-0.5, 0.5)]
    sets = {
        "edited": torch.stack([read_image(file) for file in files]),
        "inversion": torch.stack([Run.open(folder).read(name).reconstruction for name in source.ids]),
        "input": source.images(range(3)),
    }
    vectors = {key: features(images).numpy() for key, images in sets.items()}
    after, before = (kernel_distance(vectors[key], vectors["input"]) for key in ("edited", "inversion"))
    digits = [float(number) for number in re.findall(r"(-?[\d.e-]+) ±", header.quality)]
    assert digits == pytest.approx([after.mean, before.mean], rel=1e-2)
    assert header.quality.startswith("portrait kernel distance [") and "to the 3 inputs" in header.quality
    assert "of 6 edited pictures" in " ".join(cli("table runs --format md").out.split())


def test_edits_of_portraits_are_held_against_their_truth(cli: Cli):
    """By hand: the render with the smile that the judge sees changed, against the edit, minus the inversion's error."""
    line = "evaluate generator=portraits data=portraits data.num=1 space=wplus method.num_steps=1 trainer=cpu"
    edits = "direction=smile direction.strengths=2 direction.keep=2 direction.control=false protocol=demo loss=pixel"
    assert cli(f"{line} {edits}").status == 0
    (folder,) = Path("runs").glob("*/*")
    header, frame = read_edits(folder)
    row, source, name = frame.to_dict("records")[0], Portraits(num=1), "held_out-00000"
    truths = source.counterfactual(0, "smile", [float(row["judge_change"])])
    assert truths is not None
    truth = truths[0]
    edited = read_image(picture_path(folder, header.edits, name, "smile", 2.0))
    inverted = Run.open(folder).read(name).reconstruction
    mse = float((edited - truth).square().mean() - (inverted - source.image(0)).square().mean())
    assert row["truth_mse"] == pytest.approx(mse, rel=1e-3, abs=1e-5)
    identity = PortraitIdentity()
    pairs = (identity(a[None], b[None]) for a, b in ((edited, truth), (inverted, source.image(0))))
    assert row["truth_portrait_identity"] == pytest.approx(float(next(pairs) - next(pairs)), abs=1e-4)
