"""The Generator: what every method and space may ask of a StyleGAN, whichever one it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from zinv.errors import ConfigError, suggest

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
        sha256: digest of the content; statistics and encoders are tied to it.
        trained: False for the toys, which may be used with untrained encoders.
    """

    trained: bool = True
    kind: str
    resolution: int
    z_dim: int
    w_dim: int
    num_ws: int
    w_avg: Tensor
    first_ws: int = 0
    points: tuple[str, ...]
    style_dims: tuple[int, ...]
    sha256: str

    @abstractmethod
    def mapping(self, z: Tensor, normalize: bool = True) -> Tensor:
        """`(N, z_dim)` to `(N, w_dim)`, untruncated; `normalize=False` leaves the norm of z in."""

    def map_rows(self, z: Tensor, normalize: bool = True) -> Tensor:
        """`(N, L, z_dim)` to `(N, L, w_dim)`, row i to row i, as one batch."""
        return self.mapping(z.flatten(0, 1), normalize).unflatten(0, z.shape[:2])

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
            base: starts there, RGB from zero; nothing below is computed.
            edits: changes of features at points; everything below is computed and its RGB kept.
            noise: "const" for the checkpoint's maps, "none", or a map a noise layer.
        """

    @abstractmethod
    def features(self, styles: Styles, points: Sequence[str]) -> dict[str, Tensor]:
        """The tensors that `base` and `edits` take at those points."""

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


def base_size(generator: Generator) -> int:
    """Default side of a base code, max(8, min(16, R / 8)): 16 from 128 pixels on, 8 below."""
    return max(8, min(16, generator.resolution // 8))


def base_row(size: int) -> int:
    """First row of ws that still counts above a base code of a side: M0 = 2 (log2 size - 2).

    >>> base_row(16)
    4
    """
    return 2 * (int(math.log2(size)) - 2)
