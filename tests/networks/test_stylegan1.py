"""StyleGAN1's networks against a plain transcription of the paper and its code's operators, layer by layer."""

from __future__ import annotations

import math
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.networks.stylegan1 import (
    MappingNetwork,
    StyledConv,
    StyleGAN1Architecture,
    SynthesisNetwork,
    adain,
    blur,
    fused_upsampled_conv,
    styled_layers,
    upsampled_conv,
)

Network = TypeVar("Network", bound=torch.nn.Module)
SMALL = StyleGAN1Architecture(16, (6, 8, 4), z_dim=5, w_dim=7, mapping_layers=3)
SIZES = [
    SMALL,
    StyleGAN1Architecture(4, (3,), w_dim=7),
    StyleGAN1Architecture(64, (4, 5, 4, 3, 2), w_dim=7),
    StyleGAN1Architecture(128, (4, 5, 4, 3, 2, 3), w_dim=7),
    StyleGAN1Architecture(256, (4, 3, 4, 3, 2, 3, 2), w_dim=7),
    StyleGAN1Architecture(32, (4, 5, 4, 3), w_dim=7, fused_from=4),
]


def shaken(network: Network) -> Network:
    """With biases and noise strengths that are not 0, and a constant that is not 1."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("bias", "noise_strength", "const")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.requires_grad_(False)


def synthesis_of(arch: StyleGAN1Architecture) -> SynthesisNetwork:
    torch.manual_seed(0)
    return shaken(SynthesisNetwork(arch).double())


def plain_blur(x: Tensor) -> Tensor:
    """[1, 2, 1] by [1, 2, 1] / 16, zeros beyond the border."""
    wide, (height, width) = F.pad(x, (1, 1, 1, 1)), x.shape[2:]
    weights = [(i, j, a * b / 16) for i, a in enumerate((1, 2, 1)) for j, b in enumerate((1, 2, 1))]
    return torch.stack([wide[:, :, i : i + height, j : j + width] * weight for i, j, weight in weights]).sum(0)


def plain_nearest(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, padding=1)


def plain_fused(x: Tensor, weight: Tensor) -> Tensor:
    """Padded weights, the sum of their four windows, and each input pixel times that added to the output."""
    wide, taps = F.pad(weight, (1, 1, 1, 1)), torch.zeros(*weight.shape[:2], 4, 4, dtype=weight.dtype)
    for i in (0, 1):
        for j in (0, 1):
            taps += wide[:, :, i : i + 4, j : j + 4]
    height, width = x.shape[2:]
    canvas = torch.zeros(x.shape[0], weight.shape[0], 2 * height + 2, 2 * width + 2, dtype=x.dtype)
    for i in range(4):
        for j in range(4):
            spread = torch.einsum("oi,nihw->nohw", taps[:, :, i, j], x)
            canvas[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += spread
    return canvas[:, :, 1:-1, 1:-1]


def plain_norm(x: Tensor, style: Tensor) -> Tensor:
    """Instance norm with the biased variance, then `x (s + 1) + b`."""
    x = x - x.mean((2, 3), keepdim=True)
    x = x / (x.square().mean((2, 3), keepdim=True) + 1e-8).sqrt()
    num = x.shape[1]
    return x * (style[:, :num, None, None] + 1) + style[:, num:, None, None]


def plain_style(layer: StyledConv, w: Tensor) -> Tensor:
    return w @ layer.affine.weight.T / math.sqrt(w.shape[1]) + layer.affine.bias


def plain_layer(layer: StyledConv, x: Tensor, w: Tensor, noise: bool, up: str) -> Tensor:
    """(Up-sampling,) convolution (, blur), noise, bias, leaky ReLU, norm, style: of a batch with its w's."""
    if up != "constant":
        weight = layer.weight * math.sqrt(2) / math.sqrt(layer.weight[0].numel())
        if up == "no":
            x = F.conv2d(x, weight, padding=1)
        else:
            x = plain_blur(plain_nearest(x, weight) if up == "nearest" else plain_fused(x, weight))
    if noise:
        x = x + layer.noise_const[None, None] * layer.noise_strength[None, :, None, None]
    x = F.leaky_relu(x + layer.bias[None, :, None, None], 0.2)
    return plain_norm(x, plain_style(layer, w))


