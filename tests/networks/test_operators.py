"""StyleGAN operators against the plain and slow way of computing each."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from zinv.networks.operators import (
    EqualLinear,
    Squares,
    activate_,
    convolve,
    demodulation,
    downsampled_conv,
    low_pass,
    modulated_conv,
    pixel_norm,
    upsample_image,
)

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fir(x: Tensor, gain: float, padding: tuple[int, int]) -> Tensor:
    """Convolve every channel with [1, 3, 3, 1] x [1, 3, 3, 1] / 64, zeros (before, after) around."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = (torch.outer(taps, taps) / 64 * gain).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (*padding, *padding)), kernel, groups=x.shape[1])


def up_then_fir(x: Tensor, weight: Tensor) -> Tensor:
    """Transposed convolution of stride 2 without padding, then the filter with one zero around (Karras et al.)."""
    wide = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    assert wide.shape[-1] == 2 * x.shape[-1] + 1
    return fir(wide, 4, (1, 1))


@pytest.mark.parametrize("padding", [1, 2])
def test_the_low_pass_filter_is_separable_a_channel_at_a_time(padding: int):
    x, taps = randn(2, 3, 5, 8), np.array([1, 3, 3, 1]) / 8
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for axis in (2, 3):
        padded = np.apply_along_axis(np.convolve, axis, padded, taps, mode="valid")
    torch.testing.assert_close(low_pass(x, padding, gain=4.0), 4 * torch.from_numpy(padded), **TIGHT)


@pytest.mark.parametrize("size", [1, 3])
def test_downsampling_is_filter_then_strided_convolution(size: int):
    x, weight, bias = randn(2, 3, 8, 8), randn(5, 3, size, size, seed=1), randn(5, seed=2)
    pad = 1 + size // 2
    plain = F.conv2d(fir(x, 1, (pad, pad)), weight, bias, stride=2)
    assert plain.shape == (2, 5, 4, 4)
    torch.testing.assert_close(downsampled_conv(x, weight, bias), plain, **TIGHT)


