"""Training of the invertibility predictor: maps by hand, what it learns and refuses, and the whole way on a toy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zinv.config import build, compose
from zinv.config.schema import TRAIN_GROUPS
from zinv.data.sources import Toy
from zinv.errors import ConfigError, StoreError, ZinvError
from zinv.generators.toy import toy_stylegan2
from zinv.images import from_uint8, pixels_sha256, write_png
from zinv.networks.perceptual import load_lpips
from zinv.networks.portraits import PerceptualNet, load_perceptual
from zinv.training.fit import fit
from zinv.training.invertibility import InvertibilityTraining, correlation, error_map, split
from zinv.training.pictures import Pictures
from zinv.weights import read, write

NUM = 40


def made_run(folder: Path, layer: str, paint: Callable[[Tensor], Tensor], num: int = NUM, **facts: str) -> str:
    """A run folder of toys, inverted by `paint`."""
    source, generator = Toy(num), facts.pop("generator", toy_stylegan2().sha256)
    for i, name in enumerate(source.ids):
        image = folder / "images" / name
        image.mkdir(parents=True)
        target = source.image(i)
        write_png(paint(target), image / "reconstruction.png")
        (image / "result.json").write_text(json.dumps({"target_sha256": pixels_sha256(target)}))
        write(image / "inversion.safetensors", {"code": torch.zeros(1)}, {"generator": generator})
    (folder / "run.json").write_text(json.dumps({"settings": {"space": "Z+", "layer": layer, **facts}}))
    return str(folder)


def black(target: Tensor) -> Tensor:
    return -torch.ones_like(target)


def exact(target: Tensor) -> Tensor:
    return target


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """The point's run first: the code loses everything, b4.out all but red, b8.out nothing."""

    def red(target: Tensor) -> Tensor:
        return torch.cat([target[:1], black(target)[1:]])

    return [
        made_run(tmp_path / "b8", "b8.out", exact),
        made_run(tmp_path / "code", "code", black),
        made_run(tmp_path / "b4", "b4.out", red),
    ]


def trainee(runs: list[str], num_steps: int = 2, num: int = NUM, **settings: Any) -> InvertibilityTraining:
    few = {"network": "pixel", "size": 16, "width": 4, "batch_size": 8, "num_steps": num_steps}
    return InvertibilityTraining(toy_stylegan2(), Toy(num), runs, **{**few, **settings})


def test_maps_are_where_pictures_differ_layer_by_layer(runs: list[str]):
    built = trainee(runs)
    assert built.predictor.candidates == ("Z+", "b4.out", "b8.out")
    pairs = built._pairs(built.train_ids[:2])
    targets = from_uint8(pairs["pictures"])
    lost = (targets + 1).square()
    torch.testing.assert_close(pairs["maps"][:, 0].float(), lost.mean(1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(pairs["maps"][:, 1].float(), lost[:, 1:].sum(1) / 3, rtol=1e-3, atol=1e-3)
    assert not pairs["maps"][:, 2].any()


def test_it_learns_what_a_picture_loses(runs: list[str], tmp_path: Path):
    """Losses are a function of the pixel, which the mean map cannot know."""
    fit(trainee(runs, num_steps=120, lr=5e-3), tmp_path / "fit", accelerator="cpu")
    measured = json.loads((tmp_path / "fit" / "card.json").read_text())["measured"]
    assert measured["held-out pictures"] == 8 and measured["pictures trained on"] == 32
    for name in ("Z+", "b4.out"):
        assert measured[f"correlation, {name}"] > 0.8 > measured[f"correlation of the mean map, {name}"]
    rows = [json.loads(line) for line in (tmp_path / "fit" / "training.jsonl").read_text().splitlines()]
    assert rows[-1]["Z+"] < rows[0]["Z+"]


def test_held_out_pictures_are_not_trained_on(runs: list[str], tmp_path: Path):
    built = trainee(runs)
    assert not {*built.train_ids} & {*built.held_out_ids}
    assert {*built.train_ids, *built.held_out_ids} == {*Toy(NUM).ids}
    assert split(Toy(NUM).ids, 0.2, 0) == (built.train_ids, built.held_out_ids)
    with pytest.raises(ConfigError, match="^model.held_out=1: of 40 images none is left to train on.$"):
        trainee(runs, held_out=1.0)


def test_correlation_by_hand():
    a, b = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 3.0, 2.0, 4.0])
    assert correlation(a, b) == pytest.approx(0.8)
    assert correlation(a, -a) == pytest.approx(-1.0)


def test_perceptual_maps_have_the_distance_as_their_mean():
    """Where a tap's map is enlarged from its own mean, border pixels count a little more: to a tenth."""
    images, targets = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for network, name in ((load_perceptual(), "portraits/perceptual"), (load_lpips("random/vgg16"), "random/vgg16")):
        maps = error_map(name)(images, targets)
        assert maps.shape == (2, 1, 64, 64) and not error_map(name)(images, images).any()
        torch.testing.assert_close(maps.mean((1, 2, 3)), network(images, targets), rtol=0.1, atol=0)
    assert isinstance(network, torch.nn.Module) and PerceptualNet.kind == "portraits perceptual"


