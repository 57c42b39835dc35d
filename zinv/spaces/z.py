"""Z and Z+: the prior's sphere, once for the whole generator or once a row (Katsumata et al., section 2)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from zinv.generators.base import Generator
from zinv.seeding import Rngs, randn
from zinv.spaces.base import LatentSpace, truncate
from zinv.values import Count, Whole

Retraction = Literal["explicit", "implicit", "none"]


def onto_sphere(z: Tensor) -> Tensor:
    """`sqrt(dim) z / |z|` along the last axis (eq. 1).

    >>> onto_sphere(torch.tensor([[3.0, 4.0]]))
    tensor([[0.8485, 1.1314]])
    """
    return z * (math.sqrt(z.shape[-1]) / z.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Along the great circle from a to b `(…, dim)`, both on the sphere.

    Where they (nearly) coincide it is a line, and where they are opposite, any of the great circles.
    """
    cosine = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    angle = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    near = sine < 1e-3  # float32 has no angles between
    sine = torch.where(near, torch.ones_like(sine), sine)
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine
    half_circle = math.cos(math.pi * t) * a + math.sin(math.pi * t) * _perpendicular(a)
    return torch.where(near, torch.where(cosine > 0, torch.lerp(a, b, t), half_circle), arc)


def _perpendicular(a: Tensor) -> Tensor:
    """A vector of the same length at a right angle: the axis that a has least of, without its part along a."""
    axis = torch.zeros_like(a).scatter_(-1, a.abs().argmin(-1, keepdim=True), 1.0)
    rest = axis - (axis * a).sum(-1, keepdim=True) / a.square().sum(-1, keepdim=True) * a
    return rest * (a.norm(dim=-1, keepdim=True) / rest.norm(dim=-1, keepdim=True))


def sphere_flow(z: Tensor, delta: Tensor) -> Tensor:
    """Where z on the sphere of radius r = sqrt(dim) comes to by moves along a constant delta, each retracted.

    With u the direction of delta and a the angle from u to z: `tan(a'/2) = tan(a/2) exp(-|delta| / r)`, in the plane
    of both. A thousand moves by a thousandth of delta, as the released Z+ code makes, agree to 3e-7.
    """
    radius, length = math.sqrt(z.shape[-1]), delta.norm(dim=-1, keepdim=True)
    u, z = delta / length.clamp_min(1e-12), onto_sphere(z)
    along = (z * u).sum(-1, keepdim=True)
    across = z - along * u
    sine = across.norm(dim=-1, keepdim=True)
    half = torch.atan2(sine, radius + along).tan() * torch.exp(-length / radius)
    cosine = (1 - half.square()) / (1 + half.square())
    turned = 2 * half / (1 + half.square()) * across / sine.clamp_min(1e-12)
    return torch.where(length > 0, radius * (cosine * u + turned), z)


class _Sphere(LatentSpace):
    """What Z and Z+ share.

    Args:
        retraction: "explicit" retracts onto the sphere after each step (the paper's eq. 1); "implicit" leaves that to
            the mapping network's own norm (the released Z+ code); "none" takes the norm out of the mapping network, so
            that z is unbounded (the released Z code).
        truncation_psi: drawn towards w_avg by this factor; 1 is none.
        truncation_cutoff: rows below it are truncated; all if None.
        start: one prior draw, or the best of `num_candidates` by the method's loss.
        num_candidates: draws tried with start=best_of_k.
    """

    coordinates = "z"

    def __init__(
        self,
        retraction: Retraction = "explicit",
        truncation_psi: float = 1.0,
        truncation_cutoff: Whole | None = None,
        start: Literal["random", "best_of_k"] = "random",
        num_candidates: Count = 100,
    ):
        super().__init__()
        self.retraction, self.start = retraction, start
        self.truncation_psi, self.truncation_cutoff = truncation_psi, truncation_cutoff
        self.num_starts = num_candidates if start == "best_of_k" else 1

    def retract(self, code: Tensor) -> Tensor:
        return code if self.retraction == "none" else onto_sphere(code)

    def after_step(self, code: Tensor) -> Tensor:
        return onto_sphere(code) if self.retraction == "explicit" else code

    def flow(self, code: Tensor, delta: Tensor) -> Tensor:
        return code + delta if self.retraction == "none" else sphere_flow(code, delta)

    def interpolate(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return torch.lerp(a, b, t) if self.retraction == "none" else slerp(onto_sphere(a), onto_sphere(b), t)

    def spread(self, generator: Generator) -> Tensor:
        return torch.ones(self.code_shape(generator), device=generator.w_avg.device)

    def settings(self) -> dict[str, str]:
        return {"start": self.start, "truncation": truncation_words(self.truncation_psi, self.truncation_cutoff)}


class Z(_Sphere):
    """Z: one point of the sphere an image, `(N, z_dim)`.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> Z().initial(toy_stylegan2(), image_rngs(0, ["ada"])).shape
    torch.Size([1, 16])
    """

    label = "Z"

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return (generator.z_dim,)

    def num_rows(self, generator: Generator) -> int:
        return 1

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return onto_sphere(randn((generator.z_dim,), rngs)).to(generator.w_avg)

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return onto_sphere(rows[:, 0])

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        ws = generator.as_ws(generator.mapping(code, self.retraction != "none"))
        return truncate(generator, ws, self.truncation_psi, self.truncation_cutoff)


class ZPlus(_Sphere):
    """Z+: one point of the sphere a row, `(N, num_ws, z_dim)`; row i goes through the mapping network to row i of w.

    A random start draws each row for itself, as the released code does; best_of_k tries pictures of the prior, one
    point for all rows.
    """

    label = "Z+"

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return (generator.num_ws, generator.z_dim)

    def num_rows(self, generator: Generator) -> int:
        return generator.num_ws

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        rows = 1 if self.start == "best_of_k" else generator.num_ws
        z = onto_sphere(randn((rows, generator.z_dim), rngs)).to(generator.w_avg)
        return z.expand(-1, generator.num_ws, -1).contiguous()

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return onto_sphere(rows)

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        ws = generator.map_rows(code, self.retraction != "none")
        return truncate(generator, ws, self.truncation_psi, self.truncation_cutoff)


def truncation_words(psi: float, cutoff: int | None) -> str:
    """How a table writes truncation.

    >>> truncation_words(1.0, None), truncation_words(0.7, 8)
    ('none', '0.7 below row 8')
    """
    if psi == 1:
        return "none"
    return f"{psi:g}" if cutoff is None else f"{psi:g} below row {cutoff}"
