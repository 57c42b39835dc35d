"""What the code of each format computes from its own tensors, under its own names: float64, one image at a time.

None of this knows zinv's names, layout or operators. A format's tensors are as its files have them; where formats turn,
transpose, scale or offset a tensor, the arithmetic here does as that format's code, and no tensor is converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.checkpoints.layouts import BLUR, FIR, Network, Persistent

State = Mapping[str, Tensor]
Up = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Original:
    """One format's network: z `(z_dim,)` to w, and rows `(num_ws, w_dim)` to an image `(3, R, R)`."""

    mapping: Callable[[Tensor], Tensor]
    synthesis: Callable[[Tensor], Tensor]


def doubled(state: State) -> dict[str, Tensor]:
    return {name: x.detach().double() for name, x in state.items()}


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.2 * x, x)


def dense(x: Tensor, weight: Tensor, bias: Tensor, rate: float = 1.0, gain: float = 1.0) -> Tensor:
    """Equalised learning rate; weight `(out, in)`."""
    return weight @ x * (gain * rate / math.sqrt(weight.shape[1])) + bias * rate


def mapped(layers: list[tuple[Tensor, Tensor]], z: Tensor, weight_gain: float, gain: float) -> Tensor:
    x = z / (z.square().mean() + 1e-8).sqrt()
    for weight, bias in layers:
        x = lrelu(dense(x, weight, bias, 0.01, weight_gain)) * gain
    return x


# StyleGAN2


def fir(x: Tensor, before: int, after: int) -> Tensor:
    """The published filter with the gain of 4 of an up-sampling by 2, zeros beyond the border."""
    kernel = (FIR * 4).double().expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, groups=x.shape[1])


def spread(x: Tensor, trailing: int = 1) -> Tensor:
    """Zeros between the pixels, and after the last one or not."""
    rows, columns = x.shape[2:]
    wide = x.new_zeros(*x.shape[:2], 2 * rows - 1 + trailing, 2 * columns - 1 + trailing)
    wide[:, :, ::2, ::2] = x
    return wide


def up_as_pytorch(x: Tensor, weight: Tensor) -> Tensor:
    """NVIDIA's and rosinality's: each pixel times the kernel, added up."""
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)


def up_as_tensorflow(x: Tensor, weight: Tensor) -> Tensor:
    """TensorFlow's and genforce's: zeros between the pixels, then a convolution as machine learning has it."""
    return F.conv2d(spread(x, trailing=0), weight, padding=2)


@dataclass(frozen=True)
class Modulated:
    """A layer of StyleGAN2: weight `(out, in, k, k)` and the factor its format's code puts on it, style of a w."""

    weight: Tensor
    factor: float
    style: Callable[[Tensor], Tensor]
    bias: Tensor
    noise: Tensor | None = None  # with its strength
    up: Up | None = None
    clamp: float | None = None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        weight = self.weight * self.factor * self.style(w)[None, :, None, None]
        if self.noise is None:
            return self.clamped(F.conv2d(x, weight) + self.bias.view(1, -1, 1, 1))
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        x = fir(self.up(x, weight), 1, 1) if self.up else F.conv2d(x, weight, padding=1)
        return self.clamped(lrelu(x + self.noise + self.bias.view(1, -1, 1, 1)) * math.sqrt(2))

    def clamped(self, x: Tensor) -> Tensor:
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


Layers = list[tuple[Modulated, ...]]  # a block: conv0 (not the first), conv1, toRGB


def skip(const: Tensor, blocks: Layers, ws: Tensor) -> Tensor:
    """The rows of w in their published order: each toRGB shares its own with the next block's first convolution."""
    x, image, row = const.reshape(1, -1, 4, 4), torch.zeros(1, 3, 2, 2, dtype=torch.float64), 0
    for *convolutions, rgb in blocks:
        for convolution in convolutions:
            x, row = convolution(x, ws[row]), row + 1
        image = fir(spread(image), 2, 1) + rgb(x, ws[row])
    return image[0]


