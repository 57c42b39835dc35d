"""The face: relief, marks, wrinkles, beard, mouth."""

import torch
from torch import Tensor

from zinv.data.portraits.eyes import eye_frame
from zinv.data.portraits.head import Pose, Surface
from zinv.data.portraits.light import Light
from zinv.data.portraits.planes import bump, cover, noise, paint, ramp, rgb, stroke
from zinv.data.portraits.subject import Subject


def nose_frame(s: Subject, p: Pose, f: Surface) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates from the tip of the nose, which sticks out and so moves ahead of the face, and its length."""
    length = 0.225 + 0.050 * s.identity["nose_length"]
    ahead = 0.11 * ramp(f.y, -0.02, length)
    return f.x - ahead * p.sin_yaw, f.y - length - 0.06 * p.sin_pitch, length


def relief(s: Subject, p: Pose, f: Surface) -> Tensor:
    """Height of the face over the ellipsoid, in canvas units."""
    i = s.identity
    x, y, length = nose_frame(s, p, f)
    out, down, width, _ = eye_frame(s, f)
    broad = 0.064 + 0.028 * i["nose_width"]
    ridge = stroke(x, 0.040 + 0.012 * i["nose_bridge"]) * ramp(y, -length - 0.05, -0.02) * cover(y - 0.012, 0.09)
    height = (0.085 + 0.025 * i["nose_bridge"]) * ridge + 0.055 * bump(x, y + 0.015, broad * 0.7, 0.045)
    height = height + 0.040 * bump(x.abs() - broad, y - 0.005, 0.030, 0.030)
    height = height - 0.055 * bump(out + 0.02, down + 0.01, width * 1.3, 0.085)
    height = height + 0.030 * bump(out, down + 0.15, width * 1.5, 0.05)
    cheek = 0.045 + 0.02 * i["cheekbones"] + 0.03 * s.attributes["smile"]
    height = height + cheek * bump(out - 0.05, f.y - 0.19 + 0.03 * s.attributes["smile"], 0.11, 0.09)
    chin = f.y - 0.55 - 0.05 * i["chin_length"]
    return height + (0.035 + 0.02 * i["chin_width"]) * bump(f.x, chin, 0.10, 0.06)


def nostrils(s: Subject, p: Pose, f: Surface) -> Tensor:
    """Darkness of the nostrils and of the shadow below the nose."""
    x, y, _ = nose_frame(s, p, f)
    broad = 0.064 + 0.028 * s.identity["nose_width"]
    holes = 0.55 * bump(x.abs() - 0.6 * broad, y - 0.022, 0.024, 0.015)
    return holes + 0.14 * bump(x, y - 0.038, broad * 1.1, 0.022)


def cast_shadow(s: Subject, p: Pose, f: Surface, light: Light) -> Tensor:
    """What the key light does not reach: beside and below the nose, below the brows."""
    x, y, _ = nose_frame(s, p, f)
    out, down, width, _ = eye_frame(s, f)
    nose = 0.75 * bump(x + 0.10 * light.x, y - 0.01, 0.055, 0.07) * ramp(x * light.x.sign(), 0.03, -0.05)
    return (nose * light.x.abs() * 1.3 + 0.30 * bump(out + 0.03, down + 0.055, width, 0.035)).clamp(0, 0.9)


def wrinkles(s: Subject, f: Surface) -> Tensor:
    """Darkness of forehead lines, crow's feet, bags below the eyes and folds beside the mouth, growing with age."""
    out, down, width, _ = eye_frame(s, f)
    waves = (f.y * 70 + 4 * f.x.square() * (1 + s.detail["wave"])).cos().clamp(min=0).square()
    forehead = waves * bump(f.x, f.y + 0.33, 0.26, 0.11)
    fan = (down * 85).cos().clamp(min=0) * bump(out - width - 0.07, down - 0.01, 0.05, 0.06)
    bags = stroke(down - 0.085 - 0.3 * out.square(), 0.016) * stroke(out, width)
    fold_x = f.x.abs() - 0.105 - 0.42 * (f.y - 0.21)
    fold = stroke(fold_x, 0.020) * cover((f.y - 0.34).abs() - 0.12, 0.08)
    old = s.age * (0.60 + 0.40 * s.age)
    smiling = 0.10 * (1 + s.attributes["smile"])
    return old * (0.50 * forehead + 0.38 * fan + 0.44 * bags) + (0.48 * old + smiling) * fold


