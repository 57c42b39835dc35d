"""The Inverter: a method that finds the code (and what else it needs) of a target, in any latent space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

import lightning as L
import torch
from torch import Tensor

from zinv.data.sampler import Batch
from zinv.errors import StoreError
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.methods.descent import Terms, Trace, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.seeding import Rngs, image_rngs
from zinv.spaces.base import LatentSpace


class Inverter(L.LightningModule, ABC):
    """A method over a generator, a space and a loss; usable with a Trainer or alone through `invert`.

    Args:
        generator: frozen.
        space: where codes live.
        loss: what is descended on.

    Raises:
        ConfigError: the generator cannot have this space.

    Attributes:
        num_steps: updates of an image.
        seed: with an image's id, of all that is drawn for it.
        trace_every: steps between kept loss values; 0 keeps none.
        start: gives the inversions that a batch starts from; None: the space's own start.
    """

    num_steps: int
    seed: int = 0
    trace_every: int = 0
    start: Callable[[Batch], Inversion] | None = None

    def __init__(self, generator: Generator, space: LatentSpace, loss: Loss):
        super().__init__()
        space.check(generator)
        self.generator, self.space, self.loss = generator, space, loss.over(generator, space)

    @property
    def label(self) -> str:
        """The space as the paper's tables print it under this method."""
        return self.space.label

    @abstractmethod
    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        """Invert targets `(N, 3, R, R)` in [-1, 1], each with its own random generator, as one batch.

        With `start` it goes on from what another method has found; what it has no use for in that is left out.
        """

    @abstractmethod
    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Synthesise `(N, 3, R, R)` from what an inversion holds."""

    def num_scalars(self) -> int:
        """Numbers that are optimised for an image."""
        return self.space.num_scalars(self.generator)

    def settings(self) -> dict[str, str]:
        """What a table prints of a run beside its label."""
        return self.space.settings()

    def found(self) -> dict[str, str]:
        """Digests of the networks that a setting of "auto" found: a run does not go on with others."""
        return {}

    @classmethod
    def draws(cls, settings: Mapping[str, object]) -> bool:
        """Whether with these settings it draws random numbers beside the space's start; a plan then keeps all seeds."""
        return True

    def predict_step(self, batch: Batch, batch_idx: int) -> Inversion | None:
        """Invert a batch under a Trainer; a rank that has nothing left passes."""
        if not batch.ids:
            return None
        rngs = image_rngs(self.seed, batch.ids)
        return self.invert(batch.target, rngs, self.start(batch)) if self.start else self.invert(batch.target, rngs)


def first_code(
    space: LatentSpace,
    generator: Generator,
    rngs: Rngs,
    evaluate: Callable[[Tensor], Tensor],
    start: Inversion | None = None,
) -> Tensor:
    """The code `(N, *K)` that a descent begins at: the start's, or the space's own.

    Args:
        space: where the code lives.
        generator: or the view above a base code, which takes the last rows of a start for the whole.
        rngs: one an image.
        evaluate: from a code to `(N,)`; decides between the space's prior draws.
        start: what another method has found.

    Raises:
        StoreError: the start's code is of another shape.
    """
    if start is None:
        return _best_draw(space, generator, rngs, evaluate)
    shape = space.code_shape(generator)
    code = start.code[:, -shape[0] :]
    if code.shape[1:] != shape:
        found = tuple(start.code.shape[1:])
        raise StoreError(f"start: its codes have shape {found}, not {shape}; were they made above a base code?")
    return code


def _best_draw(space: LatentSpace, generator: Generator, rngs: Rngs, evaluate: Callable[[Tensor], Tensor]) -> Tensor:
    best = space.initial(generator, rngs)
    if space.num_starts == 1:
        return best
    with torch.no_grad():
        lowest = evaluate(best)
        for _ in range(space.num_starts - 1):
            other = space.initial(generator, rngs)
            value = evaluate(other)
            better = value < lowest
            best = torch.where(better.view(-1, *[1] * (best.dim() - 1)), other, best)
            lowest = torch.minimum(value, lowest)
    return best


def keep_in_space(space: LatentSpace, code: Tensor) -> None:
    """What the space's mode does after a step, in place."""
    with torch.no_grad():
        code.copy_(space.after_step(code))


@torch.no_grad()
def finished(inversion: Inversion, terms: Callable[[], Terms], weights: Mapping[str, float], trace: Trace) -> Inversion:
    """The inversion with each term's value after the last step, their weighted sum, and the trace."""
    values = terms()
    return replace(inversion, losses={**values, "total": weighted_sum(values, weights)}, trace=trace.table())