def rosinality(content: Mapping[str, object]) -> Original:
    s = doubled(content["g_ema"])

    def layer(name: str, noise: int | None = None) -> Modulated:
        weight, style = s[f"{name}.conv.weight"][0], [s[f"{name}.conv.modulation.{end}"] for end in ("weight", "bias")]
        factor = 1 / math.sqrt(weight[0].numel())
        if noise is None:
            return Modulated(weight, factor, lambda w: dense(w, *style), s[f"{name}.bias"])
        map_ = s[f"noises.noise_{noise}"] * s[f"{name}.noise.weight"]
        up = up_as_pytorch if f"{name}.conv.blur.kernel" in s else None
        return Modulated(weight, factor, lambda w: dense(w, *style), s[f"{name}.activate.bias"], map_, up)

    num = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in s)
    blocks: Layers = [(layer("conv1", 0), layer("to_rgb1"))]
    for i in range(num):
        first, second = layer(f"convs.{2 * i}", 2 * i + 1), layer(f"convs.{2 * i + 1}", 2 * i + 2)
        blocks.append((first, second, layer(f"to_rgbs.{i}")))
    depth = sum(name.startswith("style.") for name in s) // 2
    fc = [(s[f"style.{i}.weight"], s[f"style.{i}.bias"]) for i in range(1, depth + 1)]
    return Original(lambda z: mapped(fc, z, 1, math.sqrt(2)), lambda ws: skip(s["input.input"], blocks, ws))


def genforce2(content: Mapping[str, object]) -> Original:
    s = doubled(content["generator_smooth"])

    def layer(name: str, up: Up | None = None) -> Modulated:
        weight, style = s[f"{name}.weight"], [s[f"{name}.style.{end}"] for end in ("weight", "bias")]
        noise = s[f"{name}.noise"] * s[f"{name}.noise_strength"] if f"{name}.noise" in s else None
        factor = 1 / math.sqrt(weight[0].numel())
        return Modulated(weight, factor, lambda w: dense(w, *style) + 1, s[f"{name}.bias"], noise, up)

    num = sum(name.startswith("synthesis.output") and name.endswith(".style.bias") for name in s)
    blocks: Layers = [(layer("synthesis.layer0"), layer("synthesis.output0"))]
    for k in range(1, num):
        first = layer(f"synthesis.layer{2 * k - 1}", up_as_tensorflow)
        blocks.append((first, layer(f"synthesis.layer{2 * k}"), layer(f"synthesis.output{k}")))
    fc = _mapping(s, "mapping.dense{}.weight", "mapping.dense{}.bias")
    const = s["synthesis.early_layer.const"]
    return Original(lambda z: mapped(fc, z, 1, math.sqrt(2)), lambda ws: skip(const, blocks, ws))


def nvidia_torch(module: Persistent) -> Original:
    """`G_ema`, its numbers as attributes; convolutions have no factor, the style of toRGB has."""

    def layer(part: Persistent) -> Modulated:
        weight, bias = part.weight.double(), part.bias.double()
        affine = [part.affine.weight.double(), part.affine.bias.double()]
        if not hasattr(part, "noise_const"):
            gain = 1 / math.sqrt(weight.shape[1])
            return Modulated(weight, 1, lambda w: dense(w, *affine) * gain, bias, clamp=part.conv_clamp)
        noise = part.noise_const.double() * part.noise_strength.double()
        up = up_as_pytorch if part.up == 2 else None
        return Modulated(weight, 1, lambda w: dense(w, *affine), bias, noise, up, part.conv_clamp)

    blocks: Layers = []
    for block in module.synthesis.children():
        names = ("conv0", "conv1", "torgb") if hasattr(block, "conv0") else ("conv1", "torgb")
        blocks.append(tuple(layer(getattr(block, name)) for name in names))
    fc = [(part.weight.double(), part.bias.double()) for part in module.mapping.children()]
    const = module.synthesis.b4.const.double()
    return Original(lambda z: mapped(fc, z, 1, math.sqrt(2)), lambda ws: skip(const, blocks, ws))


