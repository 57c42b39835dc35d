"""Training of the latent encoder: its terms by hand, its stages, a resumed curve, what its file is for."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zinv.config import build, compose
from zinv.config.schema import TRAIN_GROUPS
from zinv.data.sources import Portraits, Toy
from zinv.errors import ConfigError, DataError, WeightsError
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.encoder import Encoder
from zinv.methods.encoders import load_encoder
from zinv.networks.in_domain import InDomainEncoder
from zinv.networks.latent_encoder import LatentEncoder
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.p import PNPlus
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus
from zinv.training.base import Batch
from zinv.training.fit import fit
from zinv.training.latent_encoder import LatentEncoderTraining
from zinv.training.players import r1

SMALL = {"widths": (4, 4, 8, 8), "units": (1, 1, 1, 1), "head": 8, "progressive_from": 2, "progressive_every": 1}
STEPS = {"num_steps": 6, "batch_size": 4, "r1_every": 2}


def tiny(
    space: LatentSpace | None = None, kind: type[LatentEncoderTraining] = LatentEncoderTraining, **options: Any
) -> LatentEncoderTraining:
    data = options.pop("data", None) or Toy(num=20)
    return kind(toy_stylegan2(), space or WPlus(), Loss({"mse": 1.0}), data, **{**SMALL, **STEPS, **options})


class Dying(LatentEncoderTraining):
    """Stops before a step."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.step == 3:
            raise KeyError("stopped")
        super().training_step(batch, batch_idx)


class Gathered(LatentEncoderTraining):
    """Tells whether both ranks have the same networks at the end."""

    def on_train_end(self) -> None:
        weights = torch.cat([p.flatten() for part in (self.encoder, self.discriminator) for p in part.parameters()])
        first, last = self.all_gather(weights)
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(torch.equal(first, last)))


def run(trainee: LatentEncoderTraining, folder: Path, devices: int = 1, minutes: float = 0.0) -> Path:
    return fit(trainee, folder, "cpu", devices, checkpoint_minutes=minutes, log_steps=1)


def curve(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_r1_of_a_linear_discriminator_and_gradients_of_another():
    assert r1(lambda w: 3 * w.sum(1), torch.randn(5, 4)).item() == pytest.approx(9 * 4)
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    real = torch.randn(4, 3, dtype=torch.float64)

    def of_weight(weight: Tensor) -> Tensor:
        def judged(x: Tensor) -> Tensor:
            return torch.func.functional_call(net, {"0.weight": weight}, (x,))[:, 0]

        return r1(judged, real)

    weight = net[0].weight.detach().clone().requires_grad_(True)
    assert torch.autograd.gradcheck(of_weight, weight)


class Sum(nn.Module):
    """w to 2 sum(w)."""

    def forward(self, w: Tensor) -> Tensor:
        return 2 * w.sum(1)


def test_a_step_descends_on_the_terms_written_out(monkeypatch: pytest.MonkeyPatch):
    """The encoder's loss, and the discriminator's, from the code that it emits."""
    trainee = tiny(num_steps=9, delta=0.5, adversarial=0.25, r1=4.0, r1_every=3)
    trainee.discriminator = Sum()  # type: ignore[assignment]
    losses: list[tuple[int, float]] = []
    monkeypatch.setattr(trainee, "_update", lambda which, loss: losses.append((which, loss.item())))
    monkeypatch.setattr(trainee, "log_dict", lambda values: None)
    monkeypatch.setattr(LatentEncoderTraining, "step", 3)  # stage 2: rows 0, 1 and 2
    generator, images, z = toy_stylegan2(), torch.stack([Toy(4).image(i) for i in range(4)]), torch.randn(4, 16)
    trainee.encoder.eval()
    trainee.training_step((images, z), 0)
    ws = trainee.encoder(images, 2)
    mse = (generator.synthesis(generator.affine(ws)) - images).square().mean()
    deltas = sum((ws[:, i] - ws[:, 0]).square().sum(1).sqrt().mean() for i in (1, 2))
    fake, real = 2 * ws[:, :3].sum(2), 2 * generator.mapping(z).sum(1)
    fooled = (1 + (-fake).exp()).log().mean()
    expected = [
        (0, (mse + 0.5 * deltas + 0.25 * fooled).item()),
        (1, ((1 + fake.exp()).log().mean() + (1 + (-real).exp()).log().mean()).item()),
        (1, 4.0 / 2 * 3 * (4 * 16)),
    ]
    assert [which for which, _ in losses] == [0, 1, 1]
    assert [value for _, value in losses] == pytest.approx([value for _, value in expected], rel=1e-4)


def test_codes_without_w_have_neither_deltas_nor_a_discriminator(tmp_path: Path):
    run(tiny(S(), num_steps=3), tmp_path)
    assert {name for row in curve(tmp_path) for name in row} == {"step", "mse"}


def test_offsets_are_unlocked_as_e4es():
    trainee = tiny(progressive_from=20_000, progressive_every=2000)
    steps = (0, 19_999, 20_000, 21_999, 22_000, 28_000, 10**6)
    assert [trainee.stage(step) for step in steps] == [0, 0, 1, 1, 2, 5, 5]
    assert tiny(progressive_from=0, progressive_every=0).stage(0) == 5
    assert tiny(Z(), progressive_from=0).stage(99) == 0


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path):
    whole = run(tiny(mirror=True, schedule="cosine"), tmp_path / "whole")
    with pytest.raises(KeyError, match="stopped"):
        run(tiny(kind=Dying, mirror=True, schedule="cosine"), tmp_path / "stopped")
    again = run(tiny(mirror=True, schedule="cosine"), tmp_path / "stopped")
    expected, found = load_file(whole), load_file(again)
    assert all(torch.equal(found[name], x) for name, x in expected.items())
    assert curve(again.parent) == curve(whole.parent)
    assert [row["step"] for row in curve(whole.parent)] == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in sorted((whole.parent / "samples").iterdir())][-1] == "0000006.png"


