"""The Generator: what every method and space may ask of a StyleGAN, whichever one it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zinv.errors import CheckpointError, ConfigError, suggest

Styles = tuple[Tensor, ...]
"""One style vector `(N, C)` a modulated layer, lowest first; StyleSpace S is these, concatenated."""

Noise = Literal["const", "none"] | Sequence[Tensor]
"""The checkpoint's own maps, none, or one `(N, 1, h, w)` tensor a noise layer that is computed."""

BaseCode = tuple[str, Tensor]
"""A point and the feature `(N, C, h, w)` that synthesis starts from there."""


@dataclass(frozen=True)
class FeatureEdit:
    """A change of the feature x at a point, to `x * keep + value`.

    SAM's inversions add under a mask (keep 1); its edits blend (keep 1 - mask).
    """

    value: Tensor
    keep: Tensor | float = 0.0


class Generator(nn.Module, ABC):
    """A frozen StyleGAN: z to w to styles to image. Rendering is pure: it draws nothing and keeps no state.

    Shapes: z `(N, z_dim)`, w `(N, w_dim)`, ws `(N, num_ws, w_dim)`, images `(N, 3, R, R)` in [-1, 1], not clipped.

    Attributes:
        first_ws: the row of the whole generator that this view's row 0 is.
        points: where features can be taken or changed: "b16.conv0" (base code), "b16.out" (after block and toRGB).
        style_dims: widths of the styles, lowest layer first.
        style_names: their layers, `b16.conv0`.
        sha256: digest of the content; statistics and encoders are tied to it.
        trained: False for the toys, which may be used with untrained encoders.
        w_per_layer: the mapping network gives each row a w of its own, so there is no W.
        base_is_exact: a base code of a point's own features renders the same image, as nothing below is lost.
    """

    trained: bool = True
    w_per_layer: bool = False
    base_is_exact: bool = False
    kind: str
    resolution: int
    z_dim: int
    w_dim: int
    num_ws: int
    w_avg: Tensor
    first_ws: int = 0
    points: tuple[str, ...]
    style_dims: tuple[int, ...]
    style_names: tuple[str, ...]
    sha256: str

    @abstractmethod
    def mapping(self, z: Tensor, normalize: bool = True) -> Tensor:
        """`(N, z_dim)` to `(N, *w_shape)`, untruncated; `normalize=False` leaves the norm of z in."""

    def map_rows(self, z: Tensor, normalize: bool = True) -> Tensor:
        """`(N, L, z_dim)` to `(N, L, w_dim)`, row i to row i, as one batch."""
        w = self.mapping(z.flatten(0, 1), normalize).unflatten(0, z.shape[:2])
        return w.diagonal(dim1=1, dim2=2).mT if self.w_per_layer else w

    @property
    def w_shape(self) -> tuple[int, ...]:
        """What the mapping network makes of one z: `(w_dim,)`, or `(num_ws, w_dim)`."""
        return (self.num_ws, self.w_dim) if self.w_per_layer else (self.w_dim,)

    def as_ws(self, w: Tensor) -> Tensor:
        """`(N, *w_shape)` to `(N, num_ws, w_dim)`: one w for all rows, unless each has its own."""
        return w if w.dim() == 3 else w[:, None].expand(-1, self.num_ws, -1)

    @abstractmethod
    def affine(self, ws: Tensor) -> Styles:
        """`(N, num_ws, w_dim)` to the style vectors."""

    @abstractmethod
    def synthesis(
        self,
        styles: Styles,
        base: BaseCode | None = None,
        edits: Mapping[str, FeatureEdit] | None = None,
        noise: Noise = "const",
    ) -> Tensor:
        """Styles to images `(N, 3, R, R)`.

        Args:
            styles: as `affine` gives them.
            base: starts there, RGB (where blocks add to it) from zero; nothing below is computed.
            edits: changes of features at points; everything below is computed and its RGB kept.
            noise: "const" for the checkpoint's maps, "none", or a map a noise layer.
        """

    @abstractmethod
    def features(
        self, styles: Styles, points: Sequence[str], edits: Mapping[str, FeatureEdit] | None = None
    ) -> dict[str, Tensor]:
        """The tensors that `base` and `edits` take at those points; under edits, before each point's own."""

    @abstractmethod
    def above(self, point: str) -> Generator:
        """A view of what is left above a base code at `point`: its rows, styles and points."""

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        """`(h, w)` of each noise layer, lowest first."""
        raise NotImplementedError

    def check_point(self, point: str) -> None:
        """Raise ConfigError if the generator has no such point."""
        if point not in self.points:
            raise ConfigError(f"{point}: this generator has no such point. {suggest(point, self.points)}")


class Unfilled(TorchFunctionMode):
    """Inside, networks are built without memory for their weights and without draws, for `fill` to follow.

    The meta device would do, but to draw there torch first imports its compiler, for seconds and a hundred megabytes.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Random tensors get a shape and no content, also when they are scaled."""
        if func is torch.randn:
            return torch.empty(*args, device="meta")  # type: ignore[call-overload]
        return args[0] if func is Tensor.div else func(*args, **(kwargs or {}))


def fill(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Make the tensors of a file those of networks, without a copy; names begin with the network's own.

    Networks built as `Unfilled` were never allocated or drawn.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; names it.
    """
    own = {f"{part}.{name}": x for part, network in networks.items() for name, x in network.state_dict().items()}
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors:
            raise CheckpointError(f"{name}: not in the file.")
        if name not in own or own[name].shape != tensors[name].shape:
            raise CheckpointError(f"{name}: shape {tuple(tensors[name].shape)} does not fit the architecture.")
    for part, network in networks.items():
        state = {name: tensors[f"{part}.{name}"].to(x.dtype) for name, x in network.state_dict().items()}
        network.load_state_dict(state, assign=True)


def base_size(generator: Generator) -> int:
    """Default side of a base code, max(8, min(16, R / 8)): 16 from 128 pixels on, 8 below."""
    return max(8, min(16, generator.resolution // 8))


def base_point(generator: Generator, size: int | None = None, key: str = "size") -> str:
    """The point of a base code of this side, by default of `base_size`.

    Raises:
        ConfigError: the generator has none of this side; names `key`.
    """
    sizes = [int(point[1:].removesuffix(".conv0")) for point in generator.points if point.endswith(".conv0")]
    if size is not None and size not in sizes:
        raise ConfigError(f"{key}={size}: not the side of a base code. Give one of {', '.join(map(str, sizes))}.")
    return f"b{size or base_size(generator)}.conv0"


def base_row(size: int) -> int:
    """First row of ws that still counts above a base code of a side: M0 = 2 (log2 size - 2).

    >>> base_row(16)
    4
    """
    return 2 * (int(math.log2(size)) - 2)
