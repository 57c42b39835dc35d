"""Eyes, brows and glasses."""

import torch
from torch import Tensor

from zinv.data.portraits.head import Pose, Surface
from zinv.data.portraits.planes import cover, hue, luminance, paint, rgb, stroke
from zinv.data.portraits.subject import Subject


def eye_frame(s: Subject, f: Surface) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Local coordinates of the two eyes: outwards and down from the pupil, half width ``(n, 1, 1)``, and the side."""
    i = s.identity
    width = 0.114 + 0.028 * i["eye_size"]
    side = f.x.sign()
    out = f.x.abs() - (0.222 + 0.040 * i["eye_distance"])
    down = f.y - 0.03 * i["eye_height"] + 0.28 * i["eye_tilt"] * out
    return out, down, width, side


def eyes(albedo: Tensor, s: Subject, f: Surface) -> Tensor:
    """Eyeballs with iris and pupil between the lids, lashes and the crease above."""
    i = s.identity
    out, down, width, side = eye_frame(s, f)
    opening = (0.050 + 0.031 * s.attributes["eye_opening"]) * (1 + 0.25 * i["eye_size"])
    arch = 1 - (out / width).square()
    above, below = down + opening * arch, 0.62 * opening * arch - down
    inside = cover(-torch.minimum(above, below), 0.016)
    lash = cover((above - 0.004).abs() - 0.013, 0.016) * cover(-arch - 0.25, 0.3)
    crease = 0.35 * stroke(above + 0.035, 0.013) * cover(-arch - 0.2, 0.4)
    albedo = paint(albedo, s.skin * 0.45, crease)
    albedo = paint(albedo, rgb(0.82, 0.80, 0.78, width), inside)
    gaze = out * side - 0.03 * (s.detail["gaze"] - 0.5) + 0.02 * s.attributes["yaw"]
    radius = (gaze.square() + (down + 0.004).square()).sqrt()
    albedo = paint(albedo, _iris(s), inside * cover(radius - 0.054, 0.016))
    albedo = paint(albedo, rgb(0.03, 0.03, 0.04, width), inside * cover(radius - 0.022, 0.016))
    glint = ((gaze - 0.018 * s.attributes["light"]).square() + (down + 0.02).square()).sqrt()
    albedo = paint(albedo, rgb(1.1, 1.1, 1.1, width), inside * cover(glint - 0.010, 0.016))
    return paint(albedo, rgb(0.07, 0.05, 0.05, width), 0.85 * lash)


def _iris(s: Subject) -> Tensor:
    """From brown over hazel and green to blue, paler or deeper."""
    kind, depth = s.identity["iris_colour"], 0.36 + 0.12 * s.identity["iris_depth"]
    return hue(0.06 + 0.27 * (kind + 1), 0.30 + 0.25 * kind.abs(), depth * (1 + 0.25 * kind))


def brows(albedo: Tensor, s: Subject, f: Surface) -> Tensor:
    """Arcs of the hair's colour, thinner outwards."""
    i = s.identity
    out, down, width, _ = eye_frame(s, f)
    along = out / (width * 1.35)
    height = 0.140 + 0.038 * i["brow_height"] + 0.008 * s.attributes["eye_opening"]
    line = down + height - 0.045 * along.square() + (0.030 * i["brow_angle"] - 0.008) * along
    thickness = (0.021 + 0.012 * i["brow_thickness"]) * (1.1 - 0.35 * along)
    alpha = cover(line.abs() - thickness, 0.022) * cover((along.abs() - 1) * width, 0.06)
    dark = s.hair * (0.62 + 0.22 * i["brow_shade"].unsqueeze(1))
    limit = (0.62 * luminance(s.skin) / luminance(dark)).clamp(max=1).unsqueeze(1)
    return paint(albedo, dark * limit, alpha * 0.92)


def glasses(canvas: Tensor, s: Subject, p: Pose, f: Surface) -> Tensor:
    """Rims from round to square on the near side of the face, a bridge and arms; the lenses are nearly clear."""
    d = s.detail
    x = f.x - 0.06 * p.sin_yaw
    side = x.abs() - (0.222 + 0.040 * s.identity["eye_distance"])
    y = f.y - 0.02 - 0.03 * s.identity["eye_height"] - 0.04 * p.sin_pitch
    width, height = 0.158 + 0.022 * d["frame_size"], 0.122 + 0.026 * d["frame_size"]
    across, down = (side / width).abs(), (y / height).abs()
    round_, square = (across.square() + down.square()).sqrt(), (across**4 + down**4).pow(0.25)
    ring = (torch.lerp(round_, square, d["frame_shape"]) - 1) * height
    rim = cover(ring.abs() - 0.013, 0.020)
    bridge = cover((y + 0.035).abs() - 0.014, 0.02) * cover(x.abs() - 0.08, 0.02)
    arms = cover((y + 0.035).abs() - 0.012, 0.02) * cover(width - side, 0.02) * cover(f.edge + 0.02, 0.02)
    frame = torch.maximum(torch.maximum(rim, bridge), arms) * cover(-f.w - 0.15, 0.1) * s.attributes["glasses"]
    lens = cover(ring, 0.02) * (0.10 + 0.22 * stroke(side + 0.7 * y - 0.02, 0.035)) * s.attributes["glasses"]
    canvas = paint(canvas, rgb(0.80, 0.86, 0.92, x[:, :1, :1]), lens)
    return paint(canvas, _frame_colour(s), frame * 0.96)


def _frame_colour(s: Subject) -> Tensor:
    """Dark frames on light skin, light ones on dark skin."""
    light = cover(luminance(s.skin) - 0.37, 0.02)
    value = torch.lerp(0.06 + 0.08 * s.detail["frame_shade"], 0.72 + 0.2 * s.detail["frame_shade"], light)
    return hue(s.detail["frame_hue"], 0.35, value)
