"""The LossTerm, and the weighted sum of terms that an inversion descends on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from zinv.errors import ConfigError, suggest
from zinv.presets import make

Prepared = Tensor | tuple[Tensor, ...]
"""What a term computes of its target once a batch; each tensor's first axis is the image."""


class LossTerm(nn.Module, ABC):
    """One number an image; its network, if any, is frozen.

    Attributes:
        label: as tables print it.
        network: the network that it measures with, named as the metrics name theirs.
    """

    label: str
    network: str | None = None

    def prepare(self, target: Tensor) -> Prepared:
        """Once a batch: features of the targets `(N, 3, H, W)`; the targets themselves by default."""
        return target

    @abstractmethod
    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """Values `(N,)` of images `(N, 3, H, W)` in [-1, 1], not clipped, and their codes `(N, *K)`."""


class Loss(nn.Module):
    """A weighted sum of terms, image by image.

    Args:
        terms: weight of each term, by its preset in `configs/term` or its dotted path; weight 0 leaves it out.
        options: constructor arguments of single terms: `options.lpips.size=128`.
        pivot: other weights in a first stage that only seeks a pivot (PTI), for names among the terms.

    Raises:
        ConfigError: an unknown term or argument, a negative weight, or nothing to descend on.
        WeightsError: a network's file is missing.

    >>> loss = Loss({"mse": 2.0})
    >>> prepared = loss.prepare(torch.zeros(1, 3, 4, 4))
    >>> values = loss(torch.ones(1, 3, 4, 4), torch.zeros(1, 8), prepared)
    >>> values["mse"].item(), loss.total(values).item()
    (1.0, 2.0)
    """

    def __init__(
        self,
        terms: dict[str, float],
        options: dict[str, dict[str, object]] | None = None,
        pivot: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        check_terms(terms, options or {})
        self.pivot = _first_stage(pivot, terms, options or {}) if pivot else None
        kept = {name: weight for name, weight in terms.items() if weight}
        self.weights = {column(name): weight for name, weight in kept.items()}
        built = {column(name): _build(name, (options or {}).get(name, {})) for name in kept}
        self.terms = nn.ModuleDict(built)

    def parts(self) -> dict[str, LossTerm]:
        """The terms by name."""
        return {name: cast(LossTerm, term) for name, term in self.terms.items()}

    def prepare(self, target: Tensor) -> dict[str, Prepared]:
        """What each term needs of the targets `(N, 3, H, W)`, once a batch."""
        with torch.no_grad():
            return {name: term.prepare(target) for name, term in self.parts().items()}

    def forward(self, image: Tensor, code: Tensor, prepared: Mapping[str, Prepared]) -> dict[str, Tensor]:
        """Each term's values `(N,)`, without their weights.

        Raises:
            ConfigError: a term returns another shape.
        """
        values = {name: term(image, code, prepared[name]) for name, term in self.parts().items()}
        for name, value in values.items():
            if value.shape != image.shape[:1]:
                raise ConfigError(f"loss.terms.{name}: gives shape {tuple(value.shape)}, not one value an image.")
        return values

    def total(self, values: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum `(N,)`."""
        weighted = [self.weights[name] * value for name, value in values.items()]
        return sum(weighted[1:], start=weighted[0])

    def networks(self) -> tuple[str, ...]:
        """Networks that are descended on: a metric of the same network flatters."""
        own = tuple(term.network for term in self.parts().values() if term.network)
        return tuple(dict.fromkeys(own + (self.pivot.networks() if self.pivot else ())))


def column(name: str) -> str:
    """The short name of a preset or dotted path.

    >>> column("mylab.losses.Edges")
    'Edges'
    """
    return name.rpartition(".")[2]


def check_terms(terms: Mapping[str, float], options: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse weights and options that mean nothing.

    Raises:
        ConfigError: a negative or infinite weight, no weight above 0, or options of a term that is not there.
    """
    for name, weight in terms.items():
        if not 0 <= weight < math.inf:
            raise ConfigError(f"loss.terms.{name}={weight}: not a weight of 0 or more.")
    if not any(terms.values()):
        raise ConfigError("loss.terms: no term has a weight above 0, there is nothing to descend on.")
    for name in options:
        if name not in terms:
            raise ConfigError(f"loss.options.{name}: no such term in this loss. {suggest(name, terms)}")


def _first_stage(pivot: dict[str, float], terms: Mapping[str, float], options: Mapping[str, dict[str, object]]) -> Loss:
    for name in pivot:
        if name not in terms:
            raise ConfigError(f"loss.pivot.{name}: not among the terms (a weight of 0 will do). {suggest(name, terms)}")
    return Loss(pivot, {name: chosen for name, chosen in options.items() if name in pivot})


def _build(name: str, options: Mapping[str, object]) -> LossTerm:
    return make("term", name, LossTerm, options, f"loss.options.{name}").requires_grad_(False).eval()  # type: ignore[type-abstract]
