"""LPIPS v0.1 (Zhang et al. 2018): distances between unit-normalised features of an ImageNet network, calibrated."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.arithmetic import full
from zinv.errors import WeightsError, suggest
from zinv.networks.operators import channels_last, convolve
from zinv.networks.winograd import pays
from zinv.weights import read_state

Taps = tuple[Tensor, ...]
"""Features `(N, C, h, w)`, finest first."""

MEAN: Final = (-0.030, -0.088, -0.188)
STD: Final = (0.458, 0.448, 0.450)


LPIPSWeights = Annotated[str, "weights"] | Literal["random/vgg16", "random/alexnet"]
"""A weight file's name or path, or a network that is drawn from a seed: a stand-in for benchmarks and tests."""


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a torchvision network: "M" is a pooling, a tuple (width, kernel, stride)."""

    layers: tuple[str | tuple[int, int, int], ...]
    taps: tuple[int, ...]
    pool: int
    min_size: int
    linear: str


def _vgg(*stages: tuple[int, int]) -> tuple[str | tuple[int, int, int], ...]:
    layers: list[str | tuple[int, int, int]] = []
    for depth, width in stages:
        layers += [(width, 3, 1)] * depth + ["M"]
    return tuple(layers[:-1])


BACKBONES: Final = {
    "vgg16": Backbone(_vgg((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), (3, 8, 15, 22, 29), 2, 16, "vgg"),
    "alexnet": Backbone(
        ((64, 11, 4), "M", (192, 5, 1), "M", (384, 3, 1), (256, 3, 1), (256, 3, 1)), (1, 4, 7, 9, 11), 3, 31, "alex"
    ),
}


class LPIPS(nn.Module):
    """The distance, on images `(N, 3, H, W)` in [-1, 1]; unlike the `lpips` package, with finite gradients everywhere.

    Args:
        net: "vgg16" or "alexnet".
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: str) -> None:
        super().__init__()
        self.net, self.backbone = net, BACKBONES[net]
        self.features = _features(self.backbone)
        widths = [layer[0] for layer in self.backbone.layers if not isinstance(layer, str)]
        tapped = widths if net == "alexnet" else [64, 128, 256, 512, 512]
        self.linear = nn.ParameterList([torch.ones(1, width, 1, 1) for width in tapped])
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def taps(self, image: Tensor) -> Taps:
        """Unit-normalised features of the five taps."""
        x = (image - self.mean) / self.std
        taps = []
        for index, layer in enumerate(self.features):
            x = _convolved(layer, channels_last(x)) if isinstance(layer, nn.Conv2d) else layer(x)
            if index in self.backbone.taps:
                taps.append(unit(full(x)))
        return tuple(taps)

    def between(self, a: Taps, b: Taps) -> Tensor:
        """Distance `(N,)` of two images' taps."""
        tapped = zip(self.linear, a, b, strict=True)
        values = [(x - y).square().sum((2, 3)) @ weight.flatten() / x[0, 0].numel() for weight, x, y in tapped]
        return torch.stack(values).sum(0)

    def map(self, image: Tensor, target: Tensor) -> Tensor:
        """Where two images differ, `(N, 1, H, W)`: each tap's map, bilinearly upsampled, summed."""
        maps = self._maps(self.taps(image), self.taps(target))
        up = [F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False) for x in maps]
        return torch.stack(up).sum(0)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Distance `(N,)` of two images."""
        return self.between(self.taps(image), self.taps(target))

    def _maps(self, a: Taps, b: Taps) -> list[Tensor]:
        pairs = zip(self.linear, a, b, strict=True)
        return [(weight * (x - y).square()).sum(1, keepdim=True) for weight, x, y in pairs]


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    steps = x.requires_grad and torch.is_grad_enabled()
    if layer.bias is None or not (steps and pays(x, layer.weight)):
        return layer(x)
    return convolve(x, layer.weight, padding=1) + layer.bias[:, None, None]


def unit(features: Tensor) -> Tensor:
    """Each position's vector over its length; `vector_norm` has gradient 0, not NaN, where the vector is 0."""
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features * (length + 1e-10).reciprocal()


def _features(backbone: Backbone) -> nn.Sequential:
    modules: list[nn.Module] = []
    channels = 3
    for layer in backbone.layers:
        if isinstance(layer, str):
            modules.append(nn.MaxPool2d(backbone.pool, 2))
        else:
            width, kernel, stride = layer
            padding = 2 if kernel > 3 else 1
            modules += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*modules)


def load_lpips(weights: str = "lpips/vgg16", seed: int = 0) -> LPIPS:
    """The frozen network of a weight file (torchvision's state dict), with the `lpips` package's linear layers.

    Args:
        weights: "lpips/vgg16", "lpips/alexnet", a path, or "random/vgg16": drawn, for benchmarks and tests.
        seed: of a random network.

    Raises:
        WeightsError: a file is missing, broken or of another network.
    """
    kind, _, net = weights.partition("/")
    network = _drawn(net, seed) if kind == "random" else _read(weights)
    for parameter, value in zip(network.linear, _linear(network.backbone.linear), strict=True):
        parameter.data.copy_(value)
    return network.requires_grad_(False).eval()


def _read(weights: str) -> LPIPS:
    state = read_state(weights)
    own = {k.removeprefix("features."): x for k, x in state.items() if k.startswith("features.")}
    network = _empty(_recognise(weights, own))
    network.features.load_state_dict(own)
    return network


def _drawn(net: str, seed: int) -> LPIPS:
    if net not in BACKBONES:
        raise WeightsError(f"random/{net}: no such network. {suggest(net, BACKBONES)}")
    network, rng = _empty(net), torch.Generator().manual_seed(seed)
    for name, parameter in network.features.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, generator=rng)
        else:
            nn.init.zeros_(parameter)
    return network


def _empty(net: str) -> LPIPS:
    with torch.random.fork_rng(devices=[]):
        return LPIPS(net)


def _recognise(weights: str, state: Mapping[str, Tensor]) -> str:
    shapes = {name: x.shape for name, x in state.items()}
    with torch.device("meta"):
        known = {net: _features(backbone).state_dict() for net, backbone in BACKBONES.items()}
    for net, expected in known.items():
        if shapes == {name: x.shape for name, x in expected.items()}:
            return net
    raise WeightsError(f"{weights}: not torchvision's {' or '.join(BACKBONES)}: other layers or shapes.")


def _linear(net: str) -> list[Tensor]:
    package = importlib.util.find_spec("lpips")  # found, not imported: its import takes seconds
    if package is None or not package.submodule_search_locations:
        raise WeightsError("LPIPS: its linear layers ship inside the package lpips: pip install lpips==0.1.4.")
    path = Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth"
    return [x for _, x in sorted(read_state(str(path)).items())]
