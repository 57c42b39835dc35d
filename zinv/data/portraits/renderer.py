"""Render portraits: layers from the background to the glasses, lit, supersampled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.data.portraits import eyes, face, hair, patterns
from zinv.data.portraits.head import Pose, Surface, grid, pose, project
from zinv.data.portraits.light import Light
from zinv.data.portraits.parameters import Portraits
from zinv.data.portraits.planes import cover, paint, slopes, window
from zinv.data.portraits.subject import Subject

ALL = slice(None)
CHUNK = {"cpu": 4}
"""Images drawn at once by device type, so that planes stay in the processor's cache; 64 elsewhere."""


def render(portraits: Portraits, resolution: int = 64, device: str = "cpu", samples: int = 2) -> Tensor:
    """Render portraits.

    Args:
        portraits: Parameters of ``N`` portraits; edited attributes are fine.
        resolution: Side ``R`` of the pictures in pixels.
        device: Where to draw.
        samples: Each pixel is the mean of ``samples`` x ``samples`` points.

    Returns:
        ``(N, 3, R, R)`` float32 in [-1, 1] on ``device``.

    Example:
        >>> from zinv.data.portraits.parameters import sample_portraits
        >>> tuple(render(sample_portraits([0, 1]), resolution=16).shape)
        (2, 3, 16, 16)
    """
    chunk = CHUNK.get(torch.device(device).type, 64)
    parts = [portraits[start : start + chunk] for start in range(0, len(portraits), chunk)]
    pictures = [F.avg_pool2d(_draw(Subject.of(part, device), resolution * samples, device), samples) for part in parts]
    return torch.cat(pictures) * 2 - 1 if pictures else torch.empty(0, 3, resolution, resolution, device=device)


@torch.no_grad()
def _draw(s: Subject, size: int, device: str) -> Tensor:
    """One sample a pixel, ``(n, 3, size, size)`` in [0, 1]."""
    x, y = grid(size, device)
    p, light = pose(s), Light.of(s)
    head, shell = project(s, p, x, y), project(s, p, x, y, hair.inflation(s))
    locks = hair.comb(s, p, light, shell, x, y)
    canvas = paint(patterns.background(s, x, y), locks.colour * 0.7, locks.mass)
    throat, chest = window(size, 0.25, 1.0), window(size, 0.5, 1.0)
    sides, rims = window(size, -0.55, 0.45), window(size, -0.62, 0.42)
    canvas[:, :, throat] = patterns.neck(canvas[:, :, throat], s, p, light, x, y[:, throat])
    canvas[:, :, chest] = patterns.clothes(canvas[:, :, chest], s, light, x, y[:, chest])
    canvas = hair.curtains(canvas, locks, p, x)
    canvas[:, :, sides] = hair.ears(canvas[:, :, sides], s, p, light, x, y[:, sides], near=False)
    canvas = _face(canvas, s, p, light, head, locks.shadow)
    canvas[:, :, sides] = hair.ears(canvas[:, :, sides], s, p, light, x, y[:, sides], near=True)
    canvas[:, :, rims] = eyes.glasses(canvas[:, :, rims], s, p, head.crop(rims, ALL))
    return paint(canvas, locks.colour, locks.cap).clamp(0, 1)


def _face(canvas: Tensor, s: Subject, p: Pose, light: Light, head: Surface, shadow: Tensor) -> Tensor:
    """The lit face over the canvas; only the part of it where a face can be is computed."""
    size = canvas.shape[-1]
    box = window(size, -0.88, 0.82), window(size, -0.74, 0.74)
    f = head.crop(*box)
    albedo = _albedo(s, p, f, size)
    slope_x, slope_y = slopes(face.relief(s, p, f), 2 / size)
    flat = 0.55 + 0.45 * f.px.square()
    shade = torch.maximum(shadow[:, *box], face.cast_shadow(s, p, f, light))
    lit, gloss = light.shade(f.px * flat - 0.8 * slope_x, f.py * flat - 0.8 * slope_y, f.pz, shade)
    skin = albedo * lit + (0.16 * gloss).unsqueeze(1)
    canvas[:, :, *box] = paint(canvas[:, :, *box], skin, cover(f.edge, 0.025))
    return canvas


def _albedo(s: Subject, p: Pose, f: Surface, size: int) -> Tensor:
    """The colour of the face without light."""
    albedo = s.skin.expand(-1, -1, *f.x.shape[1:])
    albedo = face.marks(albedo, s, f)
    albedo = albedo * (1 - face.wrinkles(s, f) - face.nostrils(s, p, f)).clamp(min=0.1).unsqueeze(1)
    low, high = slice(int(0.42 * size), None), slice(0, int(0.60 * size))
    albedo[:, :, low] = face.mouth(face.beard(albedo[:, :, low], s, f.crop(low, ALL)), s, f.crop(low, ALL))
    albedo[:, :, high] = eyes.brows(eyes.eyes(albedo[:, :, high], s, f.crop(high, ALL)), s, f.crop(high, ALL))
    return albedo
