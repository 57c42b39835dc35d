"""Trainings of two networks of which one judges the other."""

from __future__ import annotations

from collections.abc import Callable

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

Judge = Callable[[Tensor], Tensor]


def update(trainee: L.LightningModule, which: int, loss: Tensor, lr: float | None = None) -> None:
    """A step of one of the optimisers, at its own rate or another."""
    optimiser = trainee.optimizers()[which]  # type: ignore[index]
    if lr is not None:
        optimiser.param_groups[0]["lr"] = lr
    optimiser.zero_grad(set_to_none=True)
    trainee.manual_backward(loss)
    optimiser.step()


def judged(judge: Judge, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures before a discriminator, in one pass from which both players take their gradients.

    Returns:
        Their logits, with the discriminator's graph alone; `mean softplus(-D(fake))`, which falls as they pass for
        real; and `fake` times its gradient, on which whoever made them descends.
    """
    shown = fake.detach().requires_grad_(True)
    logits = judge(shown).float()
    fooled = F.softplus(-logits).mean()
    (gradient,) = torch.autograd.grad(fooled, shown, retain_graph=True)
    return logits, fooled.detach(), (fake * gradient).sum()


def told_apart(fake: Tensor, real: Tensor) -> Tensor:
    """The discriminator's loss, of logits: `mean softplus(fake) + mean softplus(-real)`."""
    return F.softplus(fake).mean() + F.softplus(-real.float()).mean()


def r1(judge: Judge, real: Tensor) -> Tensor:
    """Mean squared length of the gradient of a discriminator at real samples (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
