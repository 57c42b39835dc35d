"""The feature-pyramid encoder: e4e's layout, a forward pass written out, stages, any size; published files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.checkpoints.test_encoders import e4e
from zinv.errors import WeightsError
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.methods.encoders import load_encoder
from zinv.networks.latent_encoder import LatentEncoder
from zinv.spaces.base import LatentSpace
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import ZPlus


def small(size: int = 32, num_rows: int = 9) -> LatentEncoder:
    torch.manual_seed(0)
    encoder = LatentEncoder(size, num_rows, 5, (4, 6, 8, 10), (2, 1, 2, 1), 7)
    encoder(torch.randn(8, 3, size, size))  # moves the running statistics off their start
    encoder.latent_avg.normal_()
    return encoder.eval()


def written_out(state: dict[str, Tensor], x: Tensor, units: tuple[int, ...]) -> Tensor:
    """The rows of e4e's encoder, from its published tensors alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        scale = weight / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, state[f"{name}.weight"][:, None, None] * x)

    x = prelu(norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1"), "input_layer.2")
    taps, i = [], 0
    for num in units:
        for first in range(num):
            name, stride = f"body.{i}.res_layer", 1 if first else 2
            y = prelu(F.conv2d(norm(x, f"{name}.0"), state[f"{name}.1.weight"], padding=1), f"{name}.2")
            y = norm(F.conv2d(y, state[f"{name}.3.weight"], stride=stride, padding=1), f"{name}.4")
            squeezed = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), state[f"{name}.5.fc1.weight"]))
            y = y * F.conv2d(squeezed, state[f"{name}.5.fc2.weight"]).sigmoid()
            short = f"body.{i}.shortcut_layer"
            wide = f"{short}.0.weight" in state
            x = y + (norm(F.conv2d(x, state[f"{short}.0.weight"], stride=stride), f"{short}.1") if wide else x[:, :, ::stride, ::stride])  # fmt: skip  # noqa: E501
            i += 1
        taps.append(x)

    def lateral(top: Tensor, name: str, x: Tensor) -> Tensor:
        up = F.interpolate(top, x.shape[-2:], mode="bilinear", align_corners=True)
        return up + F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])

    middle = lateral(taps[3], "latlayer1", taps[2])
    levels = taps[3], middle, lateral(middle, "latlayer2", taps[1])
    rows: list[Tensor] = []
    while f"styles.{len(rows)}.linear.weight" in state:
        head = f"styles.{len(rows)}"
        x = levels[0 if len(rows) < 3 else 1 if len(rows) < 7 else 2]
        k = 0
        while f"{head}.convs.{k}.weight" in state:
            x = F.leaky_relu(F.conv2d(x, state[f"{head}.convs.{k}.weight"], state[f"{head}.convs.{k}.bias"], 2, 1))
            k += 2
        weight = state[f"{head}.linear.weight"]
        rows.append(F.linear(x.flatten(1), weight / weight.shape[1] ** 0.5, state[f"{head}.linear.bias"]))
    whole = torch.stack([rows[0], *(rows[0] + row for row in rows[1:])], 1)
    return whole + state["latent_avg"]


