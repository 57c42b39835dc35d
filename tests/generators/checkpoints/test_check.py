"""The check that follows each read: sabotaged readings of a trained generator are doubted, true ones are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.generators.checkpoints.conftest import stylegan1, stylegan2
from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Checkpoint
from zinv.generators.checkpoints.check import NOTHING, examine, fine_detail, line
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.networks.stylegan2 import StyleGAN2Architecture

State = dict[str, Tensor]
Trained = tuple[StyleGAN2Architecture, State, State]


def convolutions(state: State) -> float:
    return sum(float(x.square().sum()) for x in state.values() if x.dim() == 4 and x.shape[-1] == 3)


def checkpoint(trained: Trained, state: State, raw: State | None = None) -> Checkpoint:
    return Checkpoint("test", "StyleGAN2", trained[0], state, "g_ema", convolutions(raw or trained[2]))


def on(ending: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {name: change(x) if name.endswith(ending) else x for name, x in state.items()}


SABOTAGE = {
    "kernels turned": (on("conv0.weight", lambda x: x.flip(2, 3)), r"with the up-sampling kernels turned, pictures"),
    "no style offset": (on("affine.bias", lambda x: x - 1), r"style biases have a median of 0\.\d+, not near 1"),
    "style offset twice": (on("affine.bias", lambda x: x + 1), r"style biases have a median of 2(\.\d)?, not near 1"),
    "no mean": (on("w_avg", torch.zeros_like), r"w_avg lies 1\.\d standard deviations from the mean of 2,000 draws"),
}


def test_a_trained_generator_is_confirmed(trained: Trained):
    findings = examine(checkpoint(trained, trained[1]))
    assert findings.doubts == ()
    assert findings.confirmed == ("kernels", "style biases")


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_wrong_reading_of_it_is_doubted(trained: Trained, name: str):
    sabotage, words = SABOTAGE[name]
    (doubt,) = examine(checkpoint(trained, sabotage(trained[1]))).doubts
    assert re.match(words, doubt), doubt


def test_the_generator_in_training_in_place_of_the_average_is_doubted(trained: Trained):
    _, average, raw = trained
    assert examine(checkpoint(trained, average, raw)).doubts == ()
    (doubt,) = examine(checkpoint(trained, raw, average)).doubts
    assert doubt.startswith("its weights are larger than those of the generator in training")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("toy", [toy_stylegan2, toy_stylegan1])
def test_random_weights_are_neither_doubted_nor_confirmed(toy: Callable[..., object], seed: int):
    """There is no structure in them that a wrong reading could break, and none is claimed."""
    generator = toy(seed, 32)
    found = Checkpoint("test", generator.kind, generator.arch, dict(generator.tensors()))
    assert examine(found) == NOTHING


def test_a_mean_of_another_generator_is_doubted():
    for generator in (stylegan2(), stylegan1()):
        found = Checkpoint("test", "StyleGAN", generator.arch, dict(generator.tensors()))
        assert [doubt.partition(" lies")[0] for doubt in examine(found).doubts] == ["w_avg"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(trained: Trained, value: float):
    broken = {**trained[1], "synthesis.b8.conv1.bias": torch.full((128,), value)}
    with pytest.raises(CheckpointError, match="^synthesis.b8.conv1.bias: not all of its values are finite$"):
        examine(checkpoint(trained, broken))


def test_a_generator_with_a_w_a_layer_is_examined():
    toy = toy_stylegan1(0, 64, w_per_layer=True, tanh=True)
    assert examine(Checkpoint("IDInvert", "StyleGAN1", toy.arch, dict(toy.tensors()))) == NOTHING


def test_fine_detail_is_the_laplacians_share():
    """Of a wave e^{iax}, (2 - 2 cos a)^2; a checkerboard has the most there is, 64."""
    x = torch.arange(64.0)
    wave = torch.cos(2 * torch.pi * x / 8)[None, None, None].expand(1, 2, 64, 64)
    assert fine_detail(wave).exp().item() == pytest.approx((2 - 2 * 0.5**0.5) ** 2, rel=0.02)
    board = ((x[:, None] + x) % 2 * 2 - 1)[None, None]
    assert fine_detail(board).exp().item() == pytest.approx(64)


def test_the_line_has_format_architecture_parameters_and_digest(trained: Trained):
    found = checkpoint(trained, trained[1])
    num = sum(x.numel() for name, x in trained[1].items() if "noise_const" not in name and "w_avg" not in name)
    assert line(found, examine(found), "ab" * 32) == (
        "test StyleGAN2 (g_ema): 64 pixels, widths 128 128 128 64 32, z 128, w 128, 4 mapping layers, "
        f"{num:,} parameters, sha256 abababababababab…, kernels and style biases confirmed."
    )
