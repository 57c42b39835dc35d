"""Training of a StyleGAN2: its terms against closed forms and autograd, and whole trainings of a tiny one."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from zinv.data.base import DataSource
from zinv.data.sources import Toy
from zinv.errors import ConfigError, DataError, WeightsError
from zinv.generators import load_generator
from zinv.images import read_image
from zinv.training.base import Batch, epoch_order
from zinv.training.fit import fit
from zinv.training.generator import GeneratorTraining

SIZE = 16
NETWORKS = {"resolution": SIZE, "channels": (8, 8, 8), "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
STEPS = {"num_images": 24, "batch_size": 4, "r1_every": 2, "path_every": 3, "noise_from": 8}


def tiny(
    data: DataSource | None = None, kind: type[GeneratorTraining] = GeneratorTraining, **options: object
) -> GeneratorTraining:
    return kind(data or Toy(num=10), **{**NETWORKS, **STEPS, **options})


class Dying(GeneratorTraining):
    """Stops before a step."""

    stop = 3

    def training_step(self, batch: Batch, index: int) -> None:
        if self.step == self.stop:
            raise KeyError("stopped")
        super().training_step(batch, index)


class Eaten(Toy):
    """Has a picture that cannot be used."""

    def image(self, index: int) -> Tensor:
        if index == 7:
            raise DataError(f"{self.ids[index]}: eaten by the dog.")
        return super().image(index)


class Hungry(GeneratorTraining):
    """Learns such pictures."""

    def __init__(self, data: DataSource, **options: Any) -> None:
        super().__init__(Eaten(len(data)), **options)


class Gathered(GeneratorTraining):
    """Tells what each rank has at the end."""

    def on_train_end(self) -> None:
        weights = torch.cat([p.flatten() for module in (self.g, self.d, self.g_ema) for p in module.parameters()])
        first, last = self.all_gather(weights)
        facts = {"same": torch.equal(first, last), "share": self.batch(0)[0].sum((1, 2, 3)).tolist()}
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(facts))


def losses(folder: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert {"r1", "path"} <= rows[-1].keys()
    return [(row["step"], row["g"], row["d"]) for row in rows]


def run(trainee: GeneratorTraining, folder: Path, devices: int = 1) -> Path:
    return fit(trainee, folder, "cpu", devices, checkpoint_minutes=0.0, log_steps=1)


def on_two(kind: type[GeneratorTraining], folder: Path) -> subprocess.CompletedProcess[str]:
    """A training on two processes, started from one of its own."""
    command = [sys.executable, __file__, kind.__name__, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def same(one: Path, other: Path) -> bool:
    expected, found = load_file(one), load_file(other)
    return expected.keys() == found.keys() and all(torch.equal(found[name], x) for name, x in expected.items())


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(tiny(), tmp_path / "whole")
    with pytest.raises(KeyError, match="stopped"):
        run(tiny(kind=Dying), tmp_path / "stopped")
    again = run(tiny(), tmp_path / "stopped")
    for file in ("generator.safetensors", "generator_state.safetensors"):
        assert same(whole.parent / file, again.parent / file)
    assert losses(again.parent) == losses(whole.parent)
    assert [step for step, _, _ in losses(whole.parent)] == [1, 2, 3, 4, 5, 6]


def test_what_was_trained_is_a_generator_with_a_sheet_and_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run(tiny(num_images=8), tmp_path)
    assert re.search(r"generator 2/2 \d+ images/s, 0:00:00 left, g 0\.\d+ d 1\.\d+", capsys.readouterr().err)
    generator = load_generator(str(file))
    w = generator.mapping(torch.randn(2, 8))
    assert generator.synthesis(generator.affine(w[:, None].expand(-1, generator.num_ws, -1))).shape == (
        2,
        3,
        SIZE,
        SIZE,
    )
    sheet = read_image(tmp_path / "samples" / "0000002.png")
    assert sheet.shape == (3, 8 * (SIZE + 2) - 2, 8 * (SIZE + 2) - 2)
    measured = json.loads((tmp_path / "card.json").read_text())["measured"]
    assert measured["swd_ratio"] > 1 and measured.keys() == {"swd_ratio", "swd_split_half"}


@pytest.mark.slow
@pytest.mark.required
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_train_one_network_on_their_shares(tmp_path: Path) -> None:
    done = on_two(Gathered, tmp_path)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert all(rank["same"] for rank in ranks)
    seen = epoch_order(10, 0, 4, seed=0).tolist()
    expected = [Toy(num=10).image(i).sum().item() for i in seen]
    assert [x for pair in zip(*(rank["share"] for rank in ranks), strict=True) for x in pair] == pytest.approx(
        expected, abs=1e-2
    )
    untrained, trained = tiny().g_ema.state_dict(), load_file(tmp_path / "generator.safetensors")
    assert all(x.isfinite().all() for x in trained.values())
    assert not torch.allclose(trained["synthesis.b4.const"].float(), untrained["synthesis.b4.const"], atol=1e-4)
    assert [step for step, _, _ in losses(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert "2 x CPU" in (tmp_path / "card.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_go_on_as_if_they_had_not_been_stopped(tmp_path: Path) -> None:
    assert on_two(Gathered, tmp_path / "whole").returncode == 0
    assert "stopped" in on_two(Dying, tmp_path / "stopped").stderr
    assert on_two(Gathered, tmp_path / "stopped").returncode == 0
    file = "generator_state.safetensors"
    assert same(tmp_path / "whole" / file, tmp_path / "stopped" / file)


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_a_picture_that_cannot_be_used_ends_both_processes(tmp_path: Path) -> None:
    done = on_two(Hungry, tmp_path)
    assert (
        done.returncode != 0
        and "1 of 10 pictures cannot be used, the first: toy-00007: eaten by the dog." in done.stderr
    )


def test_a_state_goes_on_elsewhere_but_not_in_another_architecture(tmp_path: Path) -> None:
    trainee = tiny(num_images=8)
    run(trainee, tmp_path)
    state = str(tmp_path / "generator_state.safetensors")
    copy = tiny(initial=state)
    for name, value in trainee.state_dict().items():
        torch.testing.assert_close(copy.state_dict()[name], value, atol=2e-3, rtol=1e-3)
    with pytest.raises(WeightsError, match=r"model.initial=.*: of another architecture: model.channels=\[8,8,8\]\.$"):
        tiny(initial=state, channels=(8, 8, 4))
    with pytest.raises(WeightsError, match="generator.safetensors: not a generator_state file that zinv train wrote"):
        tiny(initial=str(tmp_path / "generator.safetensors"))


def test_both_players_gradients_are_autograds_through_a_pass_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    trainee, found = tiny().float(), {}

    def keep(trainee: GeneratorTraining, which: int, loss: Tensor) -> None:
        player = (trainee.g, trainee.d)[which]
        found[which] = torch.autograd.grad(loss, list(player.parameters()), allow_unused=True, retain_graph=True)

    monkeypatch.setattr("zinv.training.generator.update", keep)
    monkeypatch.setattr(trainee, "log_dict", lambda values: None)
    images = torch.stack([Toy(4).image(i) for i in range(4)])
    torch.manual_seed(0)
    trainee._adversarial(images, 0)
    torch.manual_seed(0)
    fake = trainee.g(trainee._mixed(4)[0], "none")
    losses = (
        F.softplus(-trainee.d(fake)).mean(),
        (F.softplus(trainee.d(fake)) + F.softplus(-trainee.d(images))).mean(),
    )
    for which, player in enumerate((trainee.g, trainee.d)):
        expected = torch.autograd.grad(losses[which], list(player.parameters()), allow_unused=True, retain_graph=True)
        for a, b in zip(found[which], expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_r1_of_a_linear_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * x.sum((1, 2, 3))

    trainee = tiny(r1=0.2)
    trainee.d = Sum()
    monkeypatch.setattr(trainee, "log", lambda name, value: None)
    # the gradient is 3 in each of 3 * 16 * 16 places
    assert trainee._r1(torch.randn(2, 3, SIZE, SIZE)).item() == pytest.approx(0.1 * 9 * 3 * SIZE**2)


def test_path_length_of_a_linear_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(nn.Module):
        def mapping(self, z: Tensor) -> Tensor:
            return z.requires_grad_()

        def forward(self, ws: Tensor, noise: str) -> Tensor:
            return 2 * ws.sum(1).unflatten(1, (3, SIZE, SIZE))

    trainee = tiny(z_dim=3 * SIZE**2, path_length=5.0)
    trainee.g = Linear()
    monkeypatch.setattr(GeneratorTraining, "share", 400)
    monkeypatch.setattr(trainee, "_over_ranks", lambda value: value)
    monkeypatch.setattr(trainee, "log", lambda name, value: None)
    torch.manual_seed(0)
    penalty = trainee._path_length(0)
    # each row's gradient is 2 * noise, of length 2 * sqrt(3) with noise of variance 1 / 16² in 3 * 16² places
    mean = 2 * 3**0.5
    assert trainee.path_mean.item() == pytest.approx(0.01 * mean, rel=1e-2)
    assert penalty.item() == pytest.approx(5 * (0.99 * mean) ** 2, rel=2e-2)


def test_mixed_rows_change_once_and_only_if_asked() -> None:
    for share in (0.0, 1.0):
        ws, _, mixed = tiny(style_mixing=share)._mixed(50)
        changes = (ws[:, 1:] != ws[:, :-1]).any(2).sum(1)
        assert ws.shape == (50, 6, 8) and (changes == share).all() and (mixed == share).all()


def test_the_average_forgets_half_in_its_half_life() -> None:
    trainee = tiny(ema_images=20)
    with torch.no_grad():
        for p in trainee.g.parameters():
            p.add_(1)
    before = [p.clone() for p in trainee.g_ema.parameters()]
    for _ in range(5):  # of 4 images
        trainee._average()
    for p, start in zip(trainee.g_ema.parameters(), before, strict=True):
        torch.testing.assert_close(p, start + 0.5)


@pytest.mark.parametrize("mirror", [False, True])
def test_mirrored_pictures_are_asked_for_and_the_same_at_each_call(tmp_path: Path, mirror: bool) -> None:
    class Shown(GeneratorTraining):
        def on_train_start(self) -> None:
            shown.extend(torch.cat([self.batch(step)[0] for step in order]) for order in ((0, 1), (0, 1)))

    shown: list[Tensor] = []
    run(tiny(kind=Shown, num_images=4, mirror=mirror), tmp_path)
    order = torch.cat([epoch_order(10, step, 4, seed=0) for step in (0, 1)]).tolist()
    real = torch.stack([Toy(num=10).image(i) for i in order])
    turned = ((shown[0] - real).abs() > 1e-5).flatten(1).any(1)
    assert torch.equal(*shown)
    torch.testing.assert_close(shown[0], torch.where(turned[:, None, None, None], real.flip(3), real))
    assert bool(turned.any()) == mirror and not turned.all()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"data": Toy(10, 32)}, DataError, "data.resolution=32: the generator makes pictures of 16 pixels."),
        ({"data": Toy(3)}, DataError, "model.batch_size=4: more than the data have pictures to train on, 3."),
        ({"channels": (8, 8)}, ConfigError, "model.channels=[8,8]: widths at 4 to 8 pixels, but model.resolution=16."),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(
    options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        tiny(**options)
    assert str(caught.value) == message


if __name__ == "__main__":
    run(tiny(kind=globals()[sys.argv[1]]), Path(sys.argv[2]), devices=2)
