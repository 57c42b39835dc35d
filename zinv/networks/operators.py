"""Operators of StyleGAN networks in plain PyTorch: equalised layers, FIR resampling, modulation."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LRELU_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2)
MAX_WIDTH, MAX_LAYERS = 2**16, 64


def check_sizes(resolution: int, channels: tuple[int, ...], z_dim: int, w_dim: int, mapping_layers: int) -> None:
    """Check that a generator may have such sizes, before anything of them is built.

    Raises:
        ValueError: sizes that no network has, from a file that is not what it says.
    """
    sizes = (resolution, z_dim, w_dim, *channels)
    if not all(type(size) is int and 1 <= size <= MAX_WIDTH for size in sizes):
        raise ValueError(f"sizes {', '.join(map(str, sizes))[:200]} are not numbers from 1 to {MAX_WIDTH}")
    if resolution != 2 * 2 ** len(channels) or not channels:
        raise ValueError(f"{len(channels)} widths from 4 pixels on do not end at {resolution}")
    if not (type(mapping_layers) is int and 1 <= mapping_layers <= MAX_LAYERS):
        raise ValueError(f"{str(mapping_layers)[:200]} mapping layers are not from 1 to {MAX_LAYERS}")


def channels_last(x: Tensor) -> Tensor:
    """The same `(N, C, H, W)` with a pixel's channels side by side in memory where that is faster: on a CPU."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if x.device.type == "cpu" else x


def activate_(x: Tensor, clamp: float | None = None) -> Tensor:
    """Leaky ReLU of slope .2 in the place of x, clamped where the checkpoint says so.

    StyleGAN2's gain of sqrt(2) is left to the caller, who folds it into what multiplies anyway: lrelu(gx) = g lrelu(x).
    """
    x = F.leaky_relu(x, LRELU_SLOPE, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def pixel_norm(z: Tensor) -> Tensor:
    """Scale the last axis to unit mean square: onto the sphere of radius sqrt(dim).

    >>> pixel_norm(torch.full((1, 4), 3.0))
    tensor([[1., 1., 1., 1.]])
    """
    return z * (z.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """Fully connected layer with equalised learning rate: `x (W lr_mul / sqrt(in))^T + b lr_mul`, as precise as W."""

    def __init__(
        self, in_features: int, out_features: int, lr_mul: float = 1.0, bias: float = 0.0, active: bool = False
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_mul))
        outer = ACTIVATION_GAIN if active else 1.0
        self.weight_gain, self.bias_gain, self.active = outer * lr_mul / math.sqrt(in_features), outer * lr_mul, active

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.to(self.weight.dtype), self.weight * self.weight_gain, self.bias * self.bias_gain)
        return activate_(x) if self.active else x


@lru_cache(maxsize=16)
def _fir(device: torch.device, dtype: torch.dtype, gain: float) -> Tensor:
    """StyleGAN2's low-pass filter `(4, 4)`: [1, 3, 3, 1] / 8 along both axes."""
    with torch.inference_mode(False):
        taps = torch.tensor([1 / 8, 3 / 8, 3 / 8, 1 / 8], device=device, dtype=dtype)
        return torch.outer(taps, taps) * gain


def low_pass(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filter each channel: `(N, C, H, W)` to `(N, C, H + 2 * padding - 3, W + 2 * padding - 3)`."""
    kernel = _fir(x.device, x.dtype, gain).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def upsample_image(image: Tensor) -> Tensor:
    """×2 up-sampling of the RGB skip: zero insertion, low-pass filter, zeros beyond the border."""
    kernel = _fir(image.device, image.dtype, 4.0).expand(image.shape[1], 1, 4, 4)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1])


def downsampled_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Low-pass, then a k × k convolution of stride 2: `(N, in, H, W)` to `(N, out, H / 2, W / 2)`; k is 1 or 3."""
    return F.conv2d(low_pass(x, padding=weight.shape[-1] // 2 + 1), weight, bias, stride=2)


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, up: bool = False) -> Tensor:
    """Convolution whose input channels are scaled by a style, image by image, with one weight for the batch.

    The same as a convolution with weights `w_oik s_i` an image (Karras et al. 2020, eq. 1), without building those.

    Args:
        x: `(N, in, H, W)`.
        weight: `(out, in, k, k)`.
        style: `(N, in)`.
        up: double the resolution: zero insertion, convolution, low-pass filter.
    """
    x = x * style[:, :, None, None].to(x.dtype)
    if up:
        return low_pass(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """`(N, out)`: rsqrt(sum_ik (s_i w_oik)^2 + 1e-8), which brings each output channel to unit scale (eq. 3)."""
    return (style.to(weight.dtype).square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
