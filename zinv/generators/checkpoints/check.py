"""What is checked of each generator that was read, and the line that says so.

Shapes are checked where the networks are filled. A value that is not finite is an error. What follows from statistics
is a doubt, which the line ends with: random weights are no error, though nothing can be said of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Checkpoint, GeneratorArchitecture, convolutions, energy
from zinv.generators.checkpoints.sampling import give_back, prior
from zinv.generators.stylegan2 import stylegan2_from_tensors
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture

DRAWS: Final = 2000
FARTHEST: Final = 0.2  # of the spread of w; the portraits' mean is at .025, where 2,000 draws' own error is .022
SIZES: Final = (64, 32, 16, 8, 4)  # pixels: the first whose features are few enough, to take seconds on one core
MOST_FEATURES: Final = 1 << 20
IMAGES: Final = 6
PSI: Final = 0.5
SURE: Final = 3.0  # standard errors
KERNELS: Final = 0.5  # change of the logarithm of the detail that counts
OFFSET: Final = 0.5  # a wrong one is of 1


@dataclass(frozen=True)
class Findings:
    """What the statistics say.

    Attributes:
        doubts: signs that the file was read wrong, or is.
        confirmed: "kernels", "style biases"; nothing where pictures have no structure that could tell.
    """

    doubts: tuple[str, ...]
    confirmed: tuple[str, ...]


NOTHING: Final = Findings((), ())


def examine(checkpoint: Checkpoint) -> Findings:
    """Look for what goes wrong when others' files are read.

    Raises:
        CheckpointError: a value is not finite.
    """
    arch, tensors = checkpoint.architecture, checkpoint.tensors
    for name, tensor in tensors.items():
        if not math.isfinite(tensor.sum()):
            raise CheckpointError(f"{name}: not all of its values are finite")
    if not isinstance(arch, StyleGAN1Architecture | StyleGAN2Architecture):
        return NOTHING
    doubts = (*_mean_doubts(arch, tensors), *_average_doubts(checkpoint))
    conversion = _conversion(arch, tensors) if isinstance(arch, StyleGAN2Architecture) else NOTHING
    return Findings((*doubts, *conversion.doubts), conversion.confirmed)


def line(checkpoint: Checkpoint, findings: Findings, sha256: str) -> str:
    """One line: format, architecture, parameters, digest, and what the check found."""
    num = sum(x.numel() for name, x in checkpoint.tensors.items() if not name.endswith(("w_avg", "noise_const")))
    entry = f" ({checkpoint.entry})" if checkpoint.entry else ""
    parts = [f"{checkpoint.format} {checkpoint.what}{entry}: {_shown(checkpoint)}, {num:,} parameters"]
    parts += [f"sha256 {sha256[:16]}…", *checkpoint.notes]
    if findings.confirmed:
        parts.append(f"{' and '.join(findings.confirmed)} confirmed")
    return ", ".join(parts) + "".join(f"; DOUBT: {doubt}" for doubt in findings.doubts) + "."


def _shown(checkpoint: Checkpoint) -> str:
    arch = checkpoint.architecture
    if not isinstance(arch, StyleGAN1Architecture | StyleGAN2Architecture):
        return ", ".join(f"{name} {value}" for name, value in arch.items())
    extra = ["a w a layer"] * getattr(arch, "w_per_layer", False) + ["tanh"] * getattr(arch, "tanh", False)
    clamp = getattr(arch, "clamp", None)
    extra += [f"clamped at {clamp:g}"] if clamp else []
    widths = " ".join(map(str, arch.channels))
    sizes = f"z {arch.z_dim}, w {arch.w_dim}, {arch.mapping_layers} mapping layers"
    return ", ".join([f"{arch.resolution} pixels, widths {widths}, {sizes}", *extra])


def _mean_doubts(arch: GeneratorArchitecture, tensors: Mapping[str, Tensor]) -> list[str]:
    mean, spread = prior(arch, tensors, DRAWS, seed=1)
    distance = float((tensors["mapping.w_avg"] - mean).norm() / spread)
    far = f"w_avg lies {distance:.2g} standard deviations from the mean of {DRAWS:,} draws, not below {FARTHEST:g}"
    return [] if distance < FARTHEST else [far]


def _average_doubts(checkpoint: Checkpoint) -> list[str]:
    """An average over training lags, and loses what fluctuates: its convolutions are smaller.

    No gradient of a demodulated or normalised layer points along its weight, so that each step makes the weight longer.
    """
    if checkpoint.raw_energy is None:
        return []
    own = energy(convolutions(checkpoint.tensors).values())
    larger = "its weights are larger than those of the generator in training: is it the average?"
    return [larger] if own > checkpoint.raw_energy else []


def _conversion(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> Findings:
    """The two classic mistakes of conversion. StyleGAN1's formats differ in neither, so that there is none to make."""
    offset, kernels = _offset_doubts(tensors), _kernels(arch, tensors)
    confirmed = (*kernels.confirmed, "style biases") if kernels.confirmed and not offset else kernels.confirmed
    return Findings((*kernels.doubts, *offset), confirmed)