def plain_image(network: SynthesisNetwork, arch: StyleGAN1Architecture, ws: Tensor, noise: bool = True) -> Tensor:
    """Layer i reads row i; from `fused_from` pixels on up-sampling is the transposed convolution."""
    x = network.get_submodule("b4").const[None].repeat(len(ws), 1, 1, 1)
    for k in range(len(arch.channels)):
        side = 4 * 2**k
        block = network.get_submodule(f"b{side}")
        up = "constant" if k == 0 else "fused" if side >= arch.fused_from else "nearest"
        x = plain_layer(block.conv0, x, ws[:, 2 * k], noise, up)
        x = plain_layer(block.conv1, x, ws[:, 2 * k + 1], noise, "no")
    rgb = network.get_submodule(f"b{arch.resolution}").torgb
    return torch.einsum("oi,nihw->nohw", rgb.weight[:, :, 0, 0] / math.sqrt(x.shape[1]), x) + rgb.bias[:, None, None]


def ours(network: SynthesisNetwork, arch: StyleGAN1Architecture, ws: Tensor, noise: bool = True) -> Tensor:
    names = [layer.name for layer in styled_layers(arch)]
    styles = {name: network.layer(name).affine(ws[:, i]) for i, name in enumerate(names)}
    maps = {name: network.layer(name).noise_const[None, None] for name in names} if noise else {}
    image: Tensor = network(styles, maps)[0]
    return image


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("arch", SIZES, ids=lambda arch: f"{arch.resolution} fused from {arch.fused_from}")
def test_images_are_those_of_the_plain_transcription(arch: StyleGAN1Architecture, noise: bool):
    network = synthesis_of(arch)
    ws = torch.randn(2, arch.num_ws, 7, dtype=torch.float64)
    plain = plain_image(network, arch, ws, noise)
    assert plain.std() > 0.5
    torch.testing.assert_close(ours(network, arch, ws, noise), plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arch", [SIZES[3], SIZES[4]], ids=lambda arch: str(arch.resolution))
def test_float32_images_too(arch: StyleGAN1Architecture):
    network = synthesis_of(arch)
    ws = torch.randn(2, arch.num_ws, 7, dtype=torch.float64)
    plain = plain_image(network, arch, ws)
    image = ours(network.float(), arch, ws.float())
    torch.testing.assert_close(image, plain.float(), rtol=1e-5, atol=2e-5)


def test_up_sampling_is_fused_from_128_pixels_on():
    network = SynthesisNetwork(StyleGAN1Architecture(256, (2,) * 7))
    steps = [network.layer(f"b{side}.conv0").step for side in network.resolutions]
    assert steps == ["none", "up", "up", "up", "up", "fused", "fused"]


def test_fused_up_sampling_is_the_other_with_the_weights_turned_round():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 6, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    turned = upsampled_conv(x, weight.flip(2, 3))
    torch.testing.assert_close(fused_upsampled_conv(x, weight), turned, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(upsampled_conv(x, weight), turned, atol=0.1)
    even = weight + weight.flip(2, 3)
    torch.testing.assert_close(fused_upsampled_conv(x, even), upsampled_conv(x, even), rtol=1e-12, atol=1e-12)


def test_which_way_a_pixel_goes_in_each_up_sampling():
    """Pixel (1, 1) of 3 x 3 covers rows 2 and 3 of 6. A convolution with the first tap alone moves it on by one pixel,
    a transposed one back by one."""
    x, weight = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = weight[0, 0, 0, 0] = 1.0
    for operator, rows in ((upsampled_conv, [3, 4]), (fused_upsampled_conv, [1, 2])):
        expected = torch.zeros(6, 6)
        for i in rows:
            expected[i, rows] = 1.0
        assert torch.equal(operator(x, weight)[0, 0], expected)


def test_the_blur_of_a_pixel_inside_and_in_a_corner():
    x = torch.zeros(1, 2, 4, 4)
    x[0, 0, 2, 1] = x[0, 1, 0, 0] = 16.0
    inside, corner = blur(x, torch.tensor([0.0, 5.0]))[0]
    assert inside.tolist() == [[0, 0, 0, 0], [1, 2, 1, 0], [2, 4, 2, 0], [1, 2, 1, 0]]
    assert corner.tolist() == [[9, 7, 5, 5], [7, 6, 5, 5], [5, 5, 5, 5], [5, 5, 5, 5]]


def test_adain_by_hand():
    """0, 0, 2, 2 has mean 1 and deviation 1; a scale of 2 is a factor of 3."""
    x = torch.tensor([[0.0, 0.0], [2.0, 2.0]]).expand(1, 2, 2, 2)
    normed = adain(x, torch.tensor([[0.0, 2.0, 0.0, 10.0]]))
    torch.testing.assert_close(normed[0, 0], torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    torch.testing.assert_close(normed[0, 1], torch.tensor([[7.0, 7.0], [13.0, 13.0]]))


def test_adain_of_a_flat_channel_is_its_shift():
    normed = adain(torch.full((1, 1, 4, 4), 3.0), torch.tensor([[5.0, 0.25]]))
    assert torch.equal(normed, torch.full((1, 1, 4, 4), 0.25))


@pytest.mark.parametrize("side", [16, 1024])
def test_adain_is_exact_whatever_the_memory_format(side: int):
    torch.manual_seed(0)
    x, style = torch.randn(1, 3, side, side) + 2, torch.randn(1, 6)
    plain = plain_norm(x.double(), style.double()).float()
    for given in (x, x.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(adain(given, style), plain, rtol=1e-5, atol=1e-5)


def test_mapping_is_norm_then_layers_with_the_gain_on_the_weights():
    torch.manual_seed(0)
    mapping = shaken(MappingNetwork(SMALL).double())
    for name in ("fc0", "fc1", "fc2"):
        mapping.get_submodule(name).bias.mul_(100)  # so that a gain on it would show
    z = torch.randn(4, 5, dtype=torch.float64) * 3
    x = z / z.norm(dim=1, keepdim=True) * math.sqrt(5)
    for name in ("fc0", "fc1", "fc2"):
        layer = mapping.get_submodule(name)
        width = layer.weight.shape[1]
        x = F.leaky_relu(x @ layer.weight.T * (0.01 * math.sqrt(2 / width)) + layer.bias * 0.01, 0.2)
    torch.testing.assert_close(mapping(z), x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(mapping(10 * z), mapping(z), rtol=1e-7, atol=1e-7)
    assert not torch.allclose(mapping(10 * z, normalize=False), mapping(z, normalize=False), rtol=0.1)


def test_a_w_a_layer_is_the_last_layers_output_row_by_row():
    arch = StyleGAN1Architecture(16, (6, 8, 4), z_dim=5, w_dim=7, mapping_layers=2, w_per_layer=True)
    torch.manual_seed(0)
    mapping = shaken(MappingNetwork(arch).double())
    z = torch.randn(3, 5, dtype=torch.float64)
    ws, last = mapping(z), mapping.get_submodule("fc1")
    assert ws.shape == (3, 6, 7) and last.weight.shape == (42, 7) and mapping.w_avg.shape == (7,)
    hidden = mapping.get_submodule("fc0")(F.normalize(z) * math.sqrt(5))
    rows = slice(4 * 7, 5 * 7)
    weight, bias = last.weight[rows] * (0.01 * math.sqrt(2 / 7)), last.bias[rows] * 0.01
    torch.testing.assert_close(ws[:, 4], F.leaky_relu(hidden @ weight.T + bias, 0.2), rtol=1e-7, atol=1e-7)


def test_an_image_is_squashed_where_the_file_says_so():
    plain, squashed = synthesis_of(SMALL), SynthesisNetwork(StyleGAN1Architecture(16, (6, 8, 4), 5, 7, 3, tanh=True))
    squashed.double().load_state_dict(plain.state_dict())
    ws = torch.randn(2, SMALL.num_ws, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(squashed, SMALL, ws), ours(plain, SMALL, ws).tanh())


def test_half_precision_renders_the_same_picture_about():
    network = synthesis_of(SMALL).float()
    ws = torch.randn(2, SMALL.num_ws, 7)
    plain = ours(network, SMALL, ws)
    with torch.autocast("cpu", torch.bfloat16):
        half = ours(network, SMALL, ws)
    assert half.dtype == torch.float32
    assert (half - plain).norm() < 0.05 * plain.norm()


def test_names_and_shapes_of_the_tensors():
    shapes = {name: tuple(x.shape) for name, x in SynthesisNetwork(SMALL).state_dict().items()}
    assert shapes["b4.const"] == (6, 4, 4)
    assert {name: shape for name, shape in shapes.items() if name.startswith("b16")} == {
        "b16.conv0.affine.weight": (8, 7),
        "b16.conv0.affine.bias": (8,),
        "b16.conv0.weight": (4, 8, 3, 3),
        "b16.conv0.bias": (4,),
        "b16.conv0.noise_strength": (4,),
        "b16.conv0.noise_const": (16, 16),
        "b16.conv1.affine.weight": (8, 7),
        "b16.conv1.affine.bias": (8,),
        "b16.conv1.weight": (4, 4, 3, 3),
        "b16.conv1.bias": (4,),
        "b16.conv1.noise_strength": (4,),
        "b16.conv1.noise_const": (16, 16),
        "b16.torgb.weight": (3, 4, 1, 1),
        "b16.torgb.bias": (3,),
    }
    assert "b4.conv0.weight" not in shapes and not any("torgb" in name for name in shapes if "b16" not in name)