def test_rows_are_those_of_the_description():
    encoder, images = small().double(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(encoder(images), written_out(encoder.state_dict(), images, (2, 1, 2, 1)))


def test_the_defaults_are_the_published_encoder():
    with torch.device("meta"):
        own, published = LatentEncoder(256, 18, 512).state_dict(), e4e(18).state_dict()
    shapes = {name: x.shape for name, x in own.items() if name != "latent_avg"}
    assert shapes == {name: x.shape for name, x in published.items()}


def test_rows_after_the_stage_are_row_0():
    encoder, images = small(), torch.randn(2, 3, 32, 32)
    rows, mean = encoder(images), encoder.latent_avg
    for stage in (0, 4, 8):
        staged = encoder(images, stage) - mean
        torch.testing.assert_close(staged[:, : stage + 1], (rows - mean)[:, : stage + 1])
        torch.testing.assert_close(staged[:, stage + 1 :], staged[:, :1].expand(-1, 8 - stage, -1))


@pytest.mark.parametrize(("size", "num_rows", "convs"), [(16, 1, [1]), (64, 10, [2, 2, 2, 3, 3, 3, 3, 4, 4, 4])])
def test_any_size_and_number_of_rows(size: int, num_rows: int, convs: list[int]):
    encoder = small(size, num_rows)
    assert [len(style.convs) // 2 for style in encoder.styles] == convs  # type: ignore[union-attr,arg-type]
    assert encoder(torch.randn(2, 3, 40, 40)).shape == (2, num_rows, 5)


def test_codes_begin_about_the_priors_mean():
    prior = 3 + 0.01 * torch.randn(1000, 9, 5)
    encoder = small()
    encoder.centre(prior)
    rows = encoder(torch.randn(4, 3, 32, 32))
    assert (rows - 3).abs().max() < 0.3


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as e4e's, for 6 rows of 16."""
    torch.manual_seed(0)
    state = {f"encoder.{k}": x for k, x in LatentEncoder(256, 6, 16, head=16).state_dict().items()}
    mean = state.pop("encoder.latent_avg").normal_()
    path = tmp_path_factory.mktemp("e4e") / "e4e.pt"
    torch.save({"state_dict": state, "latent_avg": mean, "opts": {"lr": 1e-4}}, path)
    return path


def test_a_published_file_loads_for_w_plus(published: Path):
    generator = toy_stylegan2()
    state = torch.load(published)
    encoder, _ = load_encoder(LatentEncoder, str(published), generator, S())  # which takes rows of W+
    assert torch.equal(encoder.latent_avg, state["latent_avg"]) and not encoder.training
    image = torch.randn(1, 3, 16, 16)
    own = {k.removeprefix("encoder."): x for k, x in state["state_dict"].items()} | {"latent_avg": state["latent_avg"]}
    seen = F.interpolate(image, (256, 256), mode="area")
    torch.testing.assert_close(encoder(image), written_out(own, seen, (3, 4, 14, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("space", "resolution", "words"),
    [
        (ZPlus(), 16, r"e4e\.pt: trained for W\+ without truncation, not for Z\+\."),
        (W(), 16, r"e4e\.pt: trained for W\+ without truncation, not for W\."),
        (
            WPlus(truncation_psi=0.7),
            16,
            r"e4e\.pt: trained for W\+ without truncation, not for W\+ truncated by 0\.7\.",
        ),
        (WPlus(), 32, r"e4e\.pt: emits 6 rows of 16, the generator of 32 pixels has 8 of 16\."),
    ],
)
def test_a_published_file_is_refused_elsewhere(published: Path, space: LatentSpace, resolution: int, words: str):
    with pytest.raises(WeightsError, match=words):
        load_encoder(LatentEncoder, str(published), toy_stylegan1(resolution=resolution), space)


ONE_PIXEL = """
import torch
from zinv.networks.latent_encoder import LatentEncoder

torch.manual_seed(0)
encoder = LatentEncoder(16, 3, 4, (4, 4, 8, 8), (1, 1, 1, 1), 8).eval()
for _ in range(3):
    encoder.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = encoder(torch.randn(4, 3, 16, 16))
    rows.float().square().sum().backward()
    gradient = encoder.styles[0].convs[0].weight.grad
    assert gradient[..., 1, 1].any() and gradient.isfinite().all()
    gradient[..., 1, 1] = 0
    assert not gradient.any()
"""


def test_gradients_in_bfloat16_are_set_everywhere():
    """Also where a style block begins at one pixel, and eight of nine taps see nothing; in unclean memory."""
    environment = {**os.environ, "MALLOC_PERTURB_": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_PIXEL], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
