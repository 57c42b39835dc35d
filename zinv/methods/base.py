"""The Inverter: a method that finds the code (and what else it needs) of a target, in any latent space."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import lightning as L
import torch
from torch import Tensor

from zinv.arithmetic import Precision, precision
from zinv.data.sampler import Batch
from zinv.editing.moves import Move
from zinv.errors import ConfigError, StoreError
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.methods.acceleration import How, Terms, accelerated
from zinv.methods.descent import Trace, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.methods.memory import free_cache, out_of_memory
from zinv.seeding import Rngs, image_rngs
from zinv.spaces.base import LatentSpace


class Images(Protocol):
    """All images of a run that can be inverted."""

    @property
    def ids(self) -> Sequence[str]:
        """Their names."""

    def __call__(self, ids: Sequence[str]) -> Batch:
        """Some of them; those that cannot be read are its failures."""


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
        precision: of synthesis and loss networks while images are inverted; results are rendered in float32.
        step_by: how steps are made: plainly, replayed as a CUDA graph or compiled.
        fits: images that fit into memory at a time, once more have not.
        trace_every: steps between kept loss values; 0 keeps none.
        start: gives the inversions that a batch starts from; None: the space's own start.
        descends: False if there is nothing that could start anywhere.
        images: of the run, for a method whose images are not each for themselves.
    """

    num_steps: int
    seed: int = 0
    precision: Precision = "float32"
    step_by: How = "plain"
    fits: int | None = None
    trace_every: int = 0
    start: Callable[[Batch], Inversion] | None = None
    descends: bool = True
    images: Images | None = None

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

    def moved(self, inversion: Inversion, code: Tensor) -> Inversion:
        """The inversion with another code; with its own, it renders its reconstruction."""
        return replace(inversion, code=code)

    def view(self, inversion: Inversion | None = None) -> Generator:
        """What the codes are of: the generator, or what is left of it above an inversion's base code."""
        return self.generator.above(inversion.base[0]) if inversion and inversion.base else self.generator

    @torch.no_grad()
    def edit(self, inversion: Inversion, move: Move) -> Inversion:
        """The inversion with its code moved; base codes too if the move says so, and nothing else.

        Raises:
            ConfigError: the move cannot be made here, as `check_move` says.
        """
        view = self.view(inversion)
        self.check_move(move, view)
        code = move(self.space, view, inversion.code)
        base = self._moved_base(inversion, code) if move.rule.base == "moved" else inversion.base
        return replace(self.moved(inversion, code), base=base, losses={}, trace=None)

    @torch.no_grad()
    def interpolate(self, a: Inversion, b: Inversion, t: float) -> Inversion:
        """From a at t = 0 to b at t = 1: codes on their space's own path, all else on a line.

        Raises:
            StoreError: they are not of one method.
        """
        ends = Inversion.join([a.image(i) for i in range(len(a))] + [b.image(i) for i in range(len(b))])
        first, last = ends.part(0, len(a)).tensors(), ends.part(len(a), len(ends)).tensors()
        between = {name: torch.lerp(x.float(), last[name].float(), t).to(x.dtype) for name, x in first.items()}
        between["code"] = self.space.interpolate(a.code, b.code, t)
        return Inversion.join([({name: x[i] for name, x in between.items()}, ends.metadata()) for i in range(len(a))])

    def check_move(self, move: Move, view: Generator) -> None:
        """Raise an error if a move cannot be made with codes on a view of the generator; says what can.

        Raises:
            ConfigError: a direction of another space or of rows below the view, or a rule that it has no use for.
            WeightsError: a direction of another generator.
        """
        move.check(self.space, view)
        if move.rule.base == "moved" and self.space.code_shape(view) != self.space.code_shape(self.generator):
            raise ConfigError(
                f"direction.base=moved: {self.label} has no codes for the rows below its base code. "
                "Choose from: space=z, w, pn."
            )

    def _moved_base(self, inversion: Inversion, code: Tensor) -> tuple[str, Tensor] | None:
        """A base code f + phi(moved) - phi(code), phi being the generator's own feature at its point."""
        if inversion.base is None:
            return None
        point, feature = inversion.base
        before, after = (self._feature(x, point) for x in (inversion.code, code))
        return point, feature + after - before

    def _feature(self, code: Tensor, point: str) -> Tensor:
        return self.generator.features(self.space.to_styles(self.generator, code), [point])[point]

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
        with precision(self.precision), accelerated(self.step_by):
            parts = [self._invert_part(part) for part in batch.parts(self.fits or len(batch.ids))]
        return parts[0] if len(parts) == 1 else Inversion.together(parts)

    def _invert_part(self, batch: Batch) -> Inversion:
        """Invert a batch, in halves where it takes more memory than there is.

        Raises:
            ConfigError: one image takes more.
        """
        try:
            return self.invert_batch(batch)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            words = " ".join(str(error).split())[:200]
        num = len(batch.ids)
        if num == 1:
            raise ConfigError(f"data.batch_size=1: one image takes more memory than there is ({words}).")
        self.fits = -(-num // 2)
        print(f"{num} images at a time take more memory than there is; {self.fits} from now on.", file=sys.stderr)
        free_cache(batch.target.device)
        return Inversion.together([self._invert_part(part) for part in batch.parts(self.fits)])

    def invert_batch(self, batch: Batch) -> Inversion:
        """Invert images by their names."""
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
            better = (value < lowest) | lowest.isnan()
            best = torch.where(better.view(-1, *[1] * (best.dim() - 1)), other, best)
            lowest = torch.where(better, value, lowest)
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
