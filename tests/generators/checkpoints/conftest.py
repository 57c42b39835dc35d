"""Random generators of other sizes than the published ones, and the trained one that the checkout holds."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import CHECKOUT
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.weights import read

TRAINED = CHECKOUT / "checkpoints" / "portraits" / "generator_state.safetensors"


def stylegan2(seed: int = 0, clamp: float | None = None, **sizes: object) -> StyleGAN2:
    """All of its tensors random; sizes are neither the defaults nor equal to each other."""
    shape = {"resolution": 32, "channels": (12, 10, 8, 6), "z_dim": 9, "w_dim": 7, "mapping_layers": 3}
    arch = StyleGAN2Architecture(**{**shape, **sizes, "clamp": clamp})
    torch.manual_seed(seed)
    generator = StyleGAN2.new(arch)
    _shake(generator)
    return StyleGAN2.from_tensors(arch, generator.tensors(), f"{seed}" * 64)


def stylegan1(seed: int = 0, **settings: object) -> StyleGAN1:
    """The same of a StyleGAN1."""
    shape = {"resolution": 32, "channels": (12, 10, 8, 6), "z_dim": 9, "w_dim": 7, "mapping_layers": 3}
    torch.manual_seed(seed)
    generator = StyleGAN1.new(StyleGAN1Architecture(**{**shape, **settings}))
    _shake(generator)
    return generator


def _shake(generator: nn.Module) -> None:
    for name, tensor in generator.tensors().items():
        if name.endswith(("bias", "noise_strength", "w_avg", "const")) and not name.endswith("noise_const"):
            tensor.add_(0.3 * torch.randn(tensor.shape))


def image(generator: StyleGAN1 | StyleGAN2) -> Tensor:
    """What it makes of three fixed z, with its constant noise."""
    z = torch.randn(3, generator.z_dim, generator=torch.Generator().manual_seed(7))
    return generator.synthesis(generator.affine(generator.as_ws(generator.mapping(z))))


@pytest.fixture(scope="session")
def trained() -> tuple[StyleGAN2Architecture, dict[str, Tensor], dict[str, Tensor]]:
    """Architecture, averaged and raw tensors of the portraits' generator, part-way through its training."""
    state, metadata = read(TRAINED)
    fields = json.loads(metadata["architecture"])
    arch = StyleGAN2Architecture(**{**fields, "channels": tuple(fields["channels"])})
    parts = [{k.removeprefix(start): x for k, x in state.items() if k.startswith(start)} for start in ("g_ema.", "g.")]
    return arch, *parts
