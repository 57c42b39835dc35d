"""L-BFGS with a history and a line search an image (Nocedal and Wright 2006, algorithms 7.4 and 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from zinv.methods.acceleration import Terms
from zinv.methods.descent import Trace, limited, weighted_sum

HISTORY: Final = 10
ARMIJO: Final = 1e-4
BACKTRACK: Final = 0.5
PATIENCE: Final = 8
"""Shorter tries of one direction, after which an image forgets its history."""


def lbfgs(
    variables: Sequence[Tensor],
    terms: Callable[[], Terms],
    weights: Mapping[str, float],
    num_steps: int,
    lr: float,
    after_step: Callable[[], None] | None = None,
    trace: Trace | None = None,
) -> None:
    """Descend; every step is one evaluation, whether it is accepted or the line search goes on.

    Images share evaluations and nothing else. One whose try does not lower its loss enough (Armijo) tries half as far
    at the next; a direction that never does is replaced by the gradient's. The variables end at the last accepted try.

    Args:
        variables: leaves `(N, …)` that require a gradient; changed in place.
        terms: each term's values `(N,)` at the present variables.
        weights: of the terms.
        num_steps: evaluations.
        lr: root mean square of a first step's coordinates.
        after_step: called at each try, such as a retraction.
        trace: where values are kept along the way, those of each image's last accepted try.
    """
    moving = [variable for variable in variables if variable.requires_grad]
    if not moving or not num_steps:
        return
    search, kept = None, dict[str, Tensor]()
    for step in range(limited(num_steps)):
        values = terms()
        loss = weighted_sum(values, weights)
        gradient = _flat(torch.autograd.grad(loss.sum(), moving))
        point = _flat(moving)
        search = search or _Search(point, lr)
        good = search.see(point, loss.detach(), gradient)
        kept = {name: torch.where(good, x.detach(), kept.get(name, x.detach())) for name, x in values.items()}
        if trace:
            trace.see(step, kept)
        _put(moving, search.next())
        if after_step is not None:
            after_step()
    assert search is not None
    _put(moving, search.x)


class _Search:
    """Where each image is, and how it goes on; the last axis is the coordinate.

    Attributes:
        x: accepted points `(N, D)`.
        f: their losses `(N,)`.
        g: their gradients.
    """

    def __init__(self, like: Tensor, lr: float) -> None:
        num, _ = like.shape
        self.lr, self.x, self.g = lr, like.clone(), torch.zeros_like(like)
        self.f = like.new_full((num,), torch.inf)
        self.direction, self.length = torch.zeros_like(like), like.new_ones(num)
        self.slope, self.tries = like.new_zeros(num), like.new_zeros(num, dtype=torch.int64)
        self.s = like.new_zeros(HISTORY, *like.shape)
        self.y, self.rho = torch.zeros_like(self.s), like.new_zeros(HISTORY, num)

    @torch.no_grad()
    def see(self, x: Tensor, f: Tensor, g: Tensor) -> Tensor:
        """Accept the tries that are good enough, `(N,)`, and choose new directions for their images."""
        good = f <= self.f + ARMIJO * self.length * self.slope
        first = self.f.isinf()
        good = good & f.isfinite() | first
        self._remember(x - self.x, g - self.g, good & ~first)
        self.x, self.g = (torch.where(good[:, None], new, old) for new, old in ((x, self.x), (g, self.g)))
        self.f = torch.where(good, f, self.f)
        self.tries = torch.where(good, 0, self.tries + 1)
        lost = self.tries >= PATIENCE
        self.rho = torch.where(lost, 0.0, self.rho)
        self._turn(good | lost)
        self.length = torch.where(good | lost, 1.0, BACKTRACK * self.length)
        self.tries = torch.where(lost, 0, self.tries)
        return good

    def next(self) -> Tensor:
        """The next tries."""
        return self.x + self.length[:, None] * self.direction

    def _remember(self, s: Tensor, y: Tensor, which: Tensor) -> None:
        """Put steps and changes of the gradient of positive curvature first, for some images."""
        curvature = (s * y).sum(1)
        which = which & (curvature > 1e-10 * s.norm(dim=1) * y.norm(dim=1))
        rho = torch.where(which, 1 / curvature, 0.0)
        for memory, new in ((self.s, s), (self.y, y), (self.rho, rho)):
            older = torch.cat([new[None], memory[:-1]])
            memory.copy_(torch.where(which.view(1, -1, *[1] * (memory.dim() - 2)), older, memory))

    def _turn(self, which: Tensor) -> None:
        """New directions for some images: -H g by the two loops over history, or the gradient's where there is none."""
        q, alphas = self.g.clone(), []
        for s, y, rho in zip(self.s, self.y, self.rho, strict=True):
            alphas.append(rho * (s * q).sum(1))
            q -= alphas[-1][:, None] * y
        newest = (self.y[0] * self.y[0]).sum(1) * self.rho[0]
        fresh = newest <= 0
        rms = self.g.square().mean(1).sqrt()
        scale = torch.where(fresh, self.lr / rms.clamp_min(1e-30), 1 / newest.clamp_min(1e-30))
        q = q * scale[:, None]
        for s, y, rho, alpha in reversed(list(zip(self.s, self.y, self.rho, alphas, strict=True))):
            q += (alpha - rho * (y * q).sum(1))[:, None] * s
        slope = -(self.g * q).sum(1)
        self.direction = torch.where(which[:, None], -q, self.direction)
        self.slope = torch.where(which, slope, self.slope)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([x.detach().flatten(1) for x in tensors], 1)


@torch.no_grad()
def _put(variables: Sequence[Tensor], flat: Tensor) -> None:
    for x, part in zip(variables, flat.split([x[0].numel() for x in variables], 1), strict=True):
        x.copy_(part.view_as(x))