def marks(albedo: Tensor, s: Subject, f: Surface) -> Tensor:
    """Blush, freckles and a mole."""
    i = s.identity
    rosy = (0.16 + 0.10 * i["blush"]) * (1.6 - 1.2 * s.age) * bump(f.x.abs() - 0.27, f.y - 0.2, 0.12, 0.09)
    albedo = paint(albedo, s.skin * rgb(1.05, 0.66, 0.66, s.age), rosy)
    spots = noise(s.lattice, f.x * 26 + 8 * s.detail["spots_x"], f.y * 26 + 8 * s.detail["spots_y"])
    dense = 0.65 * i["freckles"].clamp(min=0) * bump(f.x.abs() - 0.17, f.y - 0.15, 0.22, 0.15)
    albedo = paint(albedo, s.skin * rgb(0.62, 0.50, 0.42, s.age), dense * ramp(spots, 0.1, 0.5))
    size = 0.006 + 0.014 * (i["mole_size"] + 1)
    mole = bump(f.x - 0.30 * i["mole_x"], f.y - 0.22 - 0.22 * i["mole_y"], size, size)
    return paint(albedo, s.skin * 0.30, 0.9 * mole * ramp(i["mole_size"], -0.3, 0.1))


def beard(albedo: Tensor, s: Subject, f: Surface) -> Tensor:
    """Moustache and jaw, growing from nothing to a full beard."""
    amount = (s.attributes["beard"] + 1) / 2
    mouth = _mouth_height(s)
    start = mouth + 0.07 - 0.10 * amount
    jaw = ramp(f.y + 1.5 * f.x.square(), start, start + 0.13)
    lip = bump(f.x, f.y - mouth + 0.075, 0.17, 0.036)
    corners = bump(f.x.abs() - 0.20, f.y - mouth - 0.02, 0.05, 0.09)
    region = torch.maximum(jaw, torch.maximum(1.2 * lip, corners)).clamp(max=1)
    bristle = noise(s.lattice, f.x * 30 + 3, f.y * 14 + 5)
    alpha = region * (amount * (1.25 + 0.30 * bristle)).clamp(max=0.96)
    return paint(albedo, s.beard * (1 + 0.35 * bristle.unsqueeze(1)), alpha)


def _mouth_height(s: Subject) -> Tensor:
    return 0.380 + 0.034 * s.identity["mouth_height"] + 0.03 * s.identity["nose_length"]


def mouth(albedo: Tensor, s: Subject, f: Surface) -> Tensor:
    """Two lips; a smile widens them, lifts their corners and shows teeth."""
    i, smile = s.identity, s.attributes["smile"]
    half = (0.165 + 0.038 * i["mouth_width"]) * (1.02 + 0.20 * smile)
    u = f.x / half
    arch = 1 - u * u
    line = f.y - _mouth_height(s) + smile * 0.056 * (u * u - 0.4)
    gap = 0.030 * ramp(smile, -0.2, 1.0) * arch
    bow = 1 - 0.30 * stroke(u, 0.22)
    upper = (0.036 + 0.019 * i["upper_lip"]) * arch * bow + gap
    lower = (0.046 + 0.024 * i["lower_lip"]) * arch.clamp(min=-1) + gap
    lips = cover(-torch.minimum(line + upper, lower - line), 0.020)
    form = torch.where(line < 0, 0.80, 1.05 + 0.25 * stroke(line - 0.6 * lower, 0.015))
    albedo = paint(albedo, _lip_colour(s) * form.unsqueeze(1), lips * 0.9)
    teeth = cover(line.abs() - gap, 0.018) * ramp(gap, 0.0, 0.006)
    albedo = paint(albedo, rgb(0.97, 0.95, 0.91, smile), teeth)
    parting = stroke(line.abs() - gap.clamp(min=0), 0.011) * cover((u.abs() - 1) * half, 0.03)
    return paint(albedo, s.skin * rgb(0.22, 0.12, 0.12, smile), 0.8 * parting)


def _lip_colour(s: Subject) -> Tensor:
    painted = rgb(0.66, 0.20, 0.26, s.age)
    natural = s.skin * rgb(0.92, 0.68, 0.68, s.age)
    return torch.lerp(natural, painted, (0.30 * (s.identity["lip_colour"] + 1) * (1 - 0.4 * s.age)).unsqueeze(1))
