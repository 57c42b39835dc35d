"""The one inner loop: Adam on some variables, a batch of images at once, each image for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Terms = Mapping[str, Tensor]
"""Each term's values `(N,)`, without their weights."""


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


def descend(
    variables: Sequence[Tensor],
    terms: Callable[[], Terms],
    weights: Mapping[str, float],
    num_steps: int,
    lr: float | Callable[[int], float],
    after_step: Callable[[], None] | None = None,
    stopped: Callable[[Terms], Tensor] | None = None,
    trace: Trace | None = None,
) -> None:
    """Adam (betas .9, .999, eps 1e-8) on the sum over images of their losses, which leaves every image to itself.

    Args:
        variables: leaves `(N, …)` that require a gradient; changed in place.
        terms: each term's values `(N,)` at the present variables.
        weights: of the terms.
        num_steps: updates.
        lr: learning rate, or the rate of each step.
        after_step: called after each update, such as a retraction.
        stopped: from a step's values to a mask `(N,)`; images under it are not updated any more, and with all of them
            under it the descent ends.
        trace: where values are kept along the way.
    """
    variables = [variable for variable in variables if variable.requires_grad]
    if not variables:
        return
    optimiser = torch.optim.Adam(variables, lr=lr if isinstance(lr, float) else 0.0, foreach=True)
    done: Tensor | None = None
    for step in range(num_steps):
        values = terms()
        if trace:
            trace.see(step, values)
        optimiser.zero_grad(set_to_none=True)
        weighted_sum(values, weights).sum().backward()
        if stopped is not None:
            done = stopped(values) if done is None else done | stopped(values)
            if bool(done.all()):
                return
        if not isinstance(lr, float):
            optimiser.param_groups[0]["lr"] = lr(step)
        _step(optimiser, variables, done)
        if after_step is not None:
            after_step()


def weighted_sum(values: Terms, weights: Mapping[str, float]) -> Tensor:
    """What is descended on, `(N,)`.

    >>> weighted_sum({"mse": torch.ones(2), "lpips": torch.ones(2)}, {"mse": 1.0, "lpips": 10.0})
    tensor([11., 11.])
    """
    return torch.stack([weights[name] * value for name, value in values.items()]).sum(0)


def _step(optimiser: torch.optim.Optimizer, variables: Sequence[Tensor], done: Tensor | None) -> None:
    if done is None or not bool(done.any()):
        optimiser.step()
        return
    before = [variable.detach()[done] for variable in variables]
    optimiser.step()
    with torch.no_grad():
        for variable, old in zip(variables, before, strict=True):
            variable[done] = old


def ramp(step: int, num_steps: int, down: float = 0.25, up: float = 0.05) -> float:
    """Learning-rate factor of the StyleGAN2 projector: cosine down over the last quarter, linear up over the first 5 %.

    >>> ramp(0, 100), ramp(50, 100)
    (0.0, 1.0)
    """
    t = step / num_steps
    fall = min(1.0, (1 - t) / down)
    return (0.5 - 0.5 * float(torch.cos(torch.tensor(torch.pi * fall)))) * min(1.0, t / up)