def nvidia_tf2(network: Network) -> Original:
    s, settings = _variables(network)

    def layer(name: str, noise: int | None = None, up: Up | None = None) -> Modulated:
        weight = s[f"{name}/weight"].permute(3, 2, 0, 1)  # as TensorFlow's convolution reads it
        mod, bias = s[f"{name}/mod_weight"], s[f"{name}/mod_bias"]
        map_ = None if noise is None else s[f"synthesis/noise{noise}"] * s[f"{name}/noise_strength"]
        factor, clamp = 1 / math.sqrt(weight[0].numel()), settings.get("conv_clamp")
        return Modulated(weight, factor, lambda w: dense(w, mod.T, bias) + 1, s[f"{name}/bias"], map_, up, clamp)

    num = sum(name.endswith("/ToRGB/weight") for name in s)
    blocks: Layers = [(layer("synthesis/4x4/Conv", 0), layer("synthesis/4x4/ToRGB"))]
    for k in range(1, num):
        scope = f"synthesis/{4 << k}x{4 << k}"
        first, second = layer(f"{scope}/Conv0_up", 2 * k - 1, up_as_tensorflow), layer(f"{scope}/Conv1", 2 * k)
        blocks.append((first, second, layer(f"{scope}/ToRGB")))
    fc = [(weight.T, bias) for weight, bias in _mapping(s, "mapping/Dense{}/weight", "mapping/Dense{}/bias")]
    const = s["synthesis/4x4/Const/const"]
    return Original(lambda z: mapped(fc, z, 1, math.sqrt(2)), lambda ws: skip(const, blocks, ws))


def _mapping(s: State, weight: str, bias: str) -> list[tuple[Tensor, Tensor]]:
    num = sum(weight.format(i) in s for i in range(64))
    return [(s[weight.format(i)], s[bias.format(i)]) for i in range(num)]


def _variables(network: Network, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, object]]:
    state = network.state
    found = {f"{prefix}{name}": torch.as_tensor(x).double() for name, x in state["variables"]}
    for name, component in state["components"].items():
        found |= _variables(component, f"{prefix}{name}/")[0]
    return found, dict(state["static_kwargs"])


# StyleGAN1


def blurred(x: Tensor) -> Tensor:
    return F.conv2d(x, BLUR.double().expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def nearest(x: Tensor, weight: Tensor) -> Tensor:
    """Each pixel four times, then a convolution; weight `(out, in, 3, 3)`."""
    return F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, padding=1)


def fused(x: Tensor, weight: Tensor) -> Tensor:
    """The kernel's four windows, one pixel apart, summed; then each pixel times that, added up."""
    taps = sum(F.pad(weight, (i, 1 - i, j, 1 - j)) for i in (0, 1) for j in (0, 1))
    return F.conv_transpose2d(x, taps.transpose(0, 1), stride=2, padding=1)


@dataclass(frozen=True)
class Styled:
    """A layer of StyleGAN1: weight `(out, in, 3, 3)`, none for the first; noise with a strength a channel."""

    weight: Tensor | None
    bias: Tensor
    noise: Tensor
    strength: Tensor
    style: Callable[[Tensor], Tensor]
    up: Up | None = None

    def __call__(self, x: Tensor, w: Tensor) -> Tensor:
        if self.weight is not None:
            weight = self.weight * math.sqrt(2 / self.weight[0].numel())
            x = blurred(self.up(x, weight)) if self.up else F.conv2d(x, weight, padding=1)
        x = lrelu(x + self.noise * self.strength.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1))
        x = x - x.mean((2, 3), keepdim=True)
        x = x / (x.square().mean((2, 3), keepdim=True) + 1e-8).sqrt()
        scale, shift = self.style(w).view(2, 1, -1, 1, 1)
        return x * (scale + 1) + shift


def chain(const: Tensor, layers: list[Styled], rgb: tuple[Tensor, Tensor], ws: Tensor, tanh: bool = False) -> Tensor:
    x = const.reshape(1, -1, 4, 4)
    for layer, w in zip(layers, ws, strict=True):
        x = layer(x, w)
    weight, bias = rgb
    image = F.conv2d(x, weight / math.sqrt(weight.shape[1])) + bias.view(1, 3, 1, 1)
    return image[0].tanh() if tanh else image[0]


