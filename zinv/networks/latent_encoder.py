"""A feature-pyramid encoder of pictures into a latent space, as e4e's (Tov et al. 2021), at any size."""

from __future__ import annotations

import math
from typing import ClassVar, Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.images import Resize, resize
from zinv.networks.encoders import RowEncoder, Sizes
from zinv.networks.operators import EqualLinear

REDUCTION: Final = 16  # of channels in squeeze-and-excitation
MIDDLE_FROM, FINE_FROM = 3, 7  # rows that are read from the pyramid's second and third level


class LatentEncoder(RowEncoder):
    """IR-SE units in four stages that each halve the picture, three pyramid levels, a style block a row.

    Row 0 is `mean + s_0(c3)`, row i is row 0 plus the offset `s_i(level)`. Modules have the names of e4e's files, whose
    widths are the defaults.

    Args:
        size: side of the pictures that the first layer sees.
        num_rows: rows of the space.
        dim: of a row.
        widths: channels of the stages; the last is the pyramid's.
        units: residual units of each stage.
        head: channels of a style block.
        resize: filter that brings pictures to `size`.
    """

    kind: ClassVar[str] = "latent encoder"
    model: ClassVar[str] = "latent_encoder"
    latent_avg: Tensor

    def __init__(
        self,
        size: int,
        num_rows: int,
        dim: int,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        units: tuple[int, ...] = (3, 4, 14, 3),
        head: int = 512,
        resize: Resize = "area",
    ) -> None:
        super().__init__(size, num_rows, dim)
        self.widths, self.units, self.head, self.resize = tuple(widths), tuple(units), head, resize
        depths = [width for width, num in zip(widths, units, strict=True) for _ in range(num)]
        firsts = {sum(units[:i]) for i in range(len(units))}
        pairs = zip([widths[0], *depths], depths, strict=False)
        self.input_layer = nn.Sequential(_conv(3, widths[0]), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0]))
        self.body = nn.Sequential(*(_Unit(a, b, 2 if i in firsts else 1) for i, (a, b) in enumerate(pairs)))
        self.tapped = [sum(units[: i + 1]) - 1 for i in (1, 2, 3)]
        self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)
        sides = [size >> 4 << _level(i) for i in range(num_rows)]
        self.styles = nn.ModuleList(_Head(widths[3], head, dim, side) for side in sides)
        self.register_buffer("latent_avg", torch.zeros(num_rows, dim))

    @classmethod
    def small(cls, size: int, num_rows: int, dim: int) -> Self:
        """A narrow one, for tests."""
        return cls(size, num_rows, dim, (4, 4, 8, 8), (1, 1, 1, 1), 8)

    def architecture(self) -> Sizes:
        """The constructor's arguments."""
        sides: Sizes = {"size": self.size, "num_rows": self.num_rows, "dim": self.dim, "head": self.head}
        return {**sides, "widths": list(self.widths), "units": list(self.units), "resize": self.resize}

    @torch.no_grad()
    def centre(self, prior: Tensor) -> None:
        """Offsets begin at the prior's mean, about as large as its standard deviation."""
        self.latent_avg.copy_(prior.mean(0))
        for style in self.styles:
            assert isinstance(style, _Head)
            style.linear.weight.mul_(prior.std(0).mean())

    def forward(self, images: Tensor, stage: int | None = None) -> Tensor:
        """Rows `(N, num_rows, dim)`; from row `stage` + 1 on without their own offsets, if it is given."""
        levels = self._pyramid(resize(images, self.size, self.resize))
        last = self.num_rows - 1 if stage is None else stage
        first: Tensor = self.styles[0](levels[0])
        offsets = [self.styles[i](levels[_level(i)]) if i <= last else 0 for i in range(1, self.num_rows)]
        return torch.stack([first, *(first + offset for offset in offsets)], 1) + self.latent_avg

    def _pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, taps = self.input_layer(x), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.tapped:
                taps.append(x)
        coarse = taps[2]
        middle = _upsampled(coarse, taps[1]) + self.latlayer1(taps[1])
        return coarse, middle, _upsampled(middle, taps[0]) + self.latlayer2(taps[0])


class _Unit(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        first = [nn.BatchNorm2d(before), _conv(before, width), nn.PReLU(width)]
        last = [_conv(width, width, stride), nn.BatchNorm2d(width), _Excitation(width)]
        self.res_layer = nn.Sequential(*first, *last)
        short = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride) if before == width else short

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.res_layer(x)
        return change + self.shortcut_layer(x)


class _Excitation(nn.Module):
    """Each channel times a number that all channels' means decide on (Hu et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(1, width // REDUCTION)
        self.fc1 = nn.Conv2d(width, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(means))))


class _Head(nn.Module):
    """A level of the pyramid, halved down to a pixel, to a row."""

    def __init__(self, inputs: int, width: int, dim: int, side: int) -> None:
        super().__init__()
        num = max(1, int(math.log2(max(side, 1))))
        # one pixel is not halved: oneDNN leaves parts of that bfloat16 convolution's weight gradient unset
        stride = 2 if side > 1 else 1
        convs = [_conv(width if i else inputs, width, stride, bias=True) for i in range(num)]
        self.convs = nn.Sequential(*(layer for conv in convs for layer in (conv, nn.LeakyReLU())))
        self.linear = EqualLinear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        row: Tensor = self.linear(self.convs(x).flatten(1))
        return row


def _level(row: int) -> int:
    return 0 if row < MIDDLE_FROM else 1 if row < FINE_FROM else 2


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
    nn.init.kaiming_normal_(conv.weight, a=0.01)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