@pytest.mark.parametrize(("kernel", "up"), [(1, False), (3, False), (3, True)])
def test_shared_weights_are_a_grouped_convolution_with_each_images_own(kernel: int, up: bool):
    x, weight, style = randn(3, 4, 6, 6), randn(5, 4, kernel, kernel, seed=1), randn(3, 4, seed=2)
    own = weight[None] * style[:, None, :, None, None]
    own = own * (own.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    if up:
        plain = torch.cat([up_then_fir(x[i : i + 1], own[i]) for i in range(3)])
    else:
        grouped = F.conv2d(x.reshape(1, 12, 6, 6), own.flatten(0, 1), padding=kernel // 2, groups=3)
        plain = grouped.reshape(3, 5, 6, 6)
    scale = demodulation(weight.square().sum((2, 3)), style)[:, :, None, None]
    ours = modulated_conv(x, weight, style, up) * scale
    torch.testing.assert_close(ours, plain, **TIGHT)


def test_demodulation_brings_each_output_channel_to_unit_scale():
    weight, style = randn(5, 4, 3, 3).float(), randn(2, 4, seed=1).float()
    own = (
        weight[None]
        * style[:, None, :, None, None]
        * demodulation(weight.square().sum((2, 3)), style)[:, :, None, None, None]
    )
    torch.testing.assert_close(own.square().sum((2, 3, 4)), torch.ones(2, 5))


def test_the_skip_is_zero_insertion_padding_and_filter():
    image = randn(2, 3, 4, 6)
    spread = torch.zeros(2, 3, 8, 12, dtype=image.dtype)
    spread[:, :, ::2, ::2] = image
    torch.testing.assert_close(upsample_image(image), fir(spread, 4, (2, 1)), **TIGHT)


def test_the_skip_keeps_a_constant_away_from_the_border():
    inner = upsample_image(torch.ones(1, 3, 8, 8))[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.ones_like(inner))


def test_equalised_layers_scale_weight_and_bias():
    torch.manual_seed(0)
    layer, x = EqualLinear(8, 3, lr_mul=0.01, bias=0.5), torch.randn(2, 8)
    assert layer.weight.std() > 50  # the stored weight is divided by lr_mul
    expected = x @ layer.weight.T * 0.01 / math.sqrt(8) + layer.bias * 0.01
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(torch.zeros(1, 8)), torch.full((1, 3), 0.5))


def test_what_numpy_gives_is_taken_in_the_layers_precision():
    """Codes of others come in float64, and theirs cast them too."""
    layer, x = EqualLinear(8, 3), randn(2, 8)
    assert torch.equal(layer(x), layer(x.float()))
    assert layer.double()(x.float()).dtype == torch.float64


def test_an_active_layer_has_the_gain_of_sqrt_2_on_weight_and_bias():
    torch.manual_seed(0)
    layer, x = EqualLinear(8, 3, lr_mul=0.01, bias=0.5, active=True), torch.randn(2, 8)
    linear = x @ layer.weight.T * 0.01 / math.sqrt(8) + layer.bias * 0.01
    torch.testing.assert_close(layer(x), F.leaky_relu(linear, 0.2) * math.sqrt(2))


def test_pixel_norm_is_along_the_last_axis_and_survives_zero():
    z = torch.randn(2, 3, 16) * 7
    torch.testing.assert_close(pixel_norm(z).norm(dim=-1), torch.full((2, 3), 4.0))
    assert torch.equal(pixel_norm(torch.zeros(1, 4)), torch.zeros(1, 4))


def test_activation_clamps_where_told():
    x = torch.tensor([-10.0, -1.0, 3.0, 10.0])
    torch.testing.assert_close(activate_(x.clone()), torch.tensor([-2.0, -0.2, 3.0, 10.0]))
    torch.testing.assert_close(activate_(x.clone(), 2.5), torch.tensor([-2.0, -0.2, 2.5, 2.5]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((4, 3, 3, 3), {"padding": 1}),
        ((3, 4, 3, 3), {"stride": 2, "up": True}),
        ((3, 1, 4, 4), {"padding": 1, "groups": 3}),
    ],
)
def test_a_convolution_with_a_frozen_weight_is_torchs_without_its_input(
    dtype: torch.dtype, shape: tuple[int, ...], settings: dict[str, int]
):
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)
    x = torch.randn(2, 3, 5, 5, generator=rng, dtype=torch.float64).to(dtype).requires_grad_(True)
    kept: list[Tensor] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        ours = convolve(x, weight, **settings)
    assert [tuple(tensor.shape) for tensor in kept] == [shape]
    rest = {name: value for name, value in settings.items() if name != "up"}
    plain = (F.conv_transpose2d if "up" in settings else F.conv2d)(x, weight, **rest)
    probe = torch.randn(ours.shape, generator=rng, dtype=torch.float64).to(dtype)
    (one,), (two,) = (torch.autograd.grad(y, x, probe) for y in (ours, plain))
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(one, two)


def test_its_second_derivatives_are_right_too():
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64)
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: convolve(x.square(), weight, 1), x)
    assert torch.autograd.gradgradcheck(lambda x: convolve(x.square(), weight, 1).square(), x)


def test_squares_of_a_frozen_weight_are_kept_until_it_changes():
    squares, weight = Squares(), torch.nn.Parameter(torch.randn(4, 3, 3, 3), requires_grad=False)
    with torch.inference_mode():
        first = squares(weight)
    torch.testing.assert_close(first, weight.square().sum((2, 3)))
    assert squares(weight) is first and not first.is_inference()
    weight.mul_(2)
    torch.testing.assert_close(squares(weight), 4 * first)
    weight.data = torch.ones(4, 3, 3, 3)
    torch.testing.assert_close(squares(weight), torch.full((4, 3), 9.0))
    assert copy.deepcopy(squares).weight is None
    weight.requires_grad_(True)
    assert squares(weight).requires_grad
