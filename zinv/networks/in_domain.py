"""IDInvert's encoder (Zhu et al. 2020), with the layout of its published PyTorch files."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.images import Resize, resize
from zinv.networks.encoders import RowEncoder, Sizes


class InDomainEncoder(RowEncoder):
    """Residual blocks, each after a halving of the picture down to 4 pixels, then one layer to all rows.

    The last layer's batch normalisation has fixed scales: those of the prior, so that codes have its spread.

    Args:
        size: side of the pictures that the first layer sees, a power of two from 8 on.
        num_rows: rows of the space.
        dim: of a row.
        width: channels of the first block, doubled from block to block.
        max_width: of a block.
        resize: filter that brings pictures to `size`.
    """

    kind: ClassVar[str] = "in-domain encoder"
    model: ClassVar[str] = "in_domain_encoder"

    def __init__(
        self, size: int, num_rows: int, dim: int, width: int = 64, max_width: int = 1024, resize: Resize = "area"
    ) -> None:
        super().__init__(size, num_rows, dim)
        self.width, self.max_width, self.resize = width, max_width, resize
        self.num_blocks = int(math.log2(size)) - 2
        widths = [min(width << i, max_width) for i in range(self.num_blocks + 1)]
        self.block0 = _First(widths[0])
        for i in range(1, len(widths)):
            self.add_module(f"block{i}", _Residual(widths[i - 1], widths[i]))
        self.add_module(f"block{len(widths)}", _Last(16 * widths[-1], num_rows * dim))

    @classmethod
    def small(cls, size: int, num_rows: int, dim: int) -> Self:
        """A narrow one, for tests."""
        return cls(size, num_rows, dim, 4, 8)

    def architecture(self) -> Sizes:
        """The constructor's arguments."""
        sides: Sizes = {"size": self.size, "num_rows": self.num_rows, "dim": self.dim}
        return {**sides, "width": self.width, "max_width": self.max_width, "resize": self.resize}

    @torch.no_grad()
    def centre(self, prior: Tensor) -> None:
        """Codes begin with the prior's mean and standard deviation."""
        norm = self._last.bn.bn
        norm.weight.copy_(prior.std(0).flatten())
        norm.bias.copy_(prior.mean(0).flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Rows `(N, num_rows, dim)`."""
        x = self.block0(resize(images, self.size, self.resize))
        for i in range(1, self.num_blocks + 1):
            x = self.get_submodule(f"block{i}")(F.avg_pool2d(x, 2))
        rows: Tensor = self._last(x.flatten(1))
        return rows.unflatten(1, (self.num_rows, self.dim))

    @property
    def _last(self) -> _Last:
        last = self.get_submodule(f"block{self.num_blocks + 1}")
        assert isinstance(last, _Last)
        return last


class _Norm(nn.Module):
    """Batch normalisation whose scale is not learned."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.bn = norm
        self.bn.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.bn(x)
        return normed


class _Bias(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


class _First(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.bn = _conv(3, width), _Norm(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return _active(self.bn(self.conv(x)))


class _Residual(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        hidden = min(before, width)
        self.conv1, self.wscale1, self.bn1 = _conv(before, hidden), _Bias(hidden), _Norm(nn.BatchNorm2d(hidden))
        self.conv2, self.wscale2, self.bn2 = _conv(hidden, width), _Bias(width), _Norm(nn.BatchNorm2d(width))
        self.widens = before != width
        if self.widens:
            self.conv, self.bn = _conv(before, width, 1), _Norm(nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        short = _active(self.bn(self.conv(x))) if self.widens else x
        x = _active(self.bn1(self.wscale1(self.conv1(x))))
        return _active(self.bn2(self.wscale2(self.conv2(x)))) + short


class _Last(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(inputs, outputs, bias=False), _Norm(nn.BatchNorm1d(outputs))
        self.gain = 1 / math.sqrt(inputs)
        nn.init.normal_(self.fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.fc(x) * self.gain)


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _conv(inputs: int, outputs: int, side: int = 3) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    return conv