@pytest.mark.parametrize("space", [Z(), ZPlus(), W(), WPlus(), S()], ids=lambda space: space.label)
def test_it_learns_in_every_space(tmp_path: Path, space: LatentSpace):
    """Pictures of the generator itself, which a code of any space brings nearer than the mean code."""

    class Own(Toy):
        def image(self, index: int) -> Tensor:
            z = torch.randn(1, 16, generator=torch.Generator().manual_seed(index))
            generator = toy_stylegan2()
            return generator.synthesis(generator.affine(generator.as_ws(generator.mapping(z))))[0].clamp(-1, 1)

    options = {"num_steps": 40, "lr": 5e-3, "batch_size": 10, "progressive_from": 20}
    file = run(tiny(space, data=Own(num=20), **options), tmp_path, minutes=9.0)
    measured = json.loads((tmp_path / "card.json").read_text())["measured"]
    assert measured["mse"] < 0.9 * measured["mse_of_w_avg"]
    method = Encoder(toy_stylegan2(), space, Loss({"mse": 1.0}), str(file))
    assert method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["a"])).losses["mse"].isfinite().all()
    assert method.settings()["encoder"] == "trained"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder for the toy's W+."""
    return run(tiny(num_steps=1), tmp_path_factory.mktemp("trained"))


def test_an_encoder_is_for_its_generator_resolution_and_space_alone(trained: Path):
    own, file = toy_stylegan2(), str(trained)
    for space in (WPlus(), PNPlus(), S()):  # the same rows
        load_encoder(LatentEncoder, file, own, space)
    other, large = toy_stylegan2(seed=1), toy_stylegan1(resolution=32)
    sha, ending = own.sha256[:8], r"\.$"
    for generator, space, words in [
        (other, WPlus(), rf"trained for generator {sha}… of 16 pixels, not for {other.sha256[:8]}… of 16 pixels"),
        (large, WPlus(), rf"trained for generator {sha}… of 16 pixels, not for {large.sha256[:8]}… of 32 pixels"),
        (own, ZPlus(), r"trained for W\+, not for Z\+"),
        (own, W(), r"trained for W\+, not for W"),
        (own, WPlus(truncation_psi=0.7), r"trained with truncation none, not 0\.7"),
    ]:
        with pytest.raises(WeightsError, match=words + ending):
            load_encoder(LatentEncoder, file, generator, space)
    with pytest.raises(WeightsError, match=r"holds latent encoder, not a in-domain encoder\.$"):
        load_encoder(InDomainEncoder, file, own, WPlus())


