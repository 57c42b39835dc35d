"""When an image's tuning ends, and whether it came to anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from zinv.errors import ConfigError, suggest
from zinv.losses.base import Loss
from zinv.methods.acceleration import Terms
from zinv.methods.descent import weighted_sum
from zinv.presets import preset_names

DIVERGED: Final = 2.0  # times the loss at the pivot


class Watch:
    """Stops images that are good enough or lost, and keeps where each began and how far it came.

    Args:
        stop_at: an image stops once all these terms are at or below their values; never if there are none.
        weights: of the terms in the loss.
        target: of the images.
        shared: they stop together.
    """

    def __init__(
        self, stop_at: Mapping[str, float], weights: Mapping[str, float], target: Tensor, shared: bool = False
    ) -> None:
        self.stop_at, self.weights, self.shared = stop_at, weights, shared
        self.first: Tensor | None = None
        self.steps = target.new_zeros(len(target), dtype=torch.int64)
        self.done = target.new_zeros(len(target), dtype=torch.bool)

    def __call__(self, values: Terms) -> Tensor:
        total = weighted_sum({name: values[name].detach() for name in self.weights}, self.weights)
        self.first = total if self.first is None else self.first
        self.done = self.done | ~total.isfinite()
        if self.stop_at:
            self.done = self.done | torch.stack([values[name] <= x for name, x in self.stop_at.items()]).all(0)
        if self.shared:  # they stop together
            self.steps = self.steps + ~self.done.all()
            return self.done.all()[None]
        self.steps = self.steps + ~self.done
        return self.done

    def failures(self, last: Tensor) -> dict[int, str]:
        """Why images have no result, by their index."""
        each = enumerate(zip((last if self.first is None else self.first).tolist(), last.tolist(), strict=True))
        words = "tuning diverged: loss {:.3g} at the pivot, {:.3g} after {} steps (a lower method.lr may help)"
        return {i: words.format(a, b, int(self.steps[i])) for i, (a, b) in each if not b <= DIVERGED * a}


def thresholds(stop_at: Mapping[str, float], loss: Loss) -> dict[str, float]:
    """Those of `method.stop_at` that the loss has a term for.

    Raises:
        ConfigError: there is no such term at all.
    """
    known = {*loss.weights, *preset_names("term")}
    for name, value in stop_at.items():
        if name not in known:
            raise ConfigError(f"method.stop_at.{name}={value}: there is no such term. {suggest(name, known)}")
    return {name: value for name, value in stop_at.items() if name in loss.weights}
