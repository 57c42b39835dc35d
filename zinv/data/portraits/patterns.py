"""Backgrounds and clothes: patterns of two colours, chosen by the detail of a portrait."""

import torch
from torch import Tensor

from zinv.data.portraits.head import Pose
from zinv.data.portraits.light import Light
from zinv.data.portraits.planes import bump, cover, hue, noise, paint, ramp
from zinv.data.portraits.subject import Subject

CLUTTER, STRIPES, CHECKS, DOTS = range(4)
"""Kinds of pattern; whatever is above them is plain."""


def pattern(s: Subject, part: str, x: Tensor, y: Tensor, density: tuple[float, float]) -> Tensor:
    """A pattern in [-1, 1] with soft edges, ``(n, H, W)``; its kind, angle, scale and phase are those of ``part``."""
    d = s.detail
    angle, scale = torch.pi * d[f"{part}_angle"], density[0] + density[1] * d[f"{part}_scale"]
    across = scale * (x * angle.cos() + y * angle.sin()) + 6.3 * d[f"{part}_x"]
    along = scale * (y * angle.cos() - x * angle.sin()) + 6.3 * d[f"{part}_y"]
    first, second = across.sin(), along.sin()
    cloud = noise(s.lattice, across * 0.28, along * 0.28)
    kind = (d[f"{part}_kind"] * 5).floor()
    chosen = torch.where(kind == STRIPES, first, 3 * cloud * 0.6)
    chosen = torch.where(kind == CHECKS, 1.6 * first * second, chosen)
    chosen = torch.where(kind == DOTS, first + second - 0.7, chosen)
    return (2.2 * chosen).clamp(-1, 1) * (kind <= DOTS) + 0.2 * cloud


def background(s: Subject, x: Tensor, y: Tensor) -> Tensor:
    """The ground behind the person ``(n, 3, H, W)``: muted colours about the brightness that the attribute asks for."""
    d = s.detail
    value = 0.46 + 0.30 * s.attributes["background"]
    tint = 0.05 + 0.20 * d["ground_tint"]
    contrast = 0.07 + 0.16 * d["ground_contrast"]
    first = hue(d["ground_hue"], tint, value * (1 + contrast))
    second = hue(d["ground_hue"] + 0.5 * (d["ground_second"] - 0.5), tint, value * (1 - contrast))
    plane = pattern(s, "ground", x, y, (7.0, 11.0)) * 0.5 + 0.5
    fade = 1 + 0.35 * (d["ground_fade"] - 0.5) * y - 0.10 * (x * x)
    return torch.lerp(second, first, plane.unsqueeze(1)) * fade.unsqueeze(1)


def neck(canvas: Tensor, s: Subject, p: Pose, light: Light, x: Tensor, y: Tensor) -> Tensor:
    """The neck: a cylinder, in the shadow of the chin."""
    width = 0.56 * p.half_width * (1 + 0.1 * s.identity["jaw_width"])
    across = (x - p.centre_x * 0.5) / (width * (1 + 0.35 * ramp(y, 0.55, 0.95)))
    depth = (1 - across * across).clamp(min=0.01).sqrt()
    chin = p.centre_y + p.half_height * (1 + 0.10 * s.identity["chin_length"])
    shadow = 0.85 * ramp(y + 0.1 * across * light.x, chin + 0.28, chin + 0.0)
    lit, _ = light.shade(across, 0.1 * depth, depth, shadow)
    return paint(canvas, s.skin * 0.95 * lit, cover((across.abs() - 1) * 0.3, 0.03) * (y > p.centre_y))


def clothes(canvas: Tensor, s: Subject, light: Light, x: Tensor, y: Tensor) -> Tensor:
    """Shoulders with a neckline, in a pattern of two colours."""
    d = s.detail
    side = x.abs()
    shoulder = 0.66 + 0.10 * d["shoulders"] + 0.30 * side.square()
    opening = 0.86 + 0.16 * d["neckline"] - (0.55 + 0.6 * d["neckline"]) * side
    distance = torch.maximum(shoulder, opening) - y
    value = 0.16 + 0.50 * d["cloth_value"]
    tint = 0.06 + 0.42 * d["cloth_tint"]
    contrast = 0.10 + 0.22 * d["cloth_contrast"]
    first = hue(d["cloth_hue"], tint, value * (1 + contrast))
    second = hue(d["cloth_hue"] + d["cloth_second"] * 0.6, tint, value * (1 - contrast))
    plane = pattern(s, "cloth", x, y, (12.0, 16.0)) * 0.5 + 0.5
    lit, _ = light.shade(x * 0.9, -0.35 + 0 * x, 0.8 - 0.3 * side, 0.4 * bump(x, distance, 0.5, 0.05))
    return paint(canvas, torch.lerp(second, first, plane.unsqueeze(1)) * lit, cover(distance, 0.03))
