"""The head as a turned ellipsoid whose outline is shaped row by row."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from zinv.data.portraits.planes import ramp, stroke
from zinv.data.portraits.subject import Subject


@dataclass(frozen=True)
class Surface:
    """What is seen of the head (or of its shell of hair) at each pixel; planes ``(n, H, W)``.

    Attributes:
        u, v, w: The point on the unit sphere of the head at rest: to the right as seen, down, and to the front.
        x, y: The same point in the plane of the face, in canvas units, from the middle between the eyes.
        px, py, pz: The point on the unit sphere as it is turned, which is its normal.
        edge: Signed distance from the outline, about in canvas units, negative inside.
    """

    u: Tensor
    v: Tensor
    w: Tensor
    x: Tensor
    y: Tensor
    px: Tensor
    py: Tensor
    pz: Tensor
    edge: Tensor

    def crop(self, rows: slice, columns: slice) -> "Surface":
        """A rectangle of it."""
        return Surface(*(getattr(self, field.name)[:, rows, columns] for field in fields(self)))


@dataclass(frozen=True)
class Pose:
    """Where the head is: centre and half axes in canvas units, sines and cosines of its turn; each ``(n, 1, 1)``."""

    centre_x: Tensor
    centre_y: Tensor
    half_width: Tensor
    half_height: Tensor
    sin_yaw: Tensor
    cos_yaw: Tensor
    sin_pitch: Tensor
    cos_pitch: Tensor


def pose(s: Subject) -> Pose:
    """Place the head; it moves back a little against its turn, as an aligned photograph does."""
    yaw, pitch = s.turn
    half_height = 0.665 + 0.070 * s.identity["head_height"]
    centre_x = -0.12 * yaw.sin()
    centre_y = -0.11 - 0.22 * pitch.sin()
    half_width = 0.515 + 0.075 * s.identity["head_width"]
    return Pose(centre_x, centre_y, half_width, half_height, yaw.sin(), yaw.cos(), pitch.sin(), pitch.cos())


def project(s: Subject, p: Pose, x: Tensor, y: Tensor, inflate: Tensor | float = 1.0) -> Surface:
    """The surface under each pixel: normalise to a unit sphere, look up its front, turn back to the head at rest.

    Args:
        s: The subject.
        p: Its pose.
        x: Canvas columns ``(1, 1, W)`` in [-1, 1].
        y: Canvas rows ``(1, H, 1)`` in [-1, 1], downwards.
        inflate: Factor of both half axes, ``(n, 1, 1)``.
    """
    down = y - p.centre_y
    half_height = p.half_height * (1 + 0.10 * s.identity["chin_length"] * ramp(down, 0.0, 0.35)) * inflate
    py = down / half_height
    half_width = p.half_width * inflate * _taper(s, py - 0.35 * p.sin_pitch)
    px = (x - p.centre_x - 0.20 * p.half_width * p.sin_yaw * ramp(py, -0.1, 1.0)) / half_width
    square = px * px + py * py
    pz = (1 - square).clamp(min=1e-4).sqrt()
    u = px * p.cos_yaw - pz * p.sin_yaw
    forward = px * p.sin_yaw + pz * p.cos_yaw
    v = py * p.cos_pitch - forward * p.sin_pitch
    w = py * p.sin_pitch + forward * p.cos_pitch
    edge = (square.sqrt() - 1) * p.half_width
    return Surface(u, v, w, u * half_width, v * half_height, px, py.expand_as(px), pz, edge)


def _taper(s: Subject, t: Tensor) -> Tensor:
    """Factor of the half width at the height ``t``: -1 the top, 0 the eyes, 1 the chin."""
    i = s.identity
    lower = -0.05 * ramp(t, 0.0, 0.9)
    shape = 0.09 * i["forehead"] * stroke(t + 0.6, 0.35) + 0.08 * i["cheekbones"] * stroke(t - 0.22, 0.22)
    jaw = (0.02 + 0.20 * i["jaw_width"]) * stroke(t - 0.66, 0.24)
    chin = (0.06 + 0.26 * i["chin_width"]) * stroke(t - 0.95, 0.14)
    return 1 + lower + shape + jaw + chin


def grid(resolution: int, device: str) -> tuple[Tensor, Tensor]:
    """Pixel centres: columns ``(1, 1, W)`` and rows ``(1, H, 1)`` in [-1, 1]."""
    line = (torch.arange(resolution, device=device, dtype=torch.float32) + 0.5) * (2 / resolution) - 1
    return line.view(1, 1, -1), line.view(1, -1, 1)
