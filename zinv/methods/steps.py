"""How a descent's steps are made, beside the paper's constant rate of Adam: schedules, preconditioning, L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from zinv.errors import ConfigError
from zinv.methods.acceleration import Terms
from zinv.methods.descent import Trace, cosine, descend, ramp
from zinv.methods.lbfgs import lbfgs
from zinv.seeding import Rngs, randn

Schedule = Literal["constant", "ramp", "cosine"]
Optimiser = Literal["adam", "lbfgs"]
Precondition = Literal["none", "spread", "image"]

NUM_PROBES: Final = 4
LARGEST_SCALE: Final = 10.0


@dataclass(frozen=True)
class Steps:
    """How one descent moves.

    Args:
        num_steps: updates; evaluations of an L-BFGS, whose line search has its share of them.
        lr: Adam's learning rate; of L-BFGS, the root mean square of a first step's coordinates.
        schedule: of the rate: constant, StyleGAN2's `ramp`, or `cosine` (5 % warm-up, then down to 0).
        optimiser: Adam, or L-BFGS with a history and line search an image, which has no schedule and no scales.

    Raises:
        ConfigError: L-BFGS with a schedule.
    """

    num_steps: int
    lr: float
    schedule: Schedule = "constant"
    optimiser: Optimiser = "adam"

    def __post_init__(self) -> None:
        if self.optimiser == "lbfgs" and self.schedule != "constant":
            raise ConfigError(f"method.schedule={self.schedule}: L-BFGS finds its own steps. Take constant.")

    def rate(self, step: int) -> float:
        """Of a step."""
        factor = ramp if self.schedule == "ramp" else cosine
        return self.lr * factor(step, self.num_steps)

    def __call__(
        self,
        variables: Sequence[Tensor],
        terms: Callable[[], Terms],
        weights: Mapping[str, float],
        after_step: Callable[[], None],
        trace: Trace,
        scales: Sequence[Tensor] | None = None,
        steady: bool = False,
    ) -> None:
        """Descend, with gradients on; as `descend`."""
        with torch.enable_grad():
            if self.optimiser == "lbfgs":
                lbfgs(variables, terms, weights, self.num_steps, self.lr, after_step, trace)
                return
            rate = self.lr if self.schedule == "constant" else self.rate
            descend(variables, terms, weights, self.num_steps, rate, after_step, None, trace, scales, steady=steady)


def check_precondition(precondition: Precondition, optimiser: Optimiser) -> None:
    """Raise ConfigError for scales that L-BFGS, which finds its own, has no use for."""
    if precondition != "none" and optimiser == "lbfgs":
        raise ConfigError(f"method.precondition={precondition}: L-BFGS finds its own steps. Take none.")


def by_spread(spread: Tensor) -> Tensor:
    """Factors `(1, *K)` of root mean square 1 that let coordinates move as the prior spreads them."""
    return (spread / spread.square().mean().sqrt().clamp_min(1e-12))[None]


def by_image(variables: Sequence[Tensor], image: Callable[[], Tensor], rngs: Rngs) -> list[Tensor]:
    """Factors that let unit moves of all parts of the variables change an image alike, each image for itself.

    A part is a row of a code, or a whole base code. How a picture changes with a part's unit moves is the root mean
    square of its Jacobian, which `|J^T v|` of a few normal draws v of pictures estimates (Hutchinson). The geometric
    mean of an image's factors, over its variables, is 1, and none is beyond 10.

    Args:
        variables: leaves `(N, …)`; those that require no gradient have factors 1.
        image: the picture of the present variables.
        rngs: one an image.
    """
    moving = [x for x in variables if x.requires_grad]
    if not moving:
        return [x.new_ones(()) for x in variables]
    squares = [x.new_zeros(_parts(x)) for x in moving]
    for _ in range(NUM_PROBES):
        with torch.enable_grad():
            shown = image()
        probe = randn(tuple(shown.shape[1:]), rngs).to(shown)
        for square, gradient in zip(squares, torch.autograd.grad(shown, moving, probe), strict=True):
            square += gradient.square().flatten(square.dim()).mean(-1)
    logs = [-0.5 * square.clamp_min(1e-30).log() for square in squares]
    middle = torch.stack([x.reshape(len(x), -1).mean(1) for x in logs]).mean(0)
    factors = iter([_shaped((log - _shaped(middle, log)).exp(), x) for log, x in zip(logs, moving, strict=True)])
    ones = (next(factors) if x.requires_grad else x.new_ones(()) for x in variables)
    return [x.clamp(1 / LARGEST_SCALE, LARGEST_SCALE) for x in ones]


def _parts(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape[:2]) if x.dim() == 3 else tuple(x.shape[:1])


def _shaped(x: Tensor, like: Tensor) -> Tensor:
    return x.view(*x.shape, *[1] * (like.dim() - x.dim()))
