"""What is read renders what the format's own arithmetic makes of the file's tensors, row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.generators.checkpoints import layouts, originals
from tests.generators.checkpoints.conftest import stylegan1, stylegan2
from tests.generators.checkpoints.originals import Original
from zinv.generators import Generator, load_generator
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2

SIZES = [
    {},
    {"resolution": 64, "channels": (9, 8, 7, 6, 5), "mapping_layers": 8, "z_dim": 7},
    {"resolution": 16, "channels": (5, 6, 4), "mapping_layers": 2, "z_dim": 6, "w_dim": 6},
]
LARGE = {"resolution": 256, "channels": (5, 4, 4, 4, 3, 3, 2), "mapping_layers": 2}


def rosinality(path: Path, generator: StyleGAN2) -> Original:
    content = {"g_ema": layouts.rosinality(generator), "latent_avg": generator.w_avg}
    torch.save(content, path)
    return originals.rosinality(content)


def genforce(path: Path, generator: StyleGAN1 | StyleGAN2) -> Original:
    stylegan1 = isinstance(generator, StyleGAN1)
    content = {"generator_smooth": (layouts.genforce1 if stylegan1 else layouts.genforce2)(generator)}
    torch.save(content, path)
    return (originals.genforce1 if stylegan1 else originals.genforce2)(content)


def nvidia_torch(path: Path, generator: StyleGAN2) -> Original:
    module = layouts.nvidia_module(generator, clamp=generator.arch.clamp)
    layouts.save_nvidia(path, module)
    return originals.nvidia_torch(module)


def nvidia_tf2(path: Path, generator: StyleGAN2) -> Original:
    network = layouts.nvidia_tf2(generator, conv_clamp=generator.arch.clamp)
    layouts.save_nvidia_tf(path, network)
    return originals.nvidia_tf2(network)


def nvidia_tf1(path: Path, generator: StyleGAN1) -> Original:
    network = layouts.nvidia_tf1(generator)
    layouts.save_nvidia_tf(path, network)
    return originals.nvidia_tf1(network)


def idinvert(path: Path, generator: StyleGAN1) -> Original:
    content = layouts.idinvert(generator)
    torch.save(content, path)
    return originals.idinvert(content)


Write = Callable[[Path, StyleGAN2], Original]
Write1 = Callable[[Path, StyleGAN1], Original]


def same(found: Generator, original: Original) -> None:
    """Mapping, and images from another w for each row. Formats differ in the size of an epsilon of 1e-8."""
    found.double()
    z = drawn(2, found.z_dim)
    near(found.mapping(z).flatten(1), torch.stack([original.mapping(one) for one in z]))
    ws = drawn(2, found.num_ws, found.w_dim)
    images = torch.stack([original.synthesis(one) for one in ws])
    assert images.std() > 0.1
    near(found.synthesis(found.affine(ws)), images)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def near(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: str(sizes.get("resolution", 32)))
@pytest.mark.parametrize("write", [rosinality, genforce, nvidia_torch, nvidia_tf2])
def test_stylegan2(tmp_path: Path, write: Write, sizes: dict):
    original = write(tmp_path / "file", stylegan2(**sizes))
    same(load_generator(str(tmp_path / "file"), check=False), original)


@pytest.mark.parametrize("write", [nvidia_torch, nvidia_tf2])
def test_stylegan2_with_clamped_layers(tmp_path: Path, write: Write):
    original, free = write(tmp_path / "file", stylegan2(clamp=0.5)), write(tmp_path / "free", stylegan2())
    same(load_generator(str(tmp_path / "file"), check=False), original)
    ws = drawn(8, 7)
    assert (original.synthesis(ws) - free.synthesis(ws)).abs().max() > 0.1


@pytest.mark.parametrize("sizes", [*SIZES, LARGE], ids=lambda sizes: str(sizes.get("resolution", 32)))
@pytest.mark.parametrize("write", [genforce, nvidia_tf1, idinvert])
def test_stylegan1(tmp_path: Path, write: Write1, sizes: dict):
    """At 256 pixels up-sampling is fused in the last two blocks, and a kernel that is turned there would show."""
    original = write(tmp_path / "file", stylegan1(**sizes))
    same(load_generator(str(tmp_path / "file"), check=False), original)


@pytest.mark.parametrize("fused", [True, False, "auto"])
def test_stylegan1_says_where_it_is_fused(tmp_path: Path, fused: object):
    network = layouts.nvidia_tf1(stylegan1(), fused_scale=fused)
    layouts.save_nvidia_tf(tmp_path / "file", network)
    same(load_generator(str(tmp_path / "file"), check=False), originals.nvidia_tf1(network))


def test_idinverts_w_a_layer_and_tanh(tmp_path: Path):
    original = idinvert(tmp_path / "file", stylegan1(**LARGE, w_per_layer=True, tanh=True))
    found = load_generator(str(tmp_path / "file"), check=False)
    same(found, original)
    z = drawn(2, found.z_dim)
    rows = torch.stack([original.mapping(one).view(14, 7) for one in z])
    near(found.as_ws(found.mapping(z)), rows)
