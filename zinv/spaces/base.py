"""The LatentSpace: coordinates of an image in a generator, and nothing else."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from zinv.errors import ConfigError
from zinv.generators.base import Generator, Styles
from zinv.seeding import Rngs, image_rng, randn

SPREAD_SAMPLES = 10_000


class LatentSpace(nn.Module, ABC):
    """Where a code lives: its shape, its start, its way to styles, its shape-keeping moves.

    The generator is passed in, never held: a method may pass a tuned one, or what is left of one above a base code.

    Attributes:
        label: as tables print it, "Z+".
        coordinates: which directions fit: "z", "w" or "s".
        optimised: False for a control whose code stays where it starts.
        num_starts: prior draws that a method tries before it descends from the best of them.
    """

    label: ClassVar[str]
    coordinates: ClassVar[Literal["z", "w", "s"]]
    optimised: ClassVar[bool] = True
    num_starts: int = 1

    def check(self, generator: Generator) -> None:
        """Raise ConfigError if the generator cannot have this space; each can by default."""

    @abstractmethod
    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        """K of a code `(N, *K)`."""

    @abstractmethod
    def num_rows(self, generator: Generator) -> int:
        """Rows that an encoder for this space emits: 1 for Z and W, `num_ws` for the others."""

    @abstractmethod
    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        """One start `(N, *K)` an image, each from its own random generator."""

    @abstractmethod
    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        """`(N, num_rows, D)` in the space's own coordinates to a code; S takes rows of w."""

    def draw(self, generator: Generator, rngs: Rngs) -> Tensor:
        """Codes `(N, *K)` of the prior, each row from a draw of its own; what directions are fitted on."""
        z = randn((self.num_rows(generator), generator.z_dim), rngs).to(generator.w_avg)
        if self.coordinates == "z":
            return self.from_rows(generator, z)
        return self.from_rows(generator, generator.map_rows(z))

    @abstractmethod
    def to_ws(self, generator: Generator, code: Tensor) -> Tensor | None:
        """`(N, num_ws, w_dim)`, truncated; None for S, whose codes have no w."""

    def prior_rows(self, generator: Generator) -> Tensor:
        """Prior draws `(M, num_rows, D)` as an encoder would emit them, the same at each call."""
        draws = prior_z(generator) if self.coordinates == "z" else prior_ws(generator)
        rows = draws if draws.dim() == 3 else draws[:, None]
        return rows.expand(-1, self.num_rows(generator), -1)

    def encoder_spaces(self, generator: Generator) -> tuple[str, ...]:
        """Labels of the spaces whose encoders emit rows that `from_rows` takes; its own comes first."""
        return (self.label,)

    def to_styles(self, generator: Generator, code: Tensor) -> Styles:
        """The styles of a code."""
        ws = self.to_ws(generator, code)
        assert ws is not None
        return generator.affine(ws)

    def retract(self, code: Tensor) -> Tensor:
        """The nearest code of the space; every tensor of the right shape is one by default."""
        return code

    def after_step(self, code: Tensor) -> Tensor:
        """What the mode does to a code after each step of the optimiser."""
        return code

    def penalty(self, generator: Generator, code: Tensor) -> Tensor:
        """The space's own regulariser `(N,)`, weighted; zero by default."""
        return code.new_zeros(code.shape[0])

    def move(self, generator: Generator, code: Tensor, delta: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """An edit's step: add `delta`, on some rows of the whole generator or on all, then retract."""
        if rows is not None and code.dim() == 3:
            kept = [row - generator.first_ws for row in rows]
            mask = torch.tensor([float(i in kept) for i in range(code.shape[1])], device=code.device)
            delta = delta * mask[:, None]
        return self.retract(code + delta)

    def flow(self, code: Tensor, delta: Tensor) -> Tensor:
        """What ever more and smaller moves by parts of `delta`, each retracted, lead to; by default one such move."""
        return self.retract(code + delta)

    def interpolate(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """From a at t = 0 to b at t = 1: a line by default."""
        return torch.lerp(a, b, t)

    @abstractmethod
    def spread(self, generator: Generator) -> Tensor:
        """Standard deviation `K` of each coordinate over the prior: the unit of jitter and of fair steps."""

    def settings(self) -> dict[str, str]:
        """What a table prints of the space beside its label."""
        return {}

    def num_scalars(self, generator: Generator) -> int:
        """Numbers that are optimised."""
        return math.prod(self.code_shape(generator)) if self.optimised else 0


def truncation_of(space: LatentSpace) -> str:
    """How a space truncates, as tables print it; an encoder learns to undo it."""
    return space.settings().get("truncation", "none")


def truncate(generator: Generator, ws: Tensor, psi: float, cutoff: int | None) -> Tensor:
    """Draw the first rows towards the mean: `w_avg + psi (w - w_avg)` (Karras et al. 2019).

    Args:
        generator: whose w_avg; `cutoff` counts from the whole generator's row 0, also above a base code.
        ws: `(N, num_ws, w_dim)`.
        psi: 1 changes nothing.
        cutoff: rows below it are truncated; all if None.
    """
    if psi == 1:
        return ws
    last = ws.shape[1] if cutoff is None else max(0, cutoff - generator.first_ws)
    return torch.cat([torch.lerp(generator.w_avg, ws[:, :last], psi), ws[:, last:]], 1)


def require_one_w(generator: Generator, label: str) -> None:
    """Raise ConfigError if the generator has a w of its own for each row, so that no one w is its prior."""
    if generator.w_per_layer:
        raise ConfigError(
            f"space: {label} needs one w for all layers; this generator maps z to a w a layer. "
            "Take space=z, zplus, wplus or s."
        )


@torch.no_grad()
def prior_ws(generator: Generator, num: int = SPREAD_SAMPLES) -> Tensor:
    """`(num, *w_shape)` of the prior, the same at each call."""
    return generator.mapping(prior_z(generator, num))


def prior_z(generator: Generator, num: int = SPREAD_SAMPLES) -> Tensor:
    """The draws `(num, z_dim)` behind `prior_ws`."""
    return torch.randn(num, generator.z_dim, generator=image_rng(0, "prior")).to(generator.w_avg)