def genforce1(content: Mapping[str, object]) -> Original:
    s = doubled(content["generator_smooth"])

    def layer(index: int) -> Styled:
        name, up = f"synthesis.layer{index}", (fused if index >= 10 else nearest) if index % 2 == 0 else None
        style = [s[f"{name}.style.{end}"] for end in ("weight", "bias")]
        noise, strength = s[f"{name}.apply_noise.noise"], s[f"{name}.apply_noise.weight"]
        return Styled(s.get(f"{name}.weight"), s[f"{name}.bias"], noise, strength, lambda w: dense(w, *style), up)

    num = sum(name.endswith(".apply_noise.noise") for name in s)
    last, layers = f"synthesis.output{num // 2 - 1}", [layer(index) for index in range(num)]
    rgb, const = (s[f"{last}.weight"], s[f"{last}.bias"]), s["synthesis.layer0.const"]
    fc = _mapping(s, "mapping.dense{}.weight", "mapping.dense{}.bias")
    return Original(lambda z: mapped(fc, z, math.sqrt(2), 1), lambda ws: chain(const, layers, rgb, ws))


def idinvert(content: Mapping[str, object]) -> Original:
    """Squashed at the end where the mapping network gives each layer a w of its own."""
    s = doubled(content)

    def layer(index: int) -> Styled:
        name, epilogue = f"synthesis.layer{index}", f"synthesis.layer{index}.epilogue"
        kernel = s.get(f"{name}.weight")  # [kh, kw, in, out] where up-sampling and convolution are one
        weight = s.get(f"{name}.conv.weight") if kernel is None else kernel.permute(3, 2, 0, 1)
        up = (nearest if kernel is None else fused) if index % 2 == 0 else None
        style = s[f"{epilogue}.style_mod.dense.fc.weight"], s[f"{epilogue}.style_mod.dense.wscale.bias"]
        noise, strength = s[f"{epilogue}.apply_noise.noise"], s[f"{epilogue}.apply_noise.weight"]
        return Styled(weight, s[f"{epilogue}.bias"], noise, strength, lambda w: dense(w, *style), up)

    num = sum(name.endswith(".apply_noise.noise") for name in s)
    last, layers = f"synthesis.output{num // 2 - 1}", [layer(index) for index in range(num)]
    rgb, const = (s[f"{last}.conv.weight"], s[f"{last}.bias"]), s["synthesis.layer0.const"]
    fc = _mapping(s, "mapping.dense{}.fc.weight", "mapping.dense{}.wscale.bias")
    tanh = fc[-1][0].shape[0] > s["truncation.w_avg"].shape[0]
    return Original(lambda z: mapped(fc, z, math.sqrt(2), 1), lambda ws: chain(const, layers, rgb, ws, tanh))


def nvidia_tf1(network: Network) -> Original:
    s, settings = _variables(network)
    start = {"auto": 128, True: 8, False: 1 << 20}[settings.get("fused_scale", "auto")]

    def layer(index: int) -> Styled:
        side = 4 << (index // 2)
        scope = (("Const", "Conv") if side == 4 else ("Conv0_up", "Conv1"))[index % 2]
        name, up = f"synthesis/{side}x{side}/{scope}", (fused if side >= start else nearest) if index % 2 == 0 else None
        weight = s[f"{name}/weight"].permute(3, 2, 0, 1) if index else None
        style = s[f"{name}/StyleMod/weight"].T, s[f"{name}/StyleMod/bias"]
        noise, strength = s[f"synthesis/noise{index}"], s[f"{name}/Noise/weight"]
        return Styled(weight, s[f"{name}/bias"], noise, strength, lambda w: dense(w, *style), up)

    num = sum(name.endswith("/Noise/weight") for name in s)
    rgb = s["synthesis/ToRGB_lod0/weight"].permute(3, 2, 0, 1), s["synthesis/ToRGB_lod0/bias"]
    layers, const = [layer(index) for index in range(num)], s["synthesis/4x4/Const/const"]
    fc = [(weight.T, bias) for weight, bias in _mapping(s, "mapping/Dense{}/weight", "mapping/Dense{}/bias")]
    return Original(lambda z: mapped(fc, z, math.sqrt(2), 1), lambda ws: chain(const, layers, rgb, ws))
