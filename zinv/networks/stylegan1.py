"""StyleGAN1's mapping and synthesis networks (Karras et al. 2019) as plain modules.

Parameters are named as StyleGAN2's: `mapping.fc0.weight`, `synthesis.b4.const`, `synthesis.b8.conv0.affine.bias`, …
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.networks.operators import EqualLinear, activate_, check_sizes, pixel_norm

WEIGHT_GAIN = math.sqrt(2)  # He et al.'s, on the weights and not after the activation; 1 for styles and RGB
NORM_EPS = 1e-8


@dataclass(frozen=True)
class StyleGAN1Architecture:
    """What a StyleGAN1 file must tell: `channels` are the widths at 4, 8, … `resolution` pixels.

    Attributes:
        w_per_layer: the mapping network gives each layer a w of its own (Zhu et al. 2020, in-domain inversion).
        tanh: the image is squashed at the end, as those same files want it.
        fused_from: resolution from which on up-sampling and convolution are one operator, with weights the other way
            round in space.

    Raises:
        ValueError: sizes that no network has, from a file that is not what it says.
    """

    resolution: int
    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    w_per_layer: bool = False
    tanh: bool = False
    fused_from: int = 128

    def __post_init__(self) -> None:
        check_sizes(self.resolution, self.channels, self.z_dim, self.w_dim, self.mapping_layers)
        if type(self.fused_from) is not int:
            raise ValueError(f"fused from {str(self.fused_from)[:200]}, which is no number")

    @property
    def num_ws(self) -> int:
        return 2 * len(self.channels)


class MappingNetwork(nn.Module):
    """z to w: `(N, z_dim)` to `(N, w_dim)`, or to `(N, num_ws, w_dim)` where each layer has its own w."""

    w_avg: Tensor

    def __init__(self, arch: StyleGAN1Architecture):
        super().__init__()
        self.num_layers = arch.mapping_layers
        self.row_shape = (arch.num_ws, arch.w_dim) if arch.w_per_layer else (arch.w_dim,)
        widths = [arch.z_dim, *[arch.w_dim] * (arch.mapping_layers - 1), math.prod(self.row_shape)]
        for i in range(arch.mapping_layers):
            layer = EqualLinear(widths[i], widths[i + 1], lr_mul=0.01)
            layer.weight_gain *= WEIGHT_GAIN
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(arch.w_dim))

    def forward(self, z: Tensor, normalize: bool = True) -> Tensor:
        x = pixel_norm(z) if normalize else z
        for i in range(self.num_layers):
            x = activate_(self.get_submodule(f"fc{i}")(x))
        return x.unflatten(-1, self.row_shape)


def adain(x: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance normalisation (eq. 1): a channel of an image to mean 0 and variance 1, then `x (1 + s) + b`.

    It is a batch norm over N C channels: one kernel forward, one back. Contiguous, since torch sums channels-last
    planes of 1024 pixels a side in float32 one number after the other, to errors of 2e-3.

    Args:
        x: `(N, C, H, W)`.
        style: `(N, 2 C)`: scales s, then shifts b.
    """
    num = max(x.shape[0], style.shape[0])
    style = style.to(torch.promote_types(style.dtype, torch.float32)).expand(num, -1)
    x, (scale, shift) = x.expand(num, -1, -1, -1), style.chunk(2, 1)
    planes = x.contiguous().view(1, -1, *x.shape[2:])
    planes = F.batch_norm(planes, None, None, (scale + 1).flatten(), shift.flatten(), training=True, eps=NORM_EPS)
    return planes.view(x.shape)


@lru_cache(maxsize=16)
def _binomial(device: torch.device, dtype: torch.dtype) -> Tensor:
    """StyleGAN1's low-pass filter `(3, 3)`: [1, 2, 1] / 4 along both axes."""
    with torch.inference_mode(False):
        taps = torch.tensor([0.25, 0.5, 0.25], device=device, dtype=dtype)
        return torch.outer(taps, taps)


