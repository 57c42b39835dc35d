"""Winograd's convolution F(4 × 4, 3 × 3): 36 multiplications for 144, for the wide layers of a step on a CPU.

An output tile of 4 × 4 pixels is `A^T [(G w G^T) * (B^T d B)] A` of its 6 × 6 input pixels d (Lavin and Gray 2016,
section 4.1), here with the two axes of a tile as one of 36 and the channels last. In float32 a result is off by 3e-6
of its length, a direct convolution's by 2e-7.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

# Of the points 0, 1, -1, 2, -2 and infinity.
_B: Final = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0))
_B2: Final = ((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))
_A: Final = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_G: Final = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))

INPUT: Final = torch.kron(*[torch.tensor(_B + _B2, dtype=torch.float32)] * 2)
OUTPUT: Final = torch.kron(*[torch.tensor(_A, dtype=torch.float32)] * 2)

State: TypeAlias = tuple[int, int, torch.dtype]
_kept: MutableMapping[Tensor, tuple[State, Tensor]] = WeakIdKeyDictionary()


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether it is faster than a direct convolution of `x` `(N, in, H, W)` by a frozen `weight`, and can be had.

    Measured (`benchmarks/README.md`): 1.2 to 3 times as fast for these widths and sizes, no faster beyond.
    """
    *widths, height, width = weight.shape
    if (height, width) != (3, 3) or min(widths) < 128 or math.prod(widths) < 128 * 256:
        return False
    sizes = x.shape[-2:]
    if any(size % 4 for size in sizes) or not 8**2 <= sizes.numel() <= 128**2:
        return False
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    eager = not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))
    return plain and eager and type(weight) is nn.Parameter


def transformed(weight: Tensor) -> Tensor:
    """`G w G^T`, `(36, in, out)`, of a weight `(out, in, 3, 3)`; kept until it changes.

    As for autograd, a write through `.data` is no change.
    """
    state = (weight._version, weight.data_ptr(), weight.dtype)
    kept = _kept.get(weight)
    if kept is None or kept[0] != state:
        with torch.inference_mode(False), torch.no_grad():
            g = torch.tensor(_G, dtype=torch.float64, device=weight.device) / 24
            u = torch.einsum("ak,oikl,bl->abio", g, weight.detach().double(), g)
            kept = _kept[weight] = state, u.flatten(0, 1).to(weight.dtype).contiguous()
    return kept[1]


def convolve(x: Tensor, u: Tensor) -> Tensor:
    """The convolution with padding 1 of `x` `(N, in, H, W)` by transformed weights; channels last in memory."""
    n, _, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    tiles = padded.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3)  # (6, 6, N, H / 4, W / 4, in)
    spectrum = (INPUT @ tiles.reshape(36, -1)).view(36, -1, u.shape[1])
    y = (OUTPUT @ torch.bmm(spectrum, u).flatten(1)).view(4, 4, n, height // 4, width // 4, u.shape[2])
    return y.permute(2, 3, 0, 4, 1, 5).reshape(n, height, width, u.shape[2]).permute(0, 3, 1, 2)


def adjoint(grad: Tensor, u: Tensor) -> Tensor:
    """The gradient with respect to x, from that of the convolution: each operator's transpose in reverse order."""
    n, _, height, width = grad.shape
    rows, columns = height // 4, width // 4
    tiles = grad.permute(0, 2, 3, 1).reshape(n, rows, 4, columns, 4, u.shape[2]).permute(2, 4, 0, 1, 3, 5)
    spectrum = (OUTPUT.T @ tiles.reshape(16, -1)).view(36, -1, u.shape[2])
    y = (INPUT.T @ torch.bmm(spectrum, u.mT).flatten(1)).view(6, 6, n, rows, columns, u.shape[1])
    y = y.permute(2, 3, 0, 4, 1, 5)  # (N, rows, 6, columns, 6, in): a tile's last two pixels are the next one's first
    found = y.new_zeros(n, rows + 1, 4, columns + 1, 4, u.shape[1])
    found[:, :-1, :, :-1] = y[:, :, :4, :, :4]
    found[:, 1:, :2, :-1] += y[:, :, 4:, :, :4]
    found[:, :-1, :, 1:, :2] += y[:, :, :4, :, 4:]
    found[:, 1:, :2, 1:, :2] += y[:, :, 4:, :, 4:]
    return found.view(n, height + 4, width + 4, u.shape[1])[:, 1 : height + 1, 1 : width + 1].permute(0, 3, 1, 2)
