"""StyleGAN2's mapping and synthesis networks (Karras et al. 2020, "skip" generator) as plain modules.

Parameter names are those of the PyTorch checkpoints: `mapping.fc0.weight`, `synthesis.b8.conv0.affine.bias`, …
"""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zinv.networks.operators import (
    ACTIVATION_GAIN,
    EqualLinear,
    Squares,
    activate_,
    channels_last,
    demodulation,
    modulated_conv,
    upsample_image,
)
from zinv.networks.stylegan import Architecture, Blocks, Edits, Mapping, StyledLayer, Visits


@dataclass(frozen=True)
class StyleGAN2Architecture(Architecture):
    """What a StyleGAN2 file must tell; some files clamp features.

    Raises:
        ValueError: sizes that no network has, from a file that is not what it says.
    """

    clamp: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clamp is not None and not (isinstance(self.clamp, int | float) and self.clamp > 0):
            raise ValueError(f"a clamp of {str(self.clamp)[:200]}, which is no number above 0")


class MappingNetwork(Mapping):
    """z to w: `(N, z_dim)` to `(N, w_dim)`."""

    def __init__(self, arch: StyleGAN2Architecture):
        super().__init__(arch, (arch.w_dim,), bias_gain=ACTIVATION_GAIN)


class StyledConv(nn.Module):
    """Modulated 3 × 3 convolution, noise of one strength, bias, leaky ReLU, gain."""

    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool, clamp: float | None):
        super().__init__()
        self.up, self.clamp, self.squares = up, clamp, Squares()
        self.affine = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        scale = demodulation(self.squares(self.weight), style)[:, :, None, None] * ACTIVATION_GAIN
        x = modulated_conv(x, self.weight, style, self.up)
        x = x * scale.to(x.dtype)
        if noise is not None:
            x.add_((noise * (self.noise_strength * ACTIVATION_GAIN)).to(x.dtype))
        bias = self.bias[:, None, None] * ACTIVATION_GAIN
        return activate_(x.add_(bias.to(x.dtype)), self.clamp)


class ToRGB(nn.Module):
    """Modulated 1 × 1 convolution to RGB, without demodulation; the style is taken before the factor 1 / sqrt(in)."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None):
        super().__init__()
        self.clamp, self.gain = clamp, 1 / math.sqrt(in_channels)
        self.affine = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weights = self.weight[:, :, 0, 0] * (style * self.gain)[:, None]  # (N, 3, in): cheaper than scaling x
        rows = x.flatten(2).mT @ weights.mT.to(x.dtype)  # (N, h w, 3): x's gradient comes back channels-last
        x = rows.mT.unflatten(2, x.shape[2:]).to(self.bias.dtype) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """`conv0` (doubles the resolution; absent at 4 pixels), `conv1`, `torgb`."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, clamp: float | None):
        super().__init__()
        if resolution == 4:
            self.const = nn.Parameter(torch.randn(out_channels, 4, 4))
        else:
            self.conv0 = StyledConv(in_channels, out_channels, w_dim, resolution, True, clamp)
        self.conv1 = StyledConv(out_channels, out_channels, w_dim, resolution, False, clamp)
        self.torgb = ToRGB(out_channels, w_dim, clamp)


def styled_layers(arch: StyleGAN2Architecture) -> list[StyledLayer]:
    """All modulated layers from the lowest on; block k reads rows 2k-1, 2k, 2k+1, sharing one with each neighbour."""
    layers = []
    for k, width in enumerate(arch.channels):
        name = f"b{4 * 2**k}"
        if k > 0:
            layers.append(StyledLayer(f"{name}.conv0", 2 * k - 1, arch.channels[k - 1]))
        layers.append(StyledLayer(f"{name}.conv1", 2 * k, width))
        layers.append(StyledLayer(f"{name}.torgb", 2 * k + 1, width))
    return layers


class SynthesisNetwork(Blocks[SynthesisBlock, StyledConv | ToRGB]):
    """Styles to image; what lies below a base code is not computed."""

    def __init__(self, arch: StyleGAN2Architecture):
        widths = [arch.channels[0], *arch.channels]
        pairs = enumerate(zip(widths, arch.channels, strict=False))
        super().__init__([SynthesisBlock(i, o, arch.w_dim, 4 * 2**k, arch.clamp) for k, (i, o) in pairs])

    def forward(
        self,
        styles: abc.Mapping[str, Tensor],
        noise: abc.Mapping[str, Tensor],
        base: tuple[str, Tensor] | None = None,
        edits: Edits | None = None,
        taps: Sequence[str] = (),
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Synthesise.

        Args:
            styles: a style `(N, C)` of each layer that is computed.
            noise: a map `(N or 1, 1, h, w)` of each layer that shall have noise.
            base: a point and the feature there: nothing below is computed, RGB starts from zero.
            edits: at a point, `(value, keep)`: the feature x becomes `x * keep + value`.
            taps: points whose features, before any edit, are wanted.

        Returns:
            The image `(N, 3, R, R)` and the features asked for.
        """
        visit = Visits(edits, taps)
        point, x = base if base is not None else ("", self._constant(styles))
        x, rgb = channels_last(x), None
        for resolution in self.computed(point):
            block, name = self.block(resolution), f"b{resolution}"
            if f"{name}.conv0" in styles and point != f"{name}.conv0":
                x = visit(f"{name}.conv0", block.conv0(x, styles[f"{name}.conv0"], noise.get(f"{name}.conv0")))
            x = block.conv1(x, styles[f"{name}.conv1"], noise.get(f"{name}.conv1"))
            shown = block.torgb(x, styles[f"{name}.torgb"])
            rgb = shown if rgb is None else shown + upsample_image(rgb)
            x = visit(f"{name}.out", x)
        assert rgb is not None
        return rgb, visit.found

    def _constant(self, styles: abc.Mapping[str, Tensor]) -> Tensor:
        return self.block(4).const.expand(next(iter(styles.values())).shape[0], -1, -1, -1)