def blur(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Filter each channel, with zeros beyond the border, and add a bias `(C,)`."""
    kernel = _binomial(x.device, x.dtype).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, bias, padding=1, groups=x.shape[1])


def upsampled_conv(x: Tensor, weight: Tensor) -> Tensor:
    """Each pixel to four, then a 3 × 3 convolution: `(N, in, H, W)` to `(N, out, 2 H, 2 W)`."""
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)


def fused_upsampled_conv(x: Tensor, weight: Tensor) -> Tensor:
    """The same in one transposed convolution of 4 × 4 taps, which are sums of the 3 × 3.

    It scatters where the other gathers: `fused_upsampled_conv(x, w) = upsampled_conv(x, w.flip(2, 3))`.
    """
    wide = F.pad(weight, (1, 1, 1, 1))
    taps = wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]
    return F.conv_transpose2d(x, taps.transpose(0, 1), stride=2, padding=1)


Step = Literal["none", "conv", "up", "fused"]


class StyledConv(nn.Module):
    """A layer up to its feature: convolution (or none), noise of a strength a channel, bias, leaky ReLU.

    `affine` gives the style of the normalisation that follows, `(N, 2 C)`.
    """

    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, step: Step):
        super().__init__()
        self.step, self.gain = step, WEIGHT_GAIN / math.sqrt(9 * in_channels)
        self.affine = EqualLinear(w_dim, 2 * out_channels)
        if step != "none":
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        x = self._convolved(x)
        if noise is not None:
            x = torch.addcmul(x, noise.to(x.dtype), self.noise_strength[:, None, None].to(x.dtype))
        return activate_(x)

    def _convolved(self, x: Tensor) -> Tensor:
        """With the bias: noise comes before it in the published order, which is the same."""
        if self.step == "none":
            return x + self.bias[:, None, None]
        weight = self.weight * self.gain
        if self.step == "conv":
            return F.conv2d(x, weight, self.bias, padding=1)
        return blur((upsampled_conv if self.step == "up" else fused_upsampled_conv)(x, weight), self.bias)


class ToRGB(nn.Module):
    """1 × 1 convolution to RGB, which no style changes."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias).to(self.bias.dtype)


class SynthesisBlock(nn.Module):
    """`conv0` (doubles the resolution; at 4 pixels it only dresses the constant), `conv1`, and last `torgb`."""

    def __init__(self, in_channels: int, out_channels: int, resolution: int, arch: StyleGAN1Architecture):
        super().__init__()
        up: Step = "fused" if resolution >= arch.fused_from else "up"
        if resolution == 4:
            self.const = nn.Parameter(torch.ones(out_channels, 4, 4))
        step = "none" if resolution == 4 else up
        self.conv0 = StyledConv(in_channels, out_channels, arch.w_dim, resolution, step)
        self.conv1 = StyledConv(out_channels, out_channels, arch.w_dim, resolution, "conv")
        if resolution == arch.resolution:
            self.torgb = ToRGB(out_channels)


def layer_names(arch: StyleGAN1Architecture) -> list[str]:
    """All layers from the lowest on; layer i reads row i of ws."""
    return [f"b{4 * 2**k}.conv{i}" for k in range(len(arch.channels)) for i in (0, 1)]


class SynthesisNetwork(nn.Module):
    """Styles to image. Layers and features are addressed by name; what lies below a base code is not computed."""

    def __init__(self, arch: StyleGAN1Architecture):
        super().__init__()
        self.tanh, self.resolutions = arch.tanh, [4 * 2**k for k in range(len(arch.channels))]
        for k, resolution in enumerate(self.resolutions):
            width, below = arch.channels[k], arch.channels[max(k - 1, 0)]
            self.add_module(f"b{resolution}", SynthesisBlock(below, width, resolution, arch))

    def layer(self, name: str) -> StyledConv:
        """The module of a layer's name, such as `b16.conv0`."""
        return cast(StyledConv, self.get_submodule(name))

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
            styles: a style `(N, 2 C)` of each layer whose normalisation is computed.
            noise: a map `(N or 1, 1, h, w)` of each layer that shall have noise.
            base: a point and the feature there: nothing below is computed. Features at `b16.conv0` are those before
                the normalisation, which therefore still is.
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

        point, x = base if base is not None else ("", self.block(4).const[None])
        for resolution in self._computed(point):
            block, name = self.block(resolution), f"b{resolution}"
            if point != f"{name}.conv0":
                x = visit(f"{name}.conv0", block.conv0(x, noise.get(f"{name}.conv0")))
            x = block.conv1(adain(x, styles[f"{name}.conv0"]), noise.get(f"{name}.conv1"))
            x = visit(f"{name}.out", adain(x, styles[f"{name}.conv1"]))
        image: Tensor = self.block(self.resolutions[-1]).torgb(x)
        return image.tanh() if self.tanh else image, found

    def _computed(self, point: str) -> list[int]:
        if not point:
            return self.resolutions
        start, part = int(point[1:].split(".")[0]), point.split(".")[1]
        return [r for r in self.resolutions if r > start or (r == start and part == "conv0")]
