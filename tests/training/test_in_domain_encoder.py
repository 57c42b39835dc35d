"""Training of the in-domain encoder: both players' losses by hand, where D begins, a resumed curve."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from zinv.config import build, compose
from zinv.config.schema import TRAIN_GROUPS
from zinv.data.sources import Toy
from zinv.errors import ConfigError, DataError, WeightsError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.idinvert import IDInvert
from zinv.networks.discriminator import Discriminator
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.w import WPlus
from zinv.spaces.z import ZPlus
from zinv.training.base import Batch
from zinv.training.fit import fit
from zinv.training.in_domain_encoder import InDomainEncoderTraining
from zinv.weights import write

SMALL = {"width": 4, "max_width": 8, "channels": (4, 4, 4), "num_steps": 5, "batch_size": 4, "r1_every": 2}


def tiny(
    space: LatentSpace | None = None, kind: type[InDomainEncoderTraining] = InDomainEncoderTraining, **options: Any
) -> InDomainEncoderTraining:
    data = options.pop("data", None) or Toy(num=20)
    return kind(toy_stylegan2(), space or ZPlus(), Loss({"mse": 1.0}), data, **{**SMALL, **options})


class Dying(InDomainEncoderTraining):
    """Stops before a step."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.step == 2:
            raise KeyError("stopped")
        super().training_step(batch, batch_idx)


class Gathered(InDomainEncoderTraining):
    """Tells whether both ranks have the same networks at the end."""

    def on_train_end(self) -> None:
        parts = (self.encoder, self.discriminator)
        weights = torch.cat([x.detach().flatten() for part in parts for x in part.parameters()])
        first, last = self.all_gather(weights)
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(torch.equal(first, last)))


def run(trainee: InDomainEncoderTraining, folder: Path, devices: int = 1) -> Path:
    return fit(trainee, folder, "cpu", devices, checkpoint_minutes=0.0, log_steps=1)


def curve(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_both_players_descend_on_the_losses_written_out(monkeypatch: pytest.MonkeyPatch):
    trainee = tiny(adversarial=0.3, r1=4.0, r1_every=3)
    trainee.encoder.eval()
    found: dict[int, tuple[Tensor | None, ...]] = {}
    players = (trainee.encoder, trainee.discriminator)
    trained = [[x for x in player.parameters() if x.requires_grad] for player in players]

    def keep(which: int, loss: Tensor) -> None:
        found[which] = torch.autograd.grad(loss, trained[which], retain_graph=True)

    monkeypatch.setattr(trainee, "_update", keep)
    monkeypatch.setattr(trainee, "log_dict", lambda values: None)
    monkeypatch.setattr(InDomainEncoderTraining, "step", 3)
    real = torch.stack([Toy(4).image(i) for i in range(4)])
    trainee.training_step((real,), 0)
    generator, z = toy_stylegan2(), trainee.encoder(real)
    z = 4 * z / z.norm(dim=2, keepdim=True)
    fake = generator.synthesis(generator.affine(generator.map_rows(z)))
    of_e = (fake - real).square().mean() + 0.3 * (1 + (-trainee.discriminator(fake)).exp()).log().mean()
    shown = real.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(trainee.discriminator(shown).sum(), shown, create_graph=True)
    judged, own = trainee.discriminator(fake.detach()), trainee.discriminator(real)
    of_d = (1 + judged.exp()).log().mean() + (1 + (-own).exp()).log().mean()
    of_d = of_d + 3 * 4.0 / 2 * slope.square().sum((1, 2, 3)).mean()
    for which, loss in enumerate((of_e, of_d)):
        expected = torch.autograd.grad(loss, trained[which], retain_graph=True)
        for a, b in zip(found[which], expected, strict=True):
            assert a is not None
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()) + 1e-7)


