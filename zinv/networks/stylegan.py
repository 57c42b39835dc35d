"""What StyleGAN1 and StyleGAN2 share as networks: sizes, names of layers and points, blocks by resolution."""

from __future__ import annotations

import math
from collections import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from zinv.networks.operators import EqualLinear, pixel_norm

MAX_WIDTH, MAX_LAYERS = 2**16, 64
MAPPING_LR = 0.01
PARTS = ("conv0", "conv1", "torgb", "out")

Edits = abc.Mapping[str, tuple[Tensor, Tensor | float]]
"""At a point, `(value, keep)`: the feature x becomes `x * keep + value`."""


@dataclass(frozen=True)
class Architecture:
    """What a file must tell: `channels` are the widths at 4, 8, … `resolution` pixels.

    Raises:
        ValueError: sizes that no network has, from a file that is not what it says.
    """

    resolution: int
    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8

    def __post_init__(self) -> None:
        sizes = (self.resolution, self.z_dim, self.w_dim, *self.channels)
        if not all(type(size) is int and 1 <= size <= MAX_WIDTH for size in sizes):
            raise ValueError(f"sizes {', '.join(map(str, sizes))[:200]} are not numbers from 1 to {MAX_WIDTH}")
        if self.resolution != 2 * 2 ** len(self.channels) or not self.channels:
            raise ValueError(f"{len(self.channels)} widths from 4 pixels on do not end at {self.resolution}")
        if not (type(self.mapping_layers) is int and 1 <= self.mapping_layers <= MAX_LAYERS):
            raise ValueError(f"{str(self.mapping_layers)[:200]} mapping layers are not from 1 to {MAX_LAYERS}")

    @property
    def num_ws(self) -> int:
        return 2 * len(self.channels)


@dataclass(frozen=True)
class StyledLayer:
    """One modulated layer: its name (`b16.conv0`), the row of ws that it reads, its style's width."""

    name: str
    row: int
    dim: int


def order(name: str) -> tuple[int, int]:
    """Sorts layers and points as they are computed.

    >>> sorted(["b8.out", "b16.conv0", "b8.torgb", "b4.conv1"], key=order)
    ['b4.conv1', 'b8.torgb', 'b8.out', 'b16.conv0']
    """
    side, part = name[1:].split(".")
    return int(side), PARTS.index(part)


def block_points(num_blocks: int) -> list[str]:
    """Where features can be taken or changed: before 4 pixels there is no base code, after the last block nothing."""
    return [f"b{4 * 2**k}.{part}" for k in range(num_blocks) for part in ("conv0", "out")][1:-1]


@dataclass
class Visits:
    """Takes and changes features at points on the way.

    Args:
        edits: changes by point.
        taps: points whose features, before any edit, are wanted.
    """

    edits: Edits | None
    taps: Sequence[str]
    found: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, point: str, x: Tensor) -> Tensor:
        """The feature at a point, changed if there is an edit."""
        if point in self.taps:
            self.found[point] = x
        if self.edits is None or point not in self.edits:
            return x
        value, keep = self.edits[point]
        return x * keep + value


class Mapping(nn.Module):
    """z to w: `(N, z_dim)` to `(N, *row_shape)`; the norm of z is removed unless `normalize` is False.

    Args:
        arch: widths and depth.
        row_shape: of w.
        bias_gain: of the biases, which StyleGAN2's gain after the activation multiplies too.
    """

    w_avg: Tensor

    def __init__(self, arch: Architecture, row_shape: tuple[int, ...], bias_gain: float):
        super().__init__()
        self.num_layers, self.row_shape = arch.mapping_layers, row_shape
        widths = [arch.z_dim, *[arch.w_dim] * (arch.mapping_layers - 1), math.prod(row_shape)]
        for i in range(arch.mapping_layers):
            layer = EqualLinear(widths[i], widths[i + 1], lr_mul=MAPPING_LR, active=True)
            layer.bias_gain = bias_gain * MAPPING_LR
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(arch.w_dim))

    def forward(self, z: Tensor, normalize: bool = True) -> Tensor:
        x = pixel_norm(z) if normalize else z
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x.unflatten(-1, self.row_shape)


class Layer(Protocol):
    """What every modulated layer has: the affine map from w to its style."""

    affine: EqualLinear


Block = TypeVar("Block", bound=nn.Module)
AnyLayer = TypeVar("AnyLayer", bound=Layer, covariant=True)


class Blocks(nn.Module, Generic[Block, AnyLayer]):
    """Blocks `b4`, `b8`, … whose layers are addressed by name."""

    def __init__(self, blocks: Sequence[Block]):
        super().__init__()
        self.resolutions = [4 * 2**k for k in range(len(blocks))]
        for resolution, block in zip(self.resolutions, blocks, strict=True):
            self.add_module(f"b{resolution}", block)

    def layer(self, name: str) -> AnyLayer:
        """The module of a layer's name, such as `b16.conv0`."""
        return cast(AnyLayer, self.get_submodule(name))

    def block(self, resolution: int) -> Block:
        """The block of a resolution."""
        return cast(Block, self.get_submodule(f"b{resolution}"))

    def computed(self, point: str) -> list[int]:
        """Resolutions of the blocks that a base code at this point leaves; all if there is none ("")."""
        if not point:
            return self.resolutions
        start, part = int(point[1:].split(".")[0]), point.split(".")[1]
        return [r for r in self.resolutions if r > start or (r == start and part == "conv0")]
