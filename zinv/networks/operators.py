"""Operators of StyleGAN networks in plain PyTorch: equalised layers, FIR resampling, modulation."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from zinv.networks import winograd

LRELU_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2)
SAME = 1, 1, False, 1
"""Stride, padding, transposed and groups of a 3 × 3 convolution that keeps the size."""


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


class Context(FunctionCtx):
    """What a convolution keeps for its backward pass."""

    settings: list[int]
    shape: torch.Size
    dtype: torch.dtype
    saved_tensors: tuple[Tensor, ...]


class _Convolution(torch.autograd.Function):
    """A convolution with a constant weight, for whose backward pass no input is kept; torch's own keeps it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, padding: int, transposed: bool, groups: int) -> Tensor:
        if (stride, padding, transposed, groups) == SAME and winograd.pays(x, weight):
            return winograd.convolve(x, winograd.transformed(weight))
        convolve = F.conv_transpose2d if transposed else F.conv2d
        return convolve(x, weight, stride=stride, padding=padding, groups=groups)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor, int, int, bool, int], output: Tensor) -> None:
        x, weight, *ctx.settings = inputs
        ctx.save_for_backward(weight)
        ctx.shape, ctx.dtype = x.shape, x.dtype

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (stride, padding, transposed, groups) = ctx.saved_tensors, ctx.settings
        if tuple(ctx.settings) == SAME and winograd.pays(grad, weight):
            return winograd.adjoint(grad, winograd.transformed(weight)), None, None, None, None, None
        layout = torch.channels_last if grad.device.type == "cpu" else torch.contiguous_format
        like = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=layout)  # never read
        where = [stride] * 2, [padding] * 2, [1, 1], transposed, [0, 0], groups
        wanted = [True, False, False]
        found = torch.ops.aten.convolution_backward(grad, like, weight.to(grad.dtype), None, *where, wanted)
        return found[0].to(ctx.dtype), None, None, None, None, None


def convolve(x: Tensor, weight: Tensor, padding: int = 0, stride: int = 1, up: bool = False, groups: int = 1) -> Tensor:
    """A convolution, or with `up` the transposed one; a frozen weight costs no memory for x, and its steps are fast.

    Args:
        x: `(N, in, H, W)`.
        weight: as torch's own functions have it.
        padding: on each side.
        stride: of the output, with `up` of the input.
        up: scatter instead of gather.
        groups: of channels.
    """
    if not weight.requires_grad and x.requires_grad and torch.is_grad_enabled():
        found: Tensor = _Convolution.apply(x, weight, stride, padding, up, groups)
        return found
    if up:
        return F.conv_transpose2d(x, weight, stride=stride, padding=padding, groups=groups)
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)


def low_pass(x: Tensor, padding: int, gain: float = 1.0, frozen: bool = False) -> Tensor:
    """Filter each channel: `(N, C, H, W)` to `(N, C, H + 2 * padding - 3, W + 2 * padding - 3)`.

    With `frozen` x is not kept for the backward pass, which then has none of its own.
    """
    kernel = _fir(x.device, x.dtype, gain).expand(x.shape[1], 1, 4, 4)
    if frozen:
        return convolve(x, kernel, padding, groups=x.shape[1])
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
        wide = convolve(x, weight.transpose(0, 1), stride=2, up=True)
        return low_pass(wide, padding=1, gain=4.0, frozen=not weight.requires_grad)
    return convolve(x, weight, padding=weight.shape[-1] // 2)


class Squares:
    """A weight's squares, summed over the kernel: `(out, in)`. Those of a frozen parameter are kept while it stays.

    Not in compiled code, which cannot see whether it does: there a look at its address would cut the step in parts.
    """

    def __init__(self) -> None:
        self.weight: Tensor | None = None
        self.state: tuple[object, ...] = ()

    def __call__(self, weight: Tensor) -> Tensor:
        """Of a weight `(out, in, k, k)`."""
        if weight.requires_grad or type(weight) is not nn.Parameter or weight.is_meta or torch.compiler.is_compiling():
            return weight.square().sum((2, 3))
        state = (weight._version, weight.data_ptr(), weight.dtype, weight.device)
        if self.weight is not weight or self.state != state:
            with torch.inference_mode(False):
                self.kept = weight.detach().square().sum((2, 3))
            self.weight, self.state = weight, state
        return self.kept

    def __deepcopy__(self, memo: dict[int, object]) -> Squares:
        return Squares()

    def __reduce__(self) -> tuple[type[Squares], tuple[()]]:
        return Squares, ()


def demodulation(squares: Tensor, style: Tensor) -> Tensor:
    """`(N, out)`: rsqrt(sum_ik (s_i w_oik)^2 + 1e-8), which brings each output channel to unit scale (eq. 3).

    Args:
        squares: `(out, in)`, the sums of `w_oik^2` over k.
        style: `(N, in)`.
    """
    with torch.autocast(style.device.type, enabled=False):
        return (style.to(squares.dtype).square() @ squares.T + 1e-8).rsqrt()