def changed(tmp_path: Path, runs: list[str], change: str) -> list[str]:
    """The runs with one mistake among them."""
    if change == "twice":
        return [*runs, made_run(tmp_path / "again", "b4.out", exact)]
    if change == "no code":
        return [runs[0], runs[2]]
    if change == "other space":
        return [*runs[1:], made_run(tmp_path / "w", "b8.out", exact, space="W+")]
    if change == "other generator":
        return [*runs[1:], made_run(tmp_path / "g", "b8.out", exact, generator=toy_stylegan2(seed=1).sha256)]
    if change == "no layer":
        return [*runs, made_run(tmp_path / "whole", "", exact)]
    return [*runs, str(tmp_path / "nowhere")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("twice", "b4 and {folder}/again are both of layer b4.out."),
        ("no code", "model.runs: one run of layer code and at least one of a point are needed; make each with"),
        ("other space", "model.runs: of several spaces, Z+, W+; one predictor is for one."),
        ("other generator", "{folder}/g is of generator "),
        ("no layer", "{folder}/whole is not of one layer of this generator; make each with `zinv evaluate method=sam"),
        ("nowhere", "{folder}/nowhere: there is no run in this folder (run.json is missing)."),
    ],
)
def test_runs_that_are_no_set_of_candidates(tmp_path: Path, runs: list[str], change: str, message: str):
    with pytest.raises(ZinvError) as error:
        trainee(changed(tmp_path, runs, change))
    assert message.replace("{folder}", str(tmp_path)) in str(error.value)


def test_unfinished_runs_are_refused_and_failed_images_left_out(tmp_path: Path, runs: list[str]):
    with pytest.raises(StoreError, match="code: 2 of 42 images are not finished, such as 'toy-00040'"):
        trainee(runs, num=42)
    for run in runs:
        (Path(run) / "failed").mkdir()
        for name in ("toy-00040", "toy-00041"):
            (Path(run) / "failed" / f"{name}.json").write_text("{}")
    built = trainee(runs, num=42)
    assert len(built.train_ids) + len(built.held_out_ids) == 40


def test_a_run_of_other_pictures_is_refused(runs: list[str]):
    result = Path(runs[1]) / "images" / "toy-00003" / "result.json"
    result.write_text(json.dumps({"target_sha256": "0" * 64}))
    built = trainee(runs)
    with pytest.raises(StoreError, match="image 'toy-00003' was made from another picture"):
        built._pairs(["toy-00003"])


def test_a_training_that_goes_on_reads_its_maps(runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = read(fit(trainee(runs, num_steps=6), tmp_path / "whole", accelerator="cpu"))[0]

    class Killed(Exception):
        pass

    step = InvertibilityTraining.training_step

    def dies(self: InvertibilityTraining, batch: Any, index: int) -> Tensor:
        if self.step == 4:
            raise Killed
        return step(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(InvertibilityTraining, "training_step", dies)
        fit(trainee(runs, num_steps=6), tmp_path / "killed", accelerator="cpu", checkpoint_minutes=0.0, log_steps=1)
    monkeypatch.setattr(InvertibilityTraining, "_pairs", lambda self, ids: pytest.fail("taken again"))
    again = read(fit(trainee(runs, num_steps=6), tmp_path / "killed", accelerator="cpu", log_steps=1))[0]
    assert all(torch.equal(again[name], x) for name, x in whole.items())


@pytest.mark.slow
def test_from_single_space_runs_to_a_predictor_that_sam_finds(cli: Callable[..., Any]):
    toy = "generator=toy data=toy data.num=5"
    for layer in ("code", "b4.out", "b8.out"):
        line = f"evaluate {toy} space=zplus method=sam method.only={layer} method.num_steps=5 trainer=cpu"
        assert cli(line).status == 0
    runs = ",".join(str(path) for path in sorted(Path("runs").glob("sam-zplus-toy/*")))
    small = "model.network=pixel model.size=16 model.width=4 model.num_steps=3 model.batch_size=4"
    said = cli(f"train model=invertibility {toy} {small} model.runs=[{runs}]")
    assert said.status == 0, said
    said = cli(f"evaluate {toy} space=zplus method=sam method.num_steps=2 trainer=cpu")
    assert said.status == 0 and "untrained predictor" not in said.out


def test_the_demo_learns_from_pictures_that_its_encoders_hold_out():
    """Its inversions start at the latent encoder's codes, which are better where that was trained."""
    own = compose(["model=invertibility", "model.runs=[]"], {"trainer": "fit"}, TRAIN_GROUPS)
    ids = build(own, "data").ids
    for name in ("latent_encoder", "in_domain_encoder"):
        config = compose([f"model={name}", "space=wplus"], {"trainer": "fit"}, TRAIN_GROUPS)
        shown = Pictures(build(config, "data"), 64, 16, False, None, 1)
        assert len(ids) == 192 and set(ids) <= set(shown.data.ids[shown.num :])
