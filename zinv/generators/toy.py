"""Small seeded generators for doctests and contract tests. They are untrained: their pictures mean nothing."""

from __future__ import annotations

import math

import torch

from zinv.errors import ConfigError
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.values import Count


def toy_stylegan2(seed: int = 0, resolution: Count = 16, width: Count = 16) -> StyleGAN2:
    """A StyleGAN2 of `resolution` pixels with random weights, noise strengths, biases and w_avg.

    >>> g = toy_stylegan2()
    >>> ws = g.w_avg.repeat(2, g.num_ws, 1)
    >>> g.synthesis(g.affine(ws)).shape
    torch.Size([2, 3, 16, 16])
    """
    channels = _channels(resolution, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = StyleGAN2.new(
            StyleGAN2Architecture(resolution, channels, z_dim=16, w_dim=16, mapping_layers=2),
        )
        for name, tensor in generator.tensors().items():
            if name.endswith(("bias", "noise_strength")) and "affine" not in name:
                tensor.add_(0.1 * torch.randn(tensor.shape))
        generator.mapping_network.w_avg.copy_(generator.mapping(torch.randn(512, 16)).mean(0))
    toy = StyleGAN2(generator.arch, generator.mapping_network, generator.synthesis_network)
    toy.trained = False
    return toy


def toy_stylegan1(
    seed: int = 0,
    resolution: Count = 16,
    width: Count = 16,
    w_per_layer: bool = False,
    tanh: bool = False,
    fused_from: Count = 16,
) -> StyleGAN1:
    """A StyleGAN1 of `resolution` pixels with random weights, constant, noise strengths, biases and w_avg.

    Args:
        seed: of all that is random.
        resolution: a power of two.
        width: channels of every layer.
        w_per_layer: the mapping network gives each layer a w of its own.
        tanh: the image is squashed.
        fused_from: resolution from which on up-sampling is fused, 128 in published files.

    >>> g = toy_stylegan1()
    >>> g.synthesis(g.affine(g.w_avg.repeat(2, g.num_ws, 1))).shape
    torch.Size([2, 3, 16, 16])
    """
    channels = _channels(resolution, width)
    arch = StyleGAN1Architecture(resolution, channels, 16, 16, 2, w_per_layer, tanh, fused_from)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = StyleGAN1.new(arch)
        for name, tensor in generator.tensors().items():
            if name.endswith(("bias", "noise_strength", "const")) and "noise_const" not in name:
                tensor.add_(0.1 * torch.randn(tensor.shape))
        generator.mapping_network.w_avg.copy_(generator.mapping(torch.randn(512, 16)).view(-1, 16).mean(0))
    toy = StyleGAN1(arch, generator.mapping_network, generator.synthesis_network)
    toy.trained = False
    return toy


def _channels(resolution: int, width: int) -> tuple[int, ...]:
    """Equal widths at 4, 8, … `resolution` pixels."""
    if resolution < 4 or resolution & (resolution - 1):
        raise ConfigError(f"generator.resolution={resolution}: not a power of two from 4 on.")
    return (width,) * int(math.log2(resolution) - 1)
