"""Hair as a shell around the head, with curtains that hang from it, and ears with their jewellery."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zinv.data.portraits.head import Pose, Surface
from zinv.data.portraits.light import Light
from zinv.data.portraits.planes import bump, cover, hue, noise, paint, ramp, rgb, stroke
from zinv.data.portraits.subject import Subject


@dataclass(frozen=True)
class Hair:
    """Lit colour of hair ``(n, 3, H, W)`` and the opacity ``(n, H, W)`` of its cap and of its hanging mass."""

    colour: Tensor
    cap: Tensor
    mass: Tensor
    shadow: Tensor


def inflation(s: Subject) -> Tensor:
    """Radius of the shell of hair relative to the head."""
    return 1.13 + 0.10 * s.identity["hair_volume"] + 0.02 * s.identity["curl"]


def comb(s: Subject, p: Pose, light: Light, shell: Surface, x: Tensor, y: Tensor) -> Hair:
    """Grow and light the hair on its shell."""
    texture = strands(s, p, x, y)
    cap, behind, shadow = _cap(s, shell, texture)
    mass = torch.maximum(behind, _mass(s, p, x, y, texture))
    gloss = stroke(shell.v + 0.58 - 0.10 * texture, 0.16) * (0.12 + 0.10 * texture)
    lit, _ = light.shade(shell.px, (shell.py * 0.8).clamp(max=0.25), shell.pz + 0.25)
    form = 1 + 0.42 * texture - 0.18 * ramp(shell.v, 0.0, 1.2)
    colour = s.hair * (form.unsqueeze(1) * lit) + (gloss * (1 + light.x * shell.px)).unsqueeze(1)
    return Hair(colour, cap, mass, shadow)


def strands(s: Subject, p: Pose, x: Tensor, y: Tensor) -> Tensor:
    """Texture in about [-1, 1]: strands that fan out from the parting, wavy or curled."""
    i, d = s.identity, s.detail
    wave, curl = (i["waviness"] + 1) / 2, ramp(i["curl"], 0.1, 0.9)
    across = x - p.centre_x - 0.25 * i["parting"] - 0.3 * p.sin_yaw
    down = y - p.centre_y + 1.12 * p.half_height
    angle = across / (down.abs() + 0.6 * across.abs() + 0.22)
    angle = angle + (0.012 + 0.05 * wave) * (down * 17 + 6.3 * d["wave"]).sin()
    rough = noise(s.lattice, 17 * angle + 8 * d["strand_x"], (1.6 + 7 * curl) * down + 8 * d["strand_y"])
    fine = (58 * angle + 5 * rough + 6.3 * d["strand_x"]).sin() * (1 - curl)
    return 0.7 * rough + 0.36 * fine


def _cap(s: Subject, shell: Surface, texture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The part above the hairline and on the temples, the part behind the head, and the shadow on the face."""
    i = s.identity
    shape = shell.edge + 0.030 * texture * (0.5 + 0.5 * ramp(i["curl"], -0.5, 1.0))
    height = 0.56 + 0.14 * i["hairline"] - 0.13 * i["fringe"]
    sweep = 0.10 * i["parting"] * (1 + i["fringe"]) * shell.u - 0.10 * stroke(shell.u - 0.3 * i["parting"], 0.12)
    reach = 0.62 + 0.62 * ramp(i["hair_length"], -0.8, 0.4)
    temple = reach * ramp(shell.u.abs(), 0.70, 0.94) + 0.5 * ramp(shell.w, 0.30, -0.1)
    distance = shell.v + height - sweep - temple - 0.05 * texture
    cap = cover(shape, 0.035) * cover(distance, 0.05)
    behind = cover(shape, 0.035) * cover(shell.py + height - reach - 0.05 * texture, 0.10)
    return cap, behind, 0.45 * cover(distance - 0.05, 0.14)


def _mass(s: Subject, p: Pose, x: Tensor, y: Tensor, texture: Tensor) -> Tensor:
    """What hangs beside and behind the neck, down to the hair's length."""
    i = s.identity
    end = p.centre_y + p.half_height * (0.58 + 0.85 * i["hair_length"])
    wave = 0.030 * (i["waviness"] + 1) * (y * 14 + 6.3 * s.detail["wave"]).sin()
    half = p.half_width * inflation(s) * (1.0 + 0.10 * i["hair_volume"] * ramp(y, -0.1, 0.6)) + wave * ramp(
        y, -0.1, 0.3
    )
    middle = p.centre_x - 0.22 * p.half_width * p.sin_yaw
    sides = cover((x - middle).abs() - half + 0.03 * texture, 0.04)
    tip = cover(y - end - 0.05 * texture, 0.12)
    return sides * tip * ramp(y - p.centre_y, -0.15, 0.05)


def curtains(canvas: Tensor, hair: Hair, p: Pose, x: Tensor) -> Tensor:
    """The hanging hair in front of the shoulders."""
    front = ramp((x - p.centre_x).abs(), 0.62 * p.half_width, 0.80 * p.half_width)
    return paint(canvas, hair.colour, hair.mass * front)


def ears(canvas: Tensor, s: Subject, p: Pose, light: Light, x: Tensor, y: Tensor, near: bool) -> Tensor:
    """Both ears with earrings; if ``near``, only what comes before the head as it turns."""
    right = x > p.centre_x
    depth = torch.where(right, -p.sin_yaw, p.sin_yaw)
    shift = p.half_width * (p.cos_yaw + 0.02)
    across = (x - p.centre_x).abs() - shift
    down = y - p.centre_y - 0.06 + 0.5 * p.half_height * p.sin_pitch
    size = 1 + 0.36 * s.identity["ear_size"]
    shape = ((across / (0.075 * size)).square() + (down / (0.14 * size)).square()).sqrt()
    visible = ramp(depth, 0.05, 0.30) if near else torch.ones_like(depth)
    inner = 0.40 * bump(across, down + 0.01, 0.035 * size, 0.08 * size)
    lit, _ = light.shade(torch.where(right, 0.5, -0.5), 0.1 * y, 0.7 + 0 * y)
    canvas = paint(
        canvas,
        s.skin * rgb(0.98, 0.88, 0.87, s.age) * lit * (1 - inner).unsqueeze(1),
        visible * cover((shape - 1) * 0.08, 0.03),
    )
    return _earrings(canvas, s, across, down - 0.17 * size, visible)


def _earrings(canvas: Tensor, s: Subject, across: Tensor, down: Tensor, visible: Tensor) -> Tensor:
    worn = ramp(s.identity["earrings"], 0.2, 0.4)
    radius = 0.022 + 0.025 * s.identity["earrings"].clamp(min=0)
    distance = (across.square() + down.square()).sqrt()
    shine = 1 + 0.6 * bump(across + 0.01, down + 0.01, 0.02, 0.02)
    gold = hue(0.10 + 0.5 * (s.identity["earrings"] > 0.7), 0.35, 0.72) * shine.unsqueeze(1)
    return paint(canvas, gold, visible * worn * cover(distance - radius, 0.02))
