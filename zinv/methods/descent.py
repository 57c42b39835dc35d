"""The one inner loop: Adam on some variables, a batch of images at once, each image for itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zinv.methods.acceleration import Terms, make_step, plain_step

PATIENCE = 10
"""Steps between two looks at which images have stopped, on a GPU."""


@dataclass
class Trace:
    """Values of every term each `every` steps."""

    every: int
    steps: list[int] = field(default_factory=list)
    rows: list[dict[str, Tensor]] = field(default_factory=list)

    def see(self, step: int, values: Terms) -> None:
        """Keep the values of this step if it is due."""
        if self.every and step % self.every == 0:
            self.steps.append(step)
            self.rows.append({name: value.detach().clone() for name, value in values.items()})

    def table(self) -> dict[str, Tensor] | None:
        """`(T, N)` by term and "step" `(T,)`; None if nothing was kept."""
        if not self.rows:
            return None
        columns = {name: torch.stack([row[name] for row in self.rows]).cpu() for name in self.rows[0]}
        return {"step": torch.tensor(self.steps), **columns}


Part = Callable[[Tensor, Sequence[Tensor]], Callable[[], Terms]]
"""From places of images and their variables to the terms of those images alone."""


def descend(
    variables: Sequence[Tensor],
    terms: Callable[[], Terms],
    weights: Mapping[str, float],
    num_steps: int,
    lr: float | Callable[[int], float],
    after_step: Callable[[], None] | None = None,
    stopped: Callable[[Terms], Tensor] | None = None,
    trace: Trace | None = None,
    scales: Sequence[Tensor] | None = None,
    part: Part | None = None,
    steady: bool = False,
) -> None:
    """Adam (betas .9, .999, eps 1e-8) on the sum over images of their losses, which leaves every image to itself.

    Nothing is read from a GPU on the way, but every ten steps which images have stopped.

    Args:
        variables: leaves `(N, …)` that require a gradient; changed in place.
        terms: each term's values `(N,)` at the present variables.
        weights: of the terms.
        num_steps: updates.
        lr: learning rate, or the rate of each step.
        after_step: called after each update, such as a retraction; not with `part`.
        stopped: from a step's values to a mask `(N,)`; images under it are not updated any more, and with all of them
            under it the descent ends. An image that has left the batch keeps its last values.
        trace: where values are kept along the way.
        scales: factors of the variables' steps, one tensor a variable.
        part: lets images that have stopped leave the batch.
        steady: the terms draw nothing, so that a step may be captured once and replayed.
    """
    moving = [variable.requires_grad for variable in variables]
    if not any(moving):
        return
    scales = None if scales is None else [x for x, moves in zip(scales, moving, strict=True) if moves]
    own = [x for x, moves in zip(variables, moving, strict=True) if moves]
    going = _Going(own, terms, weights, scales, steady)
    for step in range(limited(num_steps)):
        values = going.values()
        if trace:
            trace.see(step, values)
        if stopped is not None and going.stop(stopped(values), part, step):
            break
        going.step(lr(step) if callable(lr) else lr)
        if after_step is not None:
            after_step()
    going.write_back()


_limit: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def at_most(num_steps: int) -> Iterator[None]:
    """Inside, descents end after so many steps: a trial of what they take."""
    token = _limit.set(num_steps)
    try:
        yield
    finally:
        _limit.reset(token)


def limited(num_steps: int) -> int:
    """The steps of a descent, or fewer under `at_most`."""
    limit = _limit.get()
    return num_steps if limit is None else min(num_steps, limit)


class _Going:
    """The images that still go on: their places in the batch, variables, terms and optimiser."""

    def __init__(
        self,
        variables: list[Tensor],
        terms: Callable[[], Terms],
        weights: Mapping[str, float],
        scales: list[Tensor] | None,
        steady: bool,
    ) -> None:
        self.whole, self.variables, self.scales = variables, variables, scales
        self.total: Callable[[Terms], Tensor] = lambda values: weighted_sum(values, weights).sum()
        self.evaluate = make_step(variables, terms, self.total, steady)
        self.places: Tensor | None = None
        self.done: Tensor | None = None
        self.last: Terms = {}
        self.optimiser = _adam(variables)
        self.patience = _patience(variables[0].device)

    def values(self) -> Terms:
        """Each term's values `(N,)`, of images that have left the last ones; the variables get their gradients."""
        now, places = self.evaluate(), self.places
        if places is None:
            self.last = now
        else:
            self.last = {name: x.detach().index_copy(0, places, now[name].detach()) for name, x in self.last.items()}
        return self.last

    def stop(self, now: Tensor, part: Part | None, step: int) -> bool:
        """Note which images stop, let them leave, and say whether none is left."""
        self.done = now if self.done is None else self.done | now
        if step % self.patience:
            return False
        done = self.done if self.places is None else self.done[self.places]
        if not bool(done.any()):
            return False
        if bool(done.all()):
            return True
        if part is not None and done.shape[0] > 1:
            self._keep(~done, part)
        return False

    def step(self, lr: float) -> None:
        self.optimiser.param_groups[0]["lr"] = lr
        stay = self._staying()
        before = [x.detach().clone() for x in self.variables] if stay is not None or self.scales else []
        self.optimiser.step()
        with torch.no_grad():
            for i, old in enumerate(before):
                x = self.variables[i]
                if self.scales:
                    x.copy_(old + self.scales[i] * (x - old))
                if stay is not None:
                    x.copy_(torch.where(stay.view(-1, *[1] * (x.dim() - 1)), old, x))

    @torch.no_grad()
    def write_back(self) -> None:
        """What those that went on have found, to where the batch has it."""
        if self.places is not None:
            for whole, x in zip(self.whole, self.variables, strict=True):
                whole[self.places] = x

    def _staying(self) -> Tensor | None:
        """The mask of images that stop but are still there."""
        if self.done is None:
            return None
        stay = self.done if self.places is None else self.done[self.places]
        return stay if self.patience > 1 or bool(stay.any()) else None

    @torch.no_grad()
    def _keep(self, rows: Tensor, part: Part) -> None:
        self.write_back()
        state = [self.optimiser.state[x] for x in self.variables]
        before, places = self.variables, torch.arange(len(rows), device=rows.device)
        self.places = (places if self.places is None else self.places)[rows]
        self.variables = [x.detach()[rows].clone().requires_grad_(True) for x in before]
        self.optimiser = _adam(self.variables)
        for x, old, known in zip(self.variables, before, state, strict=True):
            x.grad = None if old.grad is None else old.grad[rows]
            self.optimiser.state[x] = {k: v[rows] if v.dim() else v for k, v in known.items()}
        self.scales = [x if x.shape[0] == 1 else x[rows] for x in self.scales] if self.scales else None
        self.evaluate = plain_step(self.variables, part(self.places, self.variables), self.total)