def _offset_doubts(tensors: Mapping[str, Tensor]) -> list[str]:
    """Style biases start at 1, and stay near: in the layers of the portraits' prior their medians are .86 to 1.35.

    Pictures tell less: with biases too small by 1 the prior's have as much fine detail as they should.
    """
    median = float(torch.cat([x for name, x in tensors.items() if name.endswith("affine.bias")]).median())
    far = f"style biases have a median of {median:.2g}, not near 1: is their offset wrong?"
    return [] if abs(median - 1) < OFFSET else [far]


def _kernels(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> Findings:
    """Is there more fine detail in small pictures if the up-sampling kernels are turned?

    Trained layers work together towards edges, and kernels turned blur: on the portraits' prior the share of fine
    detail falls by a factor of 40, while random weights hardly notice.
    """
    arch, low = _low(arch, tensors)
    own = _detail(arch, low)
    with _turned(low):
        gain = _detail(arch, low) - own
    mean, error = float(gain.mean()), float(gain.std()) / len(gain) ** 0.5
    if abs(mean) < max(KERNELS, SURE * error):
        return NOTHING
    if mean > 0:
        doubt = f"with the up-sampling kernels turned, pictures have {math.exp(mean):.2g} times the fine detail"
        return Findings((doubt,), ())
    return Findings((), ("kernels",))


@torch.no_grad()
def _detail(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> Tensor:
    """Fine detail `(N,)` of images without noise, truncated."""
    generator = stylegan2_from_tensors(arch, tensors, sha256="not asked for")
    for layer in generator.synthesis_network.modules():
        layer.register_forward_hook(lambda *_: give_back())  # each convolution copies its weight
    z = torch.randn(IMAGES, arch.z_dim, generator=torch.Generator().manual_seed(2))
    w = generator.w_avg + PSI * (generator.mapping(z) - generator.w_avg)
    styles = [generator.affine(one) for one in generator.as_ws(w).split(1)]
    return torch.cat([fine_detail(generator.synthesis(one, noise="none")) for one in styles])


def fine_detail(x: Tensor) -> Tensor:
    """`(N, C, H, W)` to `(N,)`: logarithm of the power of the Laplacian over that of the picture without its mean."""
    kernel = x.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(x.shape[1], 1, 3, 3)
    fine = F.conv2d(x, kernel, groups=x.shape[1]).square().mean((2, 3)).sum(1)
    whole = (x - x.mean((2, 3), keepdim=True)).square().mean((2, 3)).sum(1)
    return (fine / whole.clamp(min=1e-30)).clamp(min=1e-30).log()


def _low(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor]) -> tuple[StyleGAN2Architecture, dict[str, Tensor]]:
    """The generator up to a small size."""
    sides = {4 << k: width for k, width in enumerate(arch.channels)}
    size = next(side for side in SIZES if side in sides and (sides[side] * side**2 <= MOST_FEATURES or side <= 32))
    low = {k: x for k, x in tensors.items() if k.startswith("mapping.") or int(k.split(".")[1][1:]) <= size}
    return replace(arch, resolution=size, channels=arch.channels[: size.bit_length() - 2]), low


@contextmanager
def _turned(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Up-sampling kernels turned for a while, in their place, since a copy would be a third of a large file."""
    kernels = [x for name, x in tensors.items() if name.endswith("conv0.weight")]
    for kernel in kernels:
        kernel.copy_(kernel.flip(2, 3))
    try:
        yield
    finally:
        for kernel in kernels:
            kernel.copy_(kernel.flip(2, 3))
