"""IDInvert's encoder: the published layout, a forward pass written out, fixed scales, published files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.checkpoints.test_encoders import in_domain
from zinv.errors import WeightsError
from zinv.generators.toy import toy_stylegan1
from zinv.methods.encoders import load_encoder
from zinv.networks.in_domain import InDomainEncoder
from zinv.networks.latent_encoder import LatentEncoder
from zinv.spaces.w import WPlus
from zinv.spaces.z import ZPlus


def small(size: int = 16) -> InDomainEncoder:
    torch.manual_seed(0)
    encoder = InDomainEncoder(size, 6, 16, 4, 8)
    with torch.no_grad():
        for name, x in encoder.named_parameters():
            if name.endswith(("bias", "bn.weight")):
                x.normal_()
    encoder(torch.randn(8, 3, size, size))
    return encoder.eval()


def written_out(state: dict[str, Tensor], x: Tensor, num_blocks: int) -> Tensor:
    """The outputs of the published encoder, from its tensors alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        shape = (1, -1) if x.dim() == 2 else (1, -1, 1, 1)
        return ((x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()) * weight.view(shape) + bias.view(shape)

    def active(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = active(norm(F.conv2d(x, state["block0.conv.weight"], padding=1), "block0.bn"))
    for i in range(1, num_blocks + 1):
        x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
        wide = f"block{i}.conv.weight" in state
        short = active(norm(F.conv2d(x, state[f"block{i}.conv.weight"]), f"block{i}.bn")) if wide else x
        for k in (1, 2):
            x = F.conv2d(x, state[f"block{i}.conv{k}.weight"], padding=1)
            x = active(norm(x + state[f"block{i}.wscale{k}.bias"][:, None, None], f"block{i}.bn{k}"))
        x = x + short
    last, x = f"block{num_blocks + 1}", x.flatten(1)
    return norm(x @ state[f"{last}.fc.weight"].T / x.shape[1] ** 0.5, f"{last}.bn")


def test_rows_are_those_of_the_description():
    encoder, images = small().double(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(encoder(images).flatten(1), written_out(encoder.state_dict(), images, 2))


def test_the_defaults_are_the_published_encoder():
    with torch.device("meta"):
        own = InDomainEncoder(256, 14, 512).state_dict()
        published = in_domain([64, 128, 256, 512, 1024, 1024, 1024], 512).state_dict()
    assert {name: x.shape for name, x in own.items()} == {name: x.shape for name, x in published.items()}


def test_scales_are_the_priors_and_are_not_learned():
    prior = torch.randn(4000, 6, 16) * torch.linspace(0.1, 2, 16) + torch.arange(6.0)[:, None]
    encoder = InDomainEncoder(16, 6, 16, 4, 8).train()
    encoder.centre(prior)
    rows = encoder(torch.randn(64, 3, 16, 16))
    torch.testing.assert_close(rows.mean(0), prior.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rows.std(0), prior.std(0), atol=2e-2, rtol=2e-2)
    frozen = {name for name, x in encoder.named_parameters() if not x.requires_grad}
    assert frozen == {name for name, _ in encoder.named_parameters() if name.endswith("bn.weight")}


def test_a_published_file_loads_for_its_generators_w_plus(tmp_path: Path):
    torch.save(small().state_dict(), tmp_path / "encoder.pth")
    generator, image = toy_stylegan1(w_per_layer=True), torch.randn(1, 3, 16, 16)
    encoder, _ = load_encoder(InDomainEncoder, str(tmp_path / "encoder.pth"), generator, WPlus())
    torch.testing.assert_close(encoder(image), small()(image))
    with pytest.raises(WeightsError, match=r"encoder\.pth: trained for W\+ without truncation, not for Z\+\."):
        load_encoder(InDomainEncoder, str(tmp_path / "encoder.pth"), generator, ZPlus())
    with pytest.raises(WeightsError, match=r"encoder\.pth: holds in-domain encoder, not a latent encoder\."):
        load_encoder(LatentEncoder, str(tmp_path / "encoder.pth"), generator, WPlus())