def _patience(device: torch.device) -> int:
    return 1 if device.type == "cpu" else PATIENCE


def _adam(variables: Sequence[Tensor]) -> torch.optim.Adam:
    fused = variables[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(variables, lr=0.0, fused=fused, foreach=not fused)


def weighted_sum(values: Terms, weights: Mapping[str, float]) -> Tensor:
    """What is descended on, `(N,)`.

    >>> weighted_sum({"mse": torch.ones(2), "lpips": torch.ones(2)}, {"mse": 1.0, "lpips": 10.0})
    tensor([11., 11.])
    """
    return torch.stack([weights[name] * value for name, value in values.items()]).sum(0)


def ramp(step: int, num_steps: int, down: float = 0.25, up: float = 0.05) -> float:
    """Learning-rate factor of the StyleGAN2 projector: cosine down over the last quarter, linear up over the first 5 %.

    >>> ramp(0, 100), ramp(50, 100)
    (0.0, 1.0)
    """
    t = step / num_steps
    fall = min(1.0, (1 - t) / down)
    return (0.5 - 0.5 * float(torch.cos(torch.tensor(torch.pi * fall)))) * min(1.0, t / up)


def cosine(step: int, num_steps: int, up: float = 0.05) -> float:
    """Learning-rate factor: linear up over the first 5 %, then a half cosine down to 0 (Loshchilov and Hutter 2017).

    >>> cosine(4, 100), round(cosine(50, 100), 3)
    (1.0, 0.533)
    """
    rise = max(1, round(up * num_steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise + 1) / (num_steps - rise + 1))
