"""A latent space of one's own: points of a shell about the origin of z, so that the radius is free within bounds."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.seeding import Rngs, randn
from zinv.spaces.base import LatentSpace
from zinv.spaces.z import onto_sphere, slerp


class ZRadius(LatentSpace):
    """Z with a free radius: one z for all rows, `(N, z_dim)`, not shorter than `low` nor longer than `high` radii of Z.

    Z's radius is sqrt(z_dim). The mapping network's own norm would hide another one, so it is left out: on the sphere
    of Z that changes nothing.

    Args:
        low: shortest z, as a multiple of sqrt(z_dim).
        high: longest z, as a multiple of sqrt(z_dim).

    >>> radius(ZRadius(high=2.0).retract(torch.tensor([[30.0, 40.0]]))).round(decimals=3)
    tensor([[2.]])
    """

    label = "Z(r)"
    coordinates = "z"

    def __init__(self, low: float = 0.5, high: float = 2.0):
        super().__init__()
        if not 0 < low <= 1 <= high:
            raise ConfigError(f"space.low={low}, space.high={high}: not 0 < low <= 1 <= high.")
        self.low, self.high = low, high

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        """One z."""
        return (generator.z_dim,)

    def num_rows(self, generator: Generator) -> int:
        """An encoder emits one row."""
        return 1

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        """A draw of the prior, on the sphere of Z; row i from `rngs[i]` alone."""
        return onto_sphere(randn((generator.z_dim,), rngs)).to(generator.w_avg)

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        """The one row, brought into the shell."""
        return self.retract(rows[:, 0])

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        """The mapped z in every row, without the norm."""
        return generator.as_ws(generator.mapping(code, normalize=False))

    def retract(self, code: Tensor) -> Tensor:
        """The nearest point of the shell."""
        return onto_sphere(code) * radius(code).clamp(self.low, self.high)

    def after_step(self, code: Tensor) -> Tensor:
        """Retracts after each step."""
        return self.retract(code)

    def interpolate(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """The direction along a great circle and the radius along a line; a straight line may cross the hole."""
        return slerp(onto_sphere(a), onto_sphere(b), t) * torch.lerp(radius(a), radius(b), t)

    def spread(self, generator: Generator) -> Tensor:
        """The prior's: 1 in each coordinate."""
        return torch.ones(self.code_shape(generator), device=generator.w_avg.device)

    def settings(self) -> dict[str, str]:
        """What tables print beside the label."""
        return {"start": "random", "truncation": "none", "radius": f"{self.low:g} to {self.high:g}"}


def radius(code: Tensor) -> Tensor:
    """Length of z as a multiple of sqrt(z_dim), `(N, 1)`."""
    return code.square().mean(-1, keepdim=True).sqrt()
