"""Operators of StyleGAN networks in plain PyTorch: equalised layers, FIR resampling, shared-weight modulated convolution."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LRELU_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2)


def activate(x: Tensor, clamp: float | None = None) -> Tensor:
    """Leaky ReLU of slope .2, clamped where the checkpoint says so.

    StyleGAN2's gain of sqrt(2) is left to the caller, who folds it into what it multiplies anyway: lrelu(gx) = g lrelu(x).
    """
    x = F.leaky_relu(x, LRELU_SLOPE)
    return x if clamp is None else x.clamp(-clamp, clamp)


def pixel_norm(z: Tensor) -> Tensor:
    """Scale the last axis to unit mean square: onto the sphere of radius sqrt(dim).

    >>> pixel_norm(torch.full((1, 4), 3.0))
    tensor([[1., 1., 1., 1.]])
    """
    return z * (z.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """Fully connected layer with equalised learning rate: `x (W lr_mul / sqrt(in))^T + b lr_mul`."""

    def __init__(
        self, in_features: int, out_features: int, lr_mul: float = 1.0, bias: float = 0.0, active: bool = False
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_mul))
        outer = ACTIVATION_GAIN if active else 1.0
        self.weight_gain, self.bias_gain, self.active = outer * lr_mul / math.sqrt(in_features), outer * lr_mul, active

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return activate(x) if self.active else x


@lru_cache(maxsize=8)
def _fold(size: int) -> Tensor:
    """Matrix `(size, size + 3)`: w @ M is the full convolution of w with the FIR filter [1, 3, 3, 1] / 8."""
    fir, matrix = (1 / 8, 3 / 8, 3 / 8, 1 / 8), torch.zeros(size, size + 3, dtype=torch.float64)
    for i in range(size):
        matrix[i, i : i + 4] = torch.tensor(fir, dtype=torch.float64)
    return matrix


def _folded(weight: Tensor) -> Tensor:
    """`(out, in, k, k)` to `(out, in, k + 3, k + 3)`: the kernel and the FIR filter in one."""
    size = weight.shape[-1]
    matrix = torch.kron(_fold(size), _fold(size)).to(weight)
    return (weight.flatten(2) @ matrix).unflatten(2, (size + 3, size + 3))


def upsampling_kernel(weight: Tensor) -> Tensor:
    """Fold ×2 zero insertion, a 3 × 3 kernel and the FIR filter into one 3 × 3 kernel a phase.

    Per axis, transposed convolution then FIR is `y[n] = sum_i x[i] K[n - 2i]`, `K[q] = sum_j f[j] w[q + j - 1]`,
    q = -2 … 3. Even n meet K[2], K[0], K[-2] and odd n K[3], K[1], K[-1] at x[m-1], x[m], x[m+1].

    Args:
        weight: `(out, in, 3, 3)`, in the orientation of `conv_transpose2d`.

    Returns:
        `(4 * out, in, 3, 3)`, phase by phase, for `conv2d(padding=1)` and `interleave`.
    """
    taps = _folded(weight * 4).flip(2, 3)  # 4: the zeros inserted in between
    return torch.cat([taps[:, :, 1 - a :: 2, 1 - b :: 2] for a in (0, 1) for b in (0, 1)])


def interleave(x: Tensor) -> Tensor:
    """Four phases `(N, 4 * C, H, W)` to `(N, C, 2H, 2W)`; moves whole pixels where memory is channels-last."""
    num, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(num, height, width, 2, 2, channels // 4).transpose(2, 3)
    return x.reshape(num, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def downsampling_kernel(weight: Tensor) -> Tensor:
    """Fold the FIR filter and a k × k kernel into the (k + 3) × (k + 3) kernel of one stride-2 convolution.

    Its padding is k // 2 + 1; k is 1 or 3.
    """
    return _folded(weight)


def upsample_image(image: Tensor) -> Tensor:
    """×2 up-sampling of the RGB skip: zero insertion, FIR [1, 3, 3, 1], zeros beyond the border."""
    fir = image.new_tensor([1.0, 3.0, 3.0, 1.0]) / 4
    kernel = torch.outer(fir, fir).expand(image.shape[1], 1, 4, 4)
    return F.conv_transpose2d(image, kernel, stride=2, padding=1, groups=image.shape[1])


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, up: bool = False) -> Tensor:
    """Convolution whose input channels are scaled by a style, image by image, with one weight for the batch.

    The same as a convolution with weights `w_oik s_i` an image (Karras et al. 2020, eq. 1), without building those.

    Args:
        x: `(N, in, H, W)`.
        weight: `(out, in, k, k)`.
        style: `(N, in)`.
        up: double the resolution, as `upsampling_kernel` says.
    """
    x = x * style[:, :, None, None].to(x.dtype)
    if up:
        return interleave(F.conv2d(x, upsampling_kernel(weight), padding=1))
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """`(N, out)`: rsqrt(sum_ik (s_i w_oik)^2 + 1e-8), which brings each output channel to unit scale (eq. 3)."""
    return (style.to(weight.dtype).square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