def test_auto_finds_it_by_generator_and_space(trained: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZINV_WEIGHTS", str(trained.parent))
    generator = toy_stylegan2()
    for space in (WPlus(), S()):
        assert load_encoder(LatentEncoder, "auto", generator, space)[1] == "latent_encoder"
    assert load_encoder(LatentEncoder, "auto", generator, ZPlus())[1] == "untrained/0"
    generator.trained = True
    words = rf"no latent encoder was trained for generator {generator.sha256[:8]}… and Z\+\. Train one with "
    with pytest.raises(WeightsError, match=words + r"`zinv train model=latent_encoder`, or name its file\.$"):
        load_encoder(LatentEncoder, "auto", generator, ZPlus())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"size": 24}, ConfigError, "model.size=24: not a power of two from 16 on."),
        ({"widths": (4, 4)}, ConfigError, "model.widths=[4,4]: not four numbers of 1 or more."),
        ({"data": Toy(10, 32)}, DataError, "data.resolution=32: the generator makes pictures of 16 pixels."),
        (
            {"data": Toy(3)},
            DataError,
            "model.batch_size=4: more than the data have pictures to train on, 3.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], kind: type[Exception], message: str):
    with pytest.raises(kind) as caught:
        tiny(**options)
    assert str(caught.value) == message


def test_checkpoints_leave_the_frozen_parts_out():
    assert {name.partition(".")[0] for name in tiny().state_dict()} == {"encoder", "discriminator"}


def test_prior_rows_are_of_every_space_and_generator():
    for generator in (toy_stylegan2(), toy_stylegan1(w_per_layer=True)):
        for space in (Z(), ZPlus(), WPlus(), S()):
            rows = space.prior_rows(generator)
            assert rows.shape[1:] == (space.num_rows(generator), 16)
            assert space.from_rows(generator, rows[:2]).shape[1:] == space.code_shape(generator)
    assert math.isclose(float(Z().prior_rows(toy_stylegan2()).std()), 1, abs_tol=0.01)


@pytest.mark.parametrize("space", [Z(), ZPlus(), WPlus(), S()], ids=lambda space: space.label)
def test_a_cards_errors_are_of_the_encoders_pictures_and_of_w_avgs(space: LatentSpace):
    """z's have no mean code worth comparing with: their mean is near 0, and its direction on the sphere an accident."""
    trainee, generator = tiny(space), toy_stylegan2()
    trainee.encoder.eval()
    pictures = torch.stack([Toy(5).image(i) for i in range(5)])
    rows = trainee.encoder(pictures)
    styles = space.to_styles(generator, space.from_rows(generator, rows))
    average = generator.synthesis(generator.affine(generator.w_avg.expand(5, generator.num_ws, -1)))
    expected = {"mse": generator.synthesis(styles), "mse_of_w_avg": average}
    found = trainee.decoder.measure(trainee.encoder, pictures)
    assert found == pytest.approx({name: (x - pictures).square().mean().item() for name, x in expected.items()})


def demo_preset() -> LatentEncoderTraining:
    config = compose(["model=latent_encoder", "space=wplus"], {"trainer": "fit"}, TRAIN_GROUPS)
    parts = {group: build(config, group) for group in ("generator", "space", "loss", "data")}
    trainee = build(config, "model", **parts)
    assert isinstance(trainee, LatentEncoderTraining)
    return trainee


def test_no_term_of_the_demos_loss_drowns_the_others():
    """Each image term has at least a tenth of the longest gradient, where w's of the prior meet other portraits."""
    decoder, images = demo_preset().decoder, Portraits("tune", 4).images(range(4))
    code = decoder.code(decoder.prior[:4]).clone().requires_grad_(True)
    values = decoder.loss(decoder.image(code), code, decoder.loss.prepare(images))
    weighted = {name: decoder.loss.weights[name] * value.mean() for name, value in values.items()}
    lengths = {name: torch.autograd.grad(x, code, retain_graph=True)[0].norm() for name, x in weighted.items()}
    assert set(lengths) == {"mse", "portrait_perceptual", "portrait_identity"}
    assert min(lengths.values()) > 0.1 * max(lengths.values()), lengths


def test_the_demo_unlocks_all_offsets_in_the_first_quarter():
    trainee = demo_preset()
    assert trainee.stage(trainee.num_steps // 4) == trainee.encoder.num_rows - 1


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_train_one_encoder(tmp_path: Path):
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)] == [True, True]
    assert all(x.isfinite().all() for x in load_file(tmp_path / "latent_encoder.safetensors").values())


if __name__ == "__main__":
    run(tiny(kind=Gathered), Path(sys.argv[1]), devices=2)
