"""StyleGAN2's residual discriminator (Karras et al. 2020), with the minibatch standard deviation; e4e's of codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.networks.operators import ACTIVATION_GAIN, EqualLinear, activate_, downsampled_conv


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; `down` halves the resolution after StyleGAN2's FIR filter."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, down: bool = False, active: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if active else None
        outer = ACTIVATION_GAIN if active else 1.0
        self.weight_gain, self.bias_gain = outer / math.sqrt(in_channels * kernel**2), outer
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        bias = None if self.bias is None else self.bias * self.bias_gain
        if self.down:
            x = downsampled_conv(x, weight, bias)
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return x if bias is None else activate_(x)


class ResidualBlock(nn.Module):
    """Two convolutions, the second to half the resolution, beside a 1 × 1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv0 = EqualConv(in_channels, in_channels, 3)
        self.conv1 = EqualConv(in_channels, out_channels, 3, down=True)
        self.skip = EqualConv(in_channels, out_channels, 1, down=True, active=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv1(self.conv0(x)) + self.skip(x)) * math.sqrt(0.5)


def minibatch_std(x: Tensor, group: int = 4) -> Tensor:
    """One more channel: the standard deviation over neighbours in the batch (Karras et al. 2018, section 3)."""
    num, _, height, width = x.shape
    group = math.gcd(num, group)
    deviation = (x.float().unflatten(0, (-1, group)).var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    channel = deviation.repeat_interleave(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, channel.to(x.dtype)], 1)


class Discriminator(nn.Module):
    """`(N, 3, R, R)` in [-1, 1] to logits `(N,)`; `channels` are the widths at 4, 8, … R pixels."""

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        widths = list(reversed(channels))
        self.from_rgb = EqualConv(3, widths[0], 1)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.conv = EqualConv(widths[-1] + 1, widths[-1], 3)
        self.fc = EqualLinear(widths[-1] * 16, widths[-1], active=True)
        self.out = EqualLinear(widths[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(minibatch_std(self.blocks(self.from_rgb(image))))
        return self.out(self.fc(x.flatten(1)).float())[:, 0]


class LatentDiscriminator(nn.Module):
    """e4e's discriminator of codes (Tov et al. 2021): w `(N, w_dim)` to logits `(N,)`, three hidden layers as wide."""

    def __init__(self, w_dim: int):
        super().__init__()
        hidden = [layer for _ in range(3) for layer in (nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2))]
        self.layers = nn.Sequential(*hidden, nn.Linear(w_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        return self.layers(w).float()[:, 0]
