"""SAM against its loop written out, its edit rule against the released one, and what it is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from zinv.config import compose, run_id
from zinv.errors import ConfigError, WeightsError
from zinv.evaluation.store import Run
from zinv.generators import FeatureEdit, Generator
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.images import resize
from zinv.losses.base import Loss
from zinv.losses.near_w import GaussianPrior
from zinv.methods.base import Inverter
from zinv.methods.descent import ramp
from zinv.methods.inversion import Inversion
from zinv.methods.sam import SAM
from zinv.networks.invertibility import InvertibilityNet
from zinv.seeding import image_rngs
from zinv.segmentation.base import Segmentation
from zinv.segmentation.superpixels import Superpixels
from zinv.spaces.base import LatentSpace
from zinv.spaces.s import S
from zinv.spaces.w import WPlus
from zinv.spaces.z import ZPlus
from zinv.weights import write

IDS = ["ada", "ben", "cy", "dee"]
SPACES = ["z", "zplus", "w", "wplus", "pnplus", "s", "fixed"]
CHECKOUT = Path(__file__).parents[2]
Build = Callable[..., Inverter]
Batches = Callable[[Inverter, Tensor, int], Tensor]
Cli = Callable[..., Any]


class Quarters(Segmentation):
    """Upper left, upper right, lower left, lower right."""

    label = "quarters"

    def __call__(self, image: Tensor, name: str = "") -> Tensor:
        return torch.tensor([[0, 1], [2, 3]]).repeat_interleave(8, 0).repeat_interleave(8, 1)


class ByHand(nn.Module):
    """The code is good on the left, b4.out at the top, b8.out nowhere."""

    def forward(self, images: Tensor) -> Tensor:
        maps = images.new_full((len(images), 3, 16, 16), 0.9)
        maps[:, 0, :, :8] = maps[:, 1, :8] = 0.1
        return maps


def sam(space: LatentSpace, generator: Generator | None = None, **settings: Any) -> SAM:
    """The left half to the code, the upper right to b4.out, the lower right to b8.out."""
    built = plain(space, generator, **settings)
    built.predictor = ByHand()
    return built


def plain(space: LatentSpace, generator: Generator | None = None, **settings: Any) -> SAM:
    few = {"num_steps": 4, **settings}
    return SAM(generator or toy_stylegan2(), space, Loss({"mse": 1.0}), Quarters(), **few)


def invert(method: SAM, target: Tensor, **more: Any) -> Inversion:
    return method.invert(target, image_rngs(0, IDS[: len(target)]), **more)


def written_out(toy: Generator, goal: Tensor, masks: dict[str, Tensor], num_steps: int) -> list[list[float]]:
    """One image's values `mse, features, delta, gaussian` before each step, by torch's own Adam."""
    w = toy.w_avg.repeat(1, toy.num_ws, 1).requires_grad_(True)
    changes = {p: torch.zeros(1, 16, *m.shape[2:], dtype=w.dtype, requires_grad=True) for p, m in masks.items()}
    optimiser, prior, values = torch.optim.Adam([w, *changes.values()]), GaussianPrior(toy), []
    for step in range(num_steps):
        image = toy.synthesis(toy.affine(w), edits={p: FeatureEdit(changes[p] * masks[p], 1.0) for p in masks})
        mse = (image - goal).square().mean()
        features = sum(x.square().mean() for x in changes.values())
        delta = sum((w[0, i] - w[0, 0]).norm() for i in range(1, toy.num_ws))
        v = F.leaky_relu(w[0], 5.0) - prior.mean
        gaussian = torch.einsum("ld,de,le->", v, prior.precision[0], v)
        values.append([x.item() for x in (mse, features, delta, gaussian)])
        for group in optimiser.param_groups:
            group["lr"] = 0.05 * ramp(step, num_steps)
        optimiser.zero_grad()
        (mse + 5 * features + 1e-3 * delta + 1e-5 * gaussian).backward()
        optimiser.step()
    return values


def test_it_is_the_plain_loop_under_its_masks(target: Tensor):
    toy, goal = toy_stylegan2().double(), target[:1].double()
    built = sam(WPlus(), toy, num_steps=12, gaussian=1e-5).double()
    built.trace_every = 1
    found = invert(built, goal)
    assert found.trace is not None
    masks = {"b4.out": torch.zeros(1, 1, 4, 4).double(), "b8.out": torch.zeros(1, 1, 8, 8).double()}
    masks["b4.out"][..., :2, 2:] = masks["b8.out"][..., 4:, 4:] = 1.0
    expected = torch.tensor(written_out(toy, goal, masks, 12), dtype=torch.float64)
    ours = torch.stack([found.trace[name][:, 0] for name in ("mse", "features", "delta", "gaussian")], 1)
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)
    assert ours[-1, 0] < ours[0, 0] and ours[-1, 1] > 0 and ours[-1, 2] > 0


@pytest.mark.parametrize("space", SPACES)
def test_float64_results_do_not_depend_on_the_batch(method: Build, in_batches: Batches, target: Tensor, space: str):
    built = method("sam", space, "method.num_steps=12").double()
    alone = in_batches(built, target.double(), 1)
    torch.testing.assert_close(in_batches(built, target.double(), 4), alone, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(in_batches(built, target.double(), 3), alone, rtol=1e-6, atol=1e-6)


def test_random_noise_is_each_images_own(method: Build, in_batches: Batches, target: Tensor):
    built = method("sam_released", "wplus", "method.num_steps=8").double()
    alone = in_batches(built, target.double(), 1)
    torch.testing.assert_close(in_batches(built, target.double(), 4), alone, rtol=1e-6, atol=1e-6)
    fixed = method("sam_released", "wplus", "method.num_steps=8", "method.noise=fixed").double()
    assert not torch.allclose(in_batches(fixed, target.double(), 4), alone, atol=1e-4)


def test_features_change_under_their_masks_alone(target: Tensor):
    found = invert(sam(ZPlus(), num_steps=30), target)
    assert found.edits is not None and found.maps is not None
    for point, edit in found.edits.items():
        under = found.maps[f"mask/{point}"].bool().expand_as(edit.value)
        assert edit.value[under].abs().max() > 0 and not edit.value[~under].any()
        assert edit.keep == 1.0


def test_more_layers_come_closer(target: Tensor):
    """The code alone, and the code with the feature layers that the threshold gives."""
    alone = invert(sam(ZPlus(), num_steps=60, only="code"), target)
    layered = invert(sam(ZPlus(), num_steps=60), target)
    assert (layered.losses["mse"] < alone.losses["mse"]).all()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("toy", [toy_stylegan2, toy_stylegan1])
def test_an_edit_by_nothing_is_the_reconstruction_bit_by_bit(
    method: Build, target: Tensor, space: str, toy: Callable[..., Generator]
):
    generator = toy()
    built = sam(method("sam", space).space, generator, num_steps=6)
    found = invert(built, target)
    stored = Inversion.join([found.image(i) for i in range(4)])
    assert torch.equal(built.reconstruct(built.moved(stored, stored.code)), built.reconstruct(found))


def test_an_edit_blends_as_the_released_code_does(target: Tensor):
    """`x (1 - m) + F m` with binary masks: F from the unedited codes, with the changes."""
    built = sam(WPlus(), num_steps=10)
    found = invert(built, target)
    assert found.edits is not None and found.maps is not None
    toy, moved = built.generator, found.code + 0.5 * torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0))
    blended: dict[str, FeatureEdit] = {}
    for point, edit in found.edits.items():
        mask = found.maps[f"mask/{point}"]
        full = toy.features(toy.affine(found.code), [point], found.edits)[point] + edit.value
        blended[point] = FeatureEdit(full * mask, 1 - mask)
    expected = toy.synthesis(toy.affine(moved), edits=blended)
    torch.testing.assert_close(built.reconstruct(built.moved(found, moved)), expected, rtol=1e-5, atol=1e-5)
    assert (expected - built.reconstruct(found)).abs().max() > 0.05


def test_what_is_under_a_mask_stays():
    """In StyleGAN1 nothing passes by the features: with all of 8 pixels kept, rows below them move nothing."""
    built = sam(WPlus(), toy_stylegan1(), only="b8.out")
    found = invert(built, torch.zeros(2, 3, 16, 16))
    below, above = found.code.clone(), found.code.clone()
    below[:, :4] += 1.0
    above[:, 4:] += 1.0
    assert torch.equal(built.reconstruct(built.moved(found, below)), built.reconstruct(found))
    assert (built.reconstruct(built.moved(found, above)) - built.reconstruct(found)).abs().max() > 0.01


def test_soft_masks_keep_the_inversion_too(target: Tensor):
    built = sam(WPlus(), num_steps=10, masks="soft")
    found = invert(built, target)
    assert found.maps is not None
    soft = found.maps["mask/b8.out"]
    assert ((soft > 0.01) & (soft < 0.99)).any()
    assert torch.equal(built.reconstruct(built.moved(found, found.code)), built.reconstruct(found))
    some = torch.where(torch.arange(4)[:, None, None] < 2, found.code, found.code + 0.1)
    edited = built.reconstruct(built.moved(found, some))
    assert torch.equal(edited[:2], built.reconstruct(found)[:2]) and (edited[2:] != built.reconstruct(found)[2:]).any()
    nearly = built.reconstruct(built.moved(found, found.code + 1e-6))
    torch.testing.assert_close(
        nearly, built.reconstruct(found), rtol=1e-3, atol=1e-3
    )  # no jump beside an edit by nothing


def test_where_a_code_has_no_w_the_terms_on_w_are_left_out_and_told(target: Tensor):
    asked = {"gaussian": 1.0, "delta": 1.0}
    for space, words, terms in (
        (S(), "none: the space has no w", set()),
        (ZPlus(), "gaussian 1, delta 1", {"gaussian", "delta"}),
    ):
        built = sam(space, **asked)
        assert built.settings()["near W"] == words
        assert set(invert(built, target[:1]).losses) == {"mse", "space", "features", "total"} | terms


def test_by_default_codes_of_w_alone_are_held_near_w():
    assert [sam(space).settings()["near W"] for space in (WPlus(), ZPlus(), S())] == [
        "gaussian 1e-08, delta 0.001", "none", "none",
    ]  # fmt: skip


def test_the_loss_sees_a_smaller_clipped_picture(target: Tensor):
    built = sam(WPlus(), num_steps=0, size=8, clamp=True)
    found = invert(built, 3 * target)
    image = F.interpolate(built.reconstruct(found), size=(8, 8), mode="area").clamp(-1, 1)
    goal = resize(3 * target, 8, "lanczos")
    torch.testing.assert_close(found.losses["mse"], (image - goal).square().mean((1, 2, 3)))


def test_a_start_brings_its_feature_changes(target: Tensor):
    first = invert(sam(ZPlus(), num_steps=10), target)
    again = sam(ZPlus(), num_steps=0)
    assert torch.equal(again.reconstruct(invert(again, target, start=first)), again.reconstruct(first))


def test_a_single_layer_needs_neither_predictor_nor_segments(target: Tensor):
    built = SAM(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), Superpixels(), num_steps=3, only="b8.out", predictor="no")
    found = invert(built, target)
    assert built.label == "Z+ + b8.out" and built.settings()["layer"] == "b8.out"
    assert found.edits is not None and [*found.edits] == ["b8.out"] and found.facts == {}
    assert found.maps is not None and found.maps["mask/b8.out"].all()
    code = sam(ZPlus(), only="code")
    assert code.label == "Z+" and invert(code, target).edits is None
    assert code.num_scalars() == 6 * 16 and built.num_scalars() == 6 * 16 + 16 * 64


def test_how_a_predictor_is_found_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    toy, other = toy_stylegan2(), toy_stylegan2(seed=1)
    net = InvertibilityNet(["Z+", "b4.out", "b8.out"], 16, width=4)
    path = tmp_path / "mine.safetensors"
    write(path, net.state_dict(), net.metadata(toy.sha256, "pixel"))
    assert plain(ZPlus(), toy).origin == "trained" and plain(WPlus(), toy).origin == "untrained"
    torch.testing.assert_close(plain(ZPlus(), toy).predictor.state_dict(), net.state_dict())
    with pytest.raises(WeightsError, match=f"trained for generator {toy.sha256[:8]}…, not for {other.sha256[:8]}…"):
        plain(ZPlus(), other, predictor=str(path))
    with pytest.raises(WeightsError, match=r"trained for Z\+, b4.out, b8.out, not for W\+, b4.out, b8.out\.$"):
        plain(WPlus(), toy, predictor=str(path))
    other.trained = True
    with pytest.raises(WeightsError, match=r"method.predictor=auto: no invertibility predictor was trained for .* Z\+"):
        plain(ZPlus(), other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.only=b8.ot", "method.only=b8.ot: this generator has no such point. Did you mean 'b8.out'?"),
        ("method.points=[b32.out]", "method.points=b32.out: this generator has no such point."),
        ("method.threshold=0", "method.threshold=0.0: not a float above 0."),
        ("method.masks=sharp", "method.masks=sharp: unknown choice."),
        ("segmentation=superpixel", "segmentation=superpixel: there is no such preset. Did you mean 'superpixels'?"),
        ("segmentation.nums=3", "segmentation.nums=3: no such key. Did you mean 'num'?"),
    ],
)
def test_mistakes(method: Build, override: str, message: str):
    with pytest.raises(ConfigError) as error:
        method("sam", "zplus", override)
    assert str(error.value).startswith(message)


def test_a_segmentation_belongs_to_methods_that_have_one():
    with pytest.raises(ConfigError, match="^segmentation=whole: no such key"):
        compose(["method=optimize", "generator=toy", "segmentation=whole"])


def test_what_is_chosen_names_the_run():
    base = ["method=sam", "generator=toy", "space=zplus"]
    ids = [
        run_id(compose([*base, more]))
        for more in ("seed=0", "segmentation=whole", "segmentation.num=9", "method.threshold=.3")
    ]
    assert len(set(ids)) == 4


def test_presets_are_of_the_paper_and_of_the_code():
    paper, released = (
        compose([f"method={name}", "generator=stylegan2_ffhq1024", "data=toy"]) for name in ("sam", "sam_released")
    )
    assert paper["loss"]["terms"] == released["loss"]["terms"] == {"mse": 1.0, "lpips_area": 1.0}
    differing = {key for key in paper["method"] if paper["method"][key] != released["method"][key]} - {"_name_"}
    assert differing == {"masks", "size", "clamp", "noise"}


# runs


def toy_run(overrides: str = "") -> str:
    base = "evaluate generator=toy space=zplus method=sam method.num_steps=3 data.num=3 trainer=cpu"
    keys = {word.partition("=")[0] for word in overrides.split()}
    return " ".join([*(word for word in base.split() if word.partition("=")[0] not in keys), overrides])


def only(pattern: str = "sam-*/*") -> Run:
    (found,) = Path("runs").glob(pattern)
    return Run.open(found)


def test_a_run_records_shares_draws_its_layers_and_says_whose_predictor(cli: Cli):
    said = cli(toy_run())
    assert said.status == 0
    records = only().records()
    shares = records[["share_code", "share_b4.out", "share_b8.out"]].sum(axis=1)
    assert shares.to_numpy() == pytest.approx(1.0) and set(records["degenerate"]) == {0}
    assert "SAM Z+, threshold 0.225, untrained predictor: shares of the pixels code " in " ".join(said.out.split())
    with Image.open(only().path / "layers.png") as sheet:
        assert sheet.height > 9 * 96
    stored = only().read("toy-00000").tensors
    assert {"maps/segments", "maps/invertibility", "maps/layers", "maps/mask/b8.out"} <= set(stored)


def test_a_run_of_one_layer_is_called_degenerate(cli: Cli):
    said = cli(toy_run("method.threshold=.0001"))
    assert said.status == 0
    words = " ".join(said.out.split())
    assert "degenerate, one layer has all, in 3 of 3 images: no evidence for choosing layers" in words
    (note,) = set(only().records()["note"].str.partition(" (lowest")[0])
    assert note == "degenerate: b8.out takes all pixels, as threshold 0.0001 admits no layer in any segment"


def test_an_image_without_a_usable_label_map_is_a_failed_row_and_the_others_are_not(cli: Cli, tmp_path: Path):
    halves = np.repeat([[1, 2]], 16, 0).repeat(8, 1).astype(np.uint8)
    (tmp_path / "maps").mkdir()
    Image.fromarray(halves).save(tmp_path / "maps" / "toy-00000.png")
    Image.fromarray(halves[:8]).save(tmp_path / "maps" / "toy-00001.png")
    said = cli(toy_run(f"segmentation=masks segmentation.path={tmp_path / 'maps'} data.batch_size=3"))
    assert said.status == 1
    records = only().records().set_index("image")
    assert dict(records["status"]) == {"toy-00000": "ok", "toy-00001": "failed", "toy-00002": "failed"}
    assert records["reason"]["toy-00001"] == "toy-00001.png: a label map of 16 x 8 pixels for a picture of 16 x 16."
    assert records["reason"]["toy-00002"].startswith("toy-00002.png: no such label map in ")
    assert only().read("toy-00000").tensors["maps/segments"].tolist() == (halves - 1).tolist()


def test_a_chain_of_optimize_sam_and_pti(cli: Cli):
    assert cli(toy_run("method=optimize")).status == 0
    assert cli(toy_run(f"start={only('optimize-zplus-toy/*').path}")).status == 0
    second = only("optimize-zplus-toy-sam/*")
    assert cli(toy_run(f"method=pti start={second.path} data.batch_size=3")).status == 0
    (third,) = Path("runs").glob("optimize-zplus-toy-sam-pti/*")
    stored, before = Run.open(third).read("toy-00000").tensors, second.read("toy-00000").tensors
    assert torch.equal(stored["edits/b8.out"], before["edits/b8.out"]) and before["edits/b8.out"].any()


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(cli: Cli):
    line = toy_run("method.num_steps=150")
    process = subprocess.Popen(
        [sys.executable, "-m", "zinv", *line.split()], env={**os.environ, "PYTHONPATH": str(CHECKOUT)}
    )
    while not list(Path("runs").glob("*/*/images/[!.]*/result.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(only().finished()) < 3
    assert cli(line).status == 0
    assert cli(f"{line} runs=undisturbed").status == 0
    other = next(Path("undisturbed").glob("*/*"))
    assert (only().path / "records.csv").read_bytes() == (other / "records.csv").read_bytes()
