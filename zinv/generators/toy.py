"""Small seeded generators for doctests and contract tests. They are untrained: their pictures mean nothing."""

from __future__ import annotations

import math

import torch

from zinv.errors import ConfigError
from zinv.generators.stylegan2 import StyleGAN2, new_stylegan2
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.values import Count


def toy_stylegan2(seed: int = 0, resolution: Count = 16, width: Count = 16) -> StyleGAN2:
    """A StyleGAN2 of `resolution` pixels with random weights, noise strengths, biases and w_avg.

    >>> g = toy_stylegan2()
    >>> ws = g.w_avg.repeat(2, g.num_ws, 1)
    >>> g.synthesis(g.affine(ws)).shape
    torch.Size([2, 3, 16, 16])
    """
    if resolution < 4 or resolution & (resolution - 1):
        raise ConfigError(f"generator.resolution={resolution}: not a power of two from 4 on.")
    channels = (width,) * int(math.log2(resolution) - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = new_stylegan2(
            StyleGAN2Architecture(resolution, channels, z_dim=16, w_dim=16, mapping_layers=2),
        )
        for name, tensor in generator.tensors().items():
            if name.endswith(("bias", "noise_strength")) and "affine" not in name:
                tensor.add_(0.1 * torch.randn(tensor.shape))
        generator.mapping_network.w_avg.copy_(generator.mapping(torch.randn(512, 16)).mean(0))
    toy = StyleGAN2(generator.arch, generator.mapping_network, generator.synthesis_network)
    toy.trained = False
    return toy
