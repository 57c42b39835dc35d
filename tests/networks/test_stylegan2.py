"""StyleGAN2's networks against a plain transcription of the paper: one image at a time, one weight tensor an image."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.networks.stylegan2 import (
    MappingNetwork,
    StyledConv,
    StyleGAN2Architecture,
    SynthesisNetwork,
    ToRGB,
    styled_layers,
)

Network = TypeVar("Network", bound=torch.nn.Module)
ARCH = StyleGAN2Architecture(16, (6, 8, 4), z_dim=5, w_dim=7, mapping_layers=3)


@pytest.fixture
def mapping() -> MappingNetwork:
    torch.manual_seed(0)
    network = MappingNetwork(ARCH).double()
    return _shaken(network)


@pytest.fixture
def synthesis() -> SynthesisNetwork:
    torch.manual_seed(0)
    return _shaken(SynthesisNetwork(ARCH).double())


def _shaken(network: Network) -> Network:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.requires_grad_(False)


def fir(x: Tensor, pads: tuple[int, int]) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (*pads, *pads)), kernel, groups=x.shape[1])


def plain_conv(layer: StyledConv, x: Tensor, w: Tensor, noise: Tensor | None, clamp: float | None = None) -> Tensor:
    """Modulate, demodulate, convolve, noise, bias, leaky ReLU, gain, clamp: of one image."""
    style = layer.affine(w[None])[0]
    weight = layer.weight * style[None, :, None, None]
    weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if layer.up:
        x = fir(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1))
    else:
        x = F.conv2d(x, weight, padding=1)
    if noise is not None:
        x = x + noise * layer.noise_strength
    x = F.leaky_relu(x + layer.bias[None, :, None, None], 0.2) * math.sqrt(2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def plain_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    style = layer.affine(w[None])[0] / math.sqrt(x.shape[1])
    return F.conv2d(x, layer.weight * style[None, :, None, None]) + layer.bias[None, :, None, None]


def plain_image(network: SynthesisNetwork, ws: Tensor, noise: bool = True) -> Tensor:
    """An image from its rows `(num_ws, w_dim)`: block k reads rows 2k - 1, 2k and 2k + 1."""
    x, rgb = network.get_submodule("b4").const[None], None
    for k, resolution in enumerate(network.resolutions):
        block = network.get_submodule(f"b{resolution}")
        if k > 0:
            x = plain_conv(block.conv0, x, ws[2 * k - 1], block.conv0.noise_const if noise else None)
        x = plain_conv(block.conv1, x, ws[2 * k], block.conv1.noise_const if noise else None)
        shown = plain_rgb(block.torgb, x, ws[2 * k + 1])
        if rgb is None:
            rgb = shown
            continue
        spread = torch.zeros_like(shown)
        spread[:, :, ::2, ::2] = rgb
        rgb = shown + fir(spread, (2, 1))
    assert rgb is not None
    return rgb


def styles_of(network: SynthesisNetwork, ws: Tensor) -> dict[str, Tensor]:
    return {layer.name: network.layer(layer.name).affine(ws[:, layer.row]) for layer in styled_layers(ARCH)}


def noise_of(network: SynthesisNetwork) -> dict[str, Tensor]:
    names = [layer.name for layer in styled_layers(ARCH) if "conv" in layer.name]
    return {name: network.layer(name).noise_const[None, None] for name in names}


@pytest.mark.parametrize("noise", [True, False])
def test_images_are_those_of_the_plain_transcription(synthesis: SynthesisNetwork, noise: bool):
    ws = torch.randn(3, ARCH.num_ws, 7, dtype=torch.float64)
    plain = torch.cat([plain_image(synthesis, one, noise) for one in ws])
    ours = synthesis(styles_of(synthesis, ws), noise_of(synthesis) if noise else {})[0]
    assert plain.std() > 0.5
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_features_stay_in_half_precision_under_autocast():
    torch.manual_seed(0)
    network, ws = _shaken(SynthesisNetwork(ARCH)), torch.randn(2, ARCH.num_ws, 7)
    points = ["b4.out", "b8.conv0", "b8.out", "b16.conv0"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, found = network(styles_of(network, ws), noise_of(network), taps=points)
    assert {point: x.dtype for point, x in found.items()} == dict.fromkeys(points, torch.bfloat16)
    full = network(styles_of(network, ws), noise_of(network))[0]
    assert half.dtype == full.dtype == torch.float32
    assert (half - full).abs().mean() < 0.03 * full.std()


def test_mapping_is_norm_then_layers_with_gain(mapping: MappingNetwork):
    z = torch.randn(4, 5, dtype=torch.float64) * 3
    x = z / z.norm(dim=1, keepdim=True) * math.sqrt(5)
    for name in ("fc0", "fc1", "fc2"):
        layer = mapping.get_submodule(name)
        width = layer.weight.shape[1]
        x = F.leaky_relu(x @ layer.weight.T * 0.01 / math.sqrt(width) + layer.bias * 0.01, 0.2) * math.sqrt(2)
    torch.testing.assert_close(mapping(z), x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(mapping(10 * z), mapping(z), rtol=1e-7, atol=1e-7)
    assert not torch.allclose(mapping(10 * z, normalize=False), mapping(z, normalize=False), rtol=0.1)


def test_clamping_layers_clamp_features_and_rgb():
    torch.manual_seed(0)
    conv = _shaken(StyledConv(6, 8, 7, 4, up=False, clamp=0.5).double())
    x, w = torch.randn(1, 6, 4, 4, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    plain = plain_conv(conv, x, w, conv.noise_const, clamp=0.5)
    assert (plain.abs() == 0.5).any()
    ours = conv(x, conv.affine(w[None]), conv.noise_const[None, None])
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
    rgb = ToRGB(6, 7, clamp=0.1).double()
    assert rgb(x, rgb.affine(w[None])).abs().max() <= 0.1


def test_rows_and_style_widths_of_the_layers():
    layers = styled_layers(StyleGAN2Architecture(16, (512, 256, 128)))
    assert [(layer.name, layer.row, layer.dim) for layer in layers] == [
        ("b4.conv1", 0, 512),
        ("b4.torgb", 1, 512),
        ("b8.conv0", 1, 512),
        ("b8.conv1", 2, 256),
        ("b8.torgb", 3, 256),
        ("b16.conv0", 3, 256),
        ("b16.conv1", 4, 128),
        ("b16.torgb", 5, 128),
    ]
