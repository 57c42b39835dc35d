"""Moves: steps along directions, and how a code is brought back into its space afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zinv.editing.direction import Direction
from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.spaces.base import LatentSpace, truncate

Retraction = Literal["once", "micro", "flow"]
Base = Literal["kept", "moved"]


@dataclass(frozen=True)
class Rule:
    """How codes are moved.

    Args:
        retraction: after the whole move, after each of many small ones, or their limit in closed form. In W, W+ and S,
            which have nothing to retract to, all are one addition.
        micro_steps: of `micro`; the released code for Z+ makes 1,000.
        center: first take out the code's own coordinate along the direction, as GANSpace's and the released code do.
        truncation_psi: of edited codes of w, as the released code does with those of W+; 1 is none.
        truncation_cutoff: rows of the whole generator below it are truncated; all if None.
        base: base codes stay as they are, or move by the generator's own feature difference.
    """

    retraction: Retraction = "once"
    micro_steps: int = 1000
    center: bool = False
    truncation_psi: float = 1.0
    truncation_cutoff: int | None = None
    base: Base = "kept"

    def check(self, space: LatentSpace, view: Generator) -> None:
        """Raise ConfigError if it cannot be applied to the codes of a space."""
        rows = len(space.code_shape(view)) > 1
        if self.truncation_psi != 1 and space.coordinates != "w":
            raise ConfigError(
                f"direction.truncation_psi={self.truncation_psi:g}: it truncates codes of w, not of {space.label}."
            )
        if self.truncation_psi != 1 and self.truncation_cutoff is not None and not rows:
            raise ConfigError(
                f"direction.truncation_cutoff={self.truncation_cutoff}: {space.label} has one w for all rows."
            )


@dataclass(frozen=True)
class Move:
    """An edit of N codes: of each the sum of some directions, each at a strength.

    Attributes:
        steps: for each code, pairs of a direction and its strength.
        rule: how they are made.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.spaces.w import W
    >>> smile = Direction("smile", "w", torch.ones(1, 16))
    >>> move = Move((((smile, 2.0),),))
    >>> move(W(), toy_stylegan2(), torch.zeros(1, 16))[0, :3].tolist()
    [2.0, 2.0, 2.0]
    """

    steps: tuple[tuple[tuple[Direction, float], ...], ...]
    rule: Rule = Rule()

    @classmethod
    def along(cls, direction: Direction, strengths: Sequence[float], rule: Rule = Rule()) -> Move:
        """One direction, at a strength for each code."""
        return cls(tuple(((direction, strength),) for strength in strengths), rule)

    def __call__(self, space: LatentSpace, view: Generator, code: Tensor) -> Tensor:
        """Moved codes `(N, *K)`; one that all its steps leave where it is stays the same, bit by bit.

        Args:
            space: of the codes.
            view: the generator, or what is left of it above a base code.
            code: `(N, *K)`.
        """
        start = torch.stack([self._start(space, view, x, steps) for x, steps in zip(code, self.steps, strict=True)])
        delta = torch.stack([_delta(space, view, x, steps) for x, steps in zip(code, self.steps, strict=True)])
        moved = self._moved(space, view, start, delta)
        still = ((delta == 0) & (start == code)).flatten(1).all(1)  # a code that stays is not even rounded
        moved = torch.where(still.view(-1, *[1] * (code.dim() - 1)), code, moved)
        return self._truncated(view, moved)

    def check(self, space: LatentSpace, view: Generator) -> None:
        """Raise an error if it cannot be made with the codes of a space on a generator or view; see `Direction`."""
        self.rule.check(space, view)
        for direction in {id(direction): direction for steps in self.steps for direction, _ in steps}.values():
            direction.check(space, view)
            if self.rule.center:
                direction.origin(space, view)

    def _start(
        self, space: LatentSpace, view: Generator, code: Tensor, steps: Sequence[tuple[Direction, float]]
    ) -> Tensor:
        if self.rule.center:
            for direction, _ in steps:
                code = _centred(code, direction.delta(space, view), direction.origin(space, view))
        return code

    def _moved(self, space: LatentSpace, view: Generator, code: Tensor, delta: Tensor) -> Tensor:
        if self.rule.retraction == "once":
            return space.move(view, code, delta)
        if self.rule.retraction == "flow":
            return space.flow(code, delta)
        for _ in range(self.rule.micro_steps):
            code = space.move(view, code, delta / self.rule.micro_steps)
        return code

    def _truncated(self, view: Generator, code: Tensor) -> Tensor:
        psi, cutoff = self.rule.truncation_psi, self.rule.truncation_cutoff
        if psi == 1:
            return code
        return truncate(view, code, psi, cutoff) if code.dim() == 3 else torch.lerp(view.w_avg, code, psi)


def _delta(space: LatentSpace, view: Generator, code: Tensor, steps: Sequence[tuple[Direction, float]]) -> Tensor:
    total = torch.zeros_like(code)
    for direction, strength in steps:
        total = total + strength * direction.delta(space, view).to(code)
    return total


def _centred(code: Tensor, step: Tensor, origin: Tensor) -> Tensor:
    """`w - ((w - origin) u) u`, row by row, with u the direction of the step; rows that it does not move stay."""
    u = torch.nn.functional.normalize(step.to(code), dim=-1)
    return code - ((code - origin.to(code)) * u).sum(-1, keepdim=True) * u
