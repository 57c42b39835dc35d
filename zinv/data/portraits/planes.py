"""Small functions of planes ``(n, H, W)`` that every layer of a portrait is made of."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ramp(value: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Smooth step from 0 at ``low`` to 1 at ``high`` (which may be the smaller)."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def cover(distance: Tensor, width: Tensor | float) -> Tensor:
    """Coverage of a shape from its signed distance (negative inside), with an edge that is ``width`` wide."""
    return (0.5 - distance * (1 / width)).clamp(0, 1)


def stroke(distance: Tensor, width: Tensor | float) -> Tensor:
    """A soft line; (1 - q / 4)^4 is close to exp(-q), for q = (distance / width)^2, and ends."""
    return (
        torch.addcmul(torch.ones_like(distance), distance, distance * (-0.25 / (width * width)))
        .clamp(min=0)
        .square()
        .square()
    )


def bump(x: Tensor, y: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A Gaussian hill, 1 at the origin."""
    left = (x * x) * (-0.25 / (width * width)) + (y * y) * (-0.25 / (height * height))
    return (left + 1).clamp(min=0).square().square()


def paint(canvas: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """``colour`` (n, 3, 1 or H, 1 or W) over ``canvas`` (n, 3, H, W) with the opacity ``alpha`` (n, H, W)."""
    return torch.lerp(canvas, colour, alpha.unsqueeze(1))


def rgb(red: Tensor | float, green: Tensor | float, blue: Tensor | float, like: Tensor) -> Tensor:
    """One colour an image, ``(n, 3, 1, 1)``, from numbers or tensors ``(n, 1, 1)``; ``like`` is ``(n, 1, 1)``."""
    return torch.stack([torch.zeros_like(like) + channel for channel in (red, green, blue)], dim=1)


def hue(angle: Tensor, tint: Tensor | float, value: Tensor | float) -> Tensor:
    """A colour wheel of cosines: ``angle`` in turns, ``tint`` the distance from grey, ``value`` the luminance."""
    colour = torch.stack([1 + tint * (2 * torch.pi * (angle - third / 3)).cos() for third in range(3)], dim=1)
    return (colour * (value / luminance(colour)).unsqueeze(1)).clamp(0, 1)


def luminance(colour: Tensor) -> Tensor:
    """Brightness of ``(n, 3, 1, 1)`` colours as ``(n, 1, 1)``."""
    return 0.3 * colour[:, 0] + 0.59 * colour[:, 1] + 0.11 * colour[:, 2]


def noise(lattice: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Value noise in [-1, 1] at ``x`` and ``y``, in cells of the ``lattice`` (n, 1, S, S), mirrored at its edges."""
    grid = torch.stack([x, y.expand_as(x)], dim=-1) * (2 / lattice.shape[-1])
    return F.grid_sample(lattice, grid, padding_mode="reflection", align_corners=False).squeeze(1) * 2 - 1


def slopes(height: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
    """Differences of a plane along x and y; the height should be flat at the plane's edges."""
    scale = 0.5 / spacing
    along_x = (height.roll(-1, -1) - height.roll(1, -1)) * scale
    along_y = (height.roll(-1, -2) - height.roll(1, -2)) * scale
    return along_x, along_y


def window(size: int, low: float, high: float) -> slice:
    """The pixels between two canvas coordinates in [-1, 1]."""
    return slice(int((low + 1) / 2 * size), int((high + 1) / 2 * size) + 1)
