"""BDInvert in Z+ as one writes it first: the loop that `step.py` measures zinv against.

Grouped convolutions with a weight an image, transposed convolution and then the FIR filter, the `lpips` package on
both pictures at each step, torch's Adam. Frozen networks ask for no gradient, and synthesis starts from the base code:
what costs nothing to get right is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


def mapping(weights: Weights, z: Tensor) -> Tensor:
    """`(N, L, z_dim)` to `(N, L, w_dim)`."""
    x = z.reshape(-1, z.shape[-1])
    x = x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)
    for i in range(sum(name.startswith("mapping.fc") and name.endswith("weight") for name in weights)):
        weight, bias = weights[f"mapping.fc{i}.weight"], weights[f"mapping.fc{i}.bias"]
        x = F.linear(x, weight * (0.01 / math.sqrt(weight.shape[1])), bias * 0.01)
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x.view(*z.shape[:2], -1)


def synthesis(weights: Weights, ws: Tensor, feature: Tensor, resolution: int) -> Tensor:
    """Images from a base code `feature`, the output of its resolution's first convolution, and the rows above it."""
    side = feature.shape[-1]
    x = styled_conv(weights, f"b{side}.conv1", feature, ws[:, 0])
    image = to_rgb(weights, f"b{side}.torgb", x, ws[:, 1])
    row = 1
    while side < resolution:
        side *= 2
        x = styled_conv(weights, f"b{side}.conv0", x, ws[:, row], up=True)
        x = styled_conv(weights, f"b{side}.conv1", x, ws[:, row + 1])
        image = upsample(image) + to_rgb(weights, f"b{side}.torgb", x, ws[:, row + 2])
        row += 2
    return image


def styled_conv(weights: Weights, name: str, x: Tensor, w: Tensor, up: bool = False) -> Tensor:
    """Modulated convolution, noise, bias, leaky ReLU, gain."""
    name = f"synthesis.{name}"
    x = modulated_conv(x, weights[f"{name}.weight"], affine(weights, name, w), demodulate=True, up=up)
    x = x + weights[f"{name}.noise_const"] * weights[f"{name}.noise_strength"]
    x = x + weights[f"{name}.bias"].view(1, -1, 1, 1)
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def to_rgb(weights: Weights, name: str, x: Tensor, w: Tensor) -> Tensor:
    """Modulated 1 × 1 convolution to RGB."""
    name = f"synthesis.{name}"
    style = affine(weights, name, w) / math.sqrt(x.shape[1])
    x = modulated_conv(x, weights[f"{name}.weight"], style, demodulate=False)
    return x + weights[f"{name}.bias"].view(1, -1, 1, 1)


def affine(weights: Weights, name: str, w: Tensor) -> Tensor:
    """w to a layer's style."""
    weight = weights[f"{name}.affine.weight"]
    return F.linear(w, weight / math.sqrt(weight.shape[1]), weights[f"{name}.affine.bias"])


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, up: bool = False) -> Tensor:
    """One grouped convolution for the batch, each image with its own modulated weight."""
    batch, channels, height, width = x.shape
    out, kernel = weight.shape[0], weight.shape[-1]
    weight = weight.unsqueeze(0) * style.view(batch, 1, channels, 1, 1)
    if demodulate:
        weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8)
    x = x.reshape(1, batch * channels, height, width)
    if up:
        weight = weight.transpose(1, 2).reshape(batch * channels, out, kernel, kernel)
        x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
        return fir(x.view(batch, out, 2 * height + 1, 2 * width + 1))
    weight = weight.reshape(batch * out, channels, kernel, kernel)
    return F.conv2d(x, weight, padding=kernel // 2, groups=batch).view(batch, out, height, width)


def fir(x: Tensor) -> Tensor:
    """StyleGAN2's filter [1, 3, 3, 1] a channel, with the gain of 4 that up-sampling needs."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype)
    kernel = torch.outer(taps, taps) * (4 / 64)
    return F.conv2d(x, kernel.repeat(x.shape[1], 1, 1, 1), padding=1, groups=x.shape[1])


def upsample(image: Tensor) -> Tensor:
    """RGB to twice its size: zeros in between and one before, then the filter."""
    batch, channels, height, width = image.shape
    x = image.new_zeros(batch, channels, 2 * height + 1, 2 * width + 1)
    x[:, :, 1::2, 1::2] = image
    return fir(x)


def onto_sphere(z: Tensor) -> Tensor:
    return z * math.sqrt(z.shape[-1]) / z.norm(dim=-1, keepdim=True)


def invert(
    weights: Weights,
    perceptual: torch.nn.Module,
    target: Tensor,
    small_target: Tensor,
    z: Tensor,
    feature: Tensor,
    num_steps: int,
    after_step: Callable[[], None],
    lr: float = 0.01,
) -> Tensor:
    """Adam on z `(N, L, z_dim)` and the base code; returns the images' losses `(N,)` after the last step.

    The sum over the batch, where a mean is more usual, so that its losses can be compared with zinv's.

    Args:
        weights: of the generator, under the names of the PyTorch checkpoints.
        perceptual: distance of two pictures.
        target: `(N, 3, R, R)`.
        small_target: the target as the perceptual network sees it.
        z: first detail codes.
        feature: first base codes.
        num_steps: updates.
        after_step: called after each.
        lr: Adam's.
    """
    first = feature
    z, feature = z.clone().requires_grad_(True), feature.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z, feature], lr=lr)
    for _ in range(num_steps):
        optimizer.zero_grad()
        losses(weights, perceptual, target, small_target, z, feature, first).sum().backward()
        optimizer.step()
        with torch.no_grad():
            z.copy_(onto_sphere(z))
        after_step()
    with torch.no_grad():
        return losses(weights, perceptual, target, small_target, z, feature, first)


def losses(
    weights: Weights,
    perceptual: torch.nn.Module,
    target: Tensor,
    small_target: Tensor,
    z: Tensor,
    feature: Tensor,
    first: Tensor,
) -> Tensor:
    """MSE + 10 LPIPS + 10 times the base code's mean squared distance from its start, `(N,)`."""
    image = synthesis(weights, mapping(weights, z), feature, target.shape[-1])
    mse = F.mse_loss(image, target, reduction="none").mean([1, 2, 3])
    distance = perceptual(resized(image, small_target.shape[-1]), small_target)
    return mse + 10 * distance.view(-1) + 10 * (feature - first).pow(2).mean([1, 2, 3])


def resized(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="bicubic", align_corners=False)
