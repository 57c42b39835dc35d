"""StyleGAN2's mapping and synthesis networks (Karras et al. 2020, "skip" generator) as plain modules.

Parameter names are those of the PyTorch checkpoints: `mapping.fc0.weight`, `synthesis.b8.conv0.affine.bias`, …
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from zinv.networks.operators import (
    ACTIVATION_GAIN,
    EqualLinear,
    activate_,
    channels_last,
    check_sizes,
    demodulation,
    modulated_conv,
    pixel_norm,
    upsample_image,
)


@dataclass(frozen=True)
class StyleGAN2Architecture:
    """What a StyleGAN2 file must tell: `channels` are the widths at 4, 8, … `resolution` pixels.

    Raises:
        ValueError: sizes that no network has, from a file that is not what it says.
    """

    resolution: int
    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    clamp: float | None = None

    def __post_init__(self) -> None:
        check_sizes(self.resolution, self.channels, self.z_dim, self.w_dim, self.mapping_layers)
        if self.clamp is not None and not (isinstance(self.clamp, int | float) and self.clamp > 0):
            raise ValueError(f"a clamp of {str(self.clamp)[:200]}, which is no number above 0")

    @property
    def num_ws(self) -> int:
        return 2 * len(self.channels)


class MappingNetwork(nn.Module):
    """z to w: `(N, z_dim)` to `(N, w_dim)`; the norm of z is removed unless `normalize` is False."""

    w_avg: Tensor

    def __init__(self, arch: StyleGAN2Architecture):
        super().__init__()
        self.num_layers = arch.mapping_layers
        for i in range(arch.mapping_layers):
            width = arch.z_dim if i == 0 else arch.w_dim
            self.add_module(f"fc{i}", EqualLinear(width, arch.w_dim, lr_mul=0.01, active=True))
        self.register_buffer("w_avg", torch.zeros(arch.w_dim))

    def forward(self, z: Tensor, normalize: bool = True) -> Tensor:
        x = pixel_norm(z) if normalize else z
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


class StyledConv(nn.Module):
    """Modulated 3 × 3 convolution, noise of one strength, bias, leaky ReLU, gain."""

    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool, clamp: float | None):
        super().__init__()
        self.up, self.clamp = up, clamp
        self.affine = EqualLinear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        scale = demodulation(self.weight, style)[:, :, None, None] * ACTIVATION_GAIN
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


@dataclass(frozen=True)
class StyledLayer:
    """One modulated layer: its name (`b16.conv0`), the row of ws that it reads, its style's width."""

    name: str
    row: int
    dim: int


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


class SynthesisNetwork(nn.Module):
    """Styles to image. Layers and features are addressed by name; what lies below a base code is not computed."""

    def __init__(self, arch: StyleGAN2Architecture):
        super().__init__()
        self.resolutions = [4 * 2**k for k in range(len(arch.channels))]
        for k, resolution in enumerate(self.resolutions):
            width, below = arch.channels[k], arch.channels[max(k - 1, 0)]
            self.add_module(f"b{resolution}", SynthesisBlock(below, width, arch.w_dim, resolution, arch.clamp))

    def layer(self, name: str) -> StyledConv | ToRGB:
        """The module of a layer's name, such as `b16.conv0`."""
        return cast(StyledConv | ToRGB, self.get_submodule(name))

    def block(self, resolution: int) -> SynthesisBlock:
        """The block of a resolution."""
        return cast(SynthesisBlock, self.get_submodule(f"b{resolution}"))

    def forward(
        self,
        styles: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        base: tuple[str, Tensor] | None = None,
        edits: Mapping[str, tuple[Tensor, Tensor | float]] | None = None,
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
        found: dict[str, Tensor] = {}

        def visit(point: str, x: Tensor) -> Tensor:
            if point in taps:
                found[point] = x
            if edits is None or point not in edits:
                return x
            value, keep = edits[point]
            return x * keep + value

        point, x = base if base is not None else ("", self._constant(styles))
        x, rgb = channels_last(x), None
        for resolution in self._computed(point):
            block, name = self.block(resolution), f"b{resolution}"
            if f"{name}.conv0" in styles and point != f"{name}.conv0":
                x = visit(f"{name}.conv0", block.conv0(x, styles[f"{name}.conv0"], noise.get(f"{name}.conv0")))
            x = block.conv1(x, styles[f"{name}.conv1"], noise.get(f"{name}.conv1"))
            shown = block.torgb(x, styles[f"{name}.torgb"])
            rgb = shown if rgb is None else shown + upsample_image(rgb)
            x = visit(f"{name}.out", x)
        assert rgb is not None
        return rgb, found

    def _constant(self, styles: Mapping[str, Tensor]) -> Tensor:
        return self.block(4).const.expand(next(iter(styles.values())).shape[0], -1, -1, -1)

    def _computed(self, point: str) -> list[int]:
        if not point:
            return self.resolutions
        start, part = int(point[1:].split(".")[0]), point.split(".")[1]
        return [r for r in self.resolutions if r > start or (r == start and part == "conv0")]
