"""The optimiser of the small networks."""

from __future__ import annotations

import math

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn, optim


def adamw(module: nn.Module, lr: float, num_steps: int, weight_decay: float = 1e-3) -> OptimizerLRScheduler:
    """AdamW whose rate rises linearly over the first 5 % of the steps and falls to 0 as a cosine."""
    optimizer = optim.AdamW(module.parameters(), lr, weight_decay=weight_decay)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step / num_steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warm_cosine(t: float) -> float:
    """Share of the learning rate at share `t` of a training.

    >>> [round(warm_cosine(t), 3) for t in (0.0, 0.05, 1.0)]
    [0.0, 1.0, 0.0]
    """
    return min(1.0, t / 0.05) * min(1.0, 0.5 + 0.5 * math.cos(math.pi * max(0.0, t - 0.05) / 0.95))