def test_a_lazy_discriminator_counts_as_many_times_in_its_turn(monkeypatch: pytest.MonkeyPatch):
    """Every third step, with R1 in every second of those: steps 0, 6, …"""
    pulls: dict[int, list[tuple[int, float]]] = {}
    for step in (0, 1, 3):
        trainee = tiny(adversarial=0.3, adversarial_every=3, r1=4.0, r1_every=2)
        trainee.encoder.eval()
        pulls[step] = []
        keep = pulls[step].append
        monkeypatch.setattr(trainee, "_update", lambda which, loss, keep=keep: keep((which, loss.item())))
        monkeypatch.setattr(trainee, "log_dict", lambda values: None)
        monkeypatch.setattr(InDomainEncoderTraining, "step", step)
        real = torch.stack([Toy(4).image(i) for i in range(4)])
        trainee.training_step((real,), 0)
    assert [[which for which, _ in found] for found in pulls.values()] == [[1, 0], [0], [1, 0]]
    judge, shown = trainee.discriminator, real.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(judge(shown).sum(), shown)
    assert pulls[0][0][1] - pulls[3][0][1] == pytest.approx(2 * 4.0 / 2 * slope.square().sum().item() / 4, rel=1e-3)
    fake = trainee.decoder.image(trainee.decoder.code(trainee.encoder(real))).detach().requires_grad_(True)
    (pull,) = torch.autograd.grad((1 + (-judge(fake)).exp()).log().mean(), fake)
    expected = 3 * 0.3 * (fake * pull).sum().item()
    assert pulls[0][1][1] - pulls[1][0][1] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_rate_falls_by_its_factor_each_quarter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    rates: list[float] = []

    class Watched(InDomainEncoderTraining):
        def training_step(self, batch: Batch, batch_idx: int) -> None:
            super().training_step(batch, batch_idx)
            rates.append(self.optimizers()[0].param_groups[0]["lr"])  # type: ignore[index]

    run(tiny(kind=Watched, num_steps=8, lr=1e-3, decay=0.5), tmp_path)
    assert rates == pytest.approx([1e-3 * 0.5 ** (step / 2) for step in range(8)])


@pytest.mark.parametrize("every", [1, 3])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, every: int):
    whole = run(tiny(adversarial_every=every), tmp_path / "whole")
    with pytest.raises(KeyError, match="stopped"):
        run(tiny(kind=Dying, adversarial_every=every), tmp_path / "stopped")
    again = run(tiny(adversarial_every=every), tmp_path / "stopped")
    expected, found = load_file(whole), load_file(again)
    assert all(torch.equal(found[name], x) for name, x in expected.items())
    assert curve(again.parent) == curve(whole.parent)
    assert [row["step"] for row in curve(whole.parent)] == [1, 2, 3, 4, 5]
    method = IDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), 1, encoder=str(whole))
    assert method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["a"])).losses["domain"].isfinite().all()
    with pytest.raises(WeightsError, match=r"trained for Z\+, not for W\+\.$"):
        IDInvert(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), encoder=str(whole))


def test_scales_of_norms_stay_the_priors(tmp_path: Path):
    trainee = tiny(WPlus(), lr=1e-2)
    before = trainee.encoder.get_submodule("block3.bn.bn").weight.clone()
    run(trainee, tmp_path)
    torch.testing.assert_close(before, WPlus().prior_rows(toy_stylegan2()).std(0).flatten())
    assert torch.equal(trainee.encoder.get_submodule("block3.bn.bn").weight, before)


def test_the_discriminator_begins_where_a_file_ends(tmp_path: Path):
    torch.manual_seed(0)
    own = Discriminator((6, 5, 4))
    arch = json.dumps({"resolution": 16, "channels": [6, 5, 4]})
    write(tmp_path / "d.safetensors", own.state_dict(), {"kind": "stylegan2_discriminator", "architecture": arch})
    trainee = tiny(discriminator=str(tmp_path / "d.safetensors"))
    for name, x in own.state_dict().items():
        assert torch.equal(trainee.discriminator.state_dict()[name], x)
    assert all(x.requires_grad for x in trainee.discriminator.parameters())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"size": 6}, ConfigError, "model.size=6: not a power of two from 8 on."),
        ({"channels": (4, 4)}, ConfigError, "model.channels=[4,4]: not 3 widths, at 4 to 16 pixels."),
        ({"data": Toy(10, 32)}, DataError, "data.resolution=32: the generator makes pictures of 16 pixels."),
        (
            {"discriminator": "portraits/discriminator"},
            WeightsError,
            "model.discriminator=portraits/discriminator: of pictures of 64 pixels, not 16; null begins anew.",
        ),
        (
            {"discriminator": "portraits/identity"},
            WeightsError,
            "model.discriminator=portraits/identity: it holds portraits identity.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], kind: type[Exception], message: str):
    with pytest.raises(kind) as caught:
        tiny(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["latent_encoder", "in_domain_encoder"])
def test_the_presets_are_for_the_portraits(name: str):
    config = compose([f"model={name}", "space=wplus", "data.num=40"], {"trainer": "fit"}, TRAIN_GROUPS)
    assert (config["data"]["split"], config["space"]["_name_"]) == ("train", "wplus")
    parts = {group: build(config, group) for group in ("generator", "space", "loss", "data")}
    trainee = build(config, "model", **parts)
    assert 4e5 < sum(x.numel() for x in trainee.encoder.parameters()) < 8e5  # four of them ship
    assert trainee.encoder(torch.zeros(2, 3, 64, 64)).shape == (2, 10, 128)


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_train_one_encoder_against_one_discriminator(tmp_path: Path):
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)] == [True, True]


if __name__ == "__main__":
    run(tiny(kind=Gathered, adversarial_every=2), Path(sys.argv[1]), devices=2)
