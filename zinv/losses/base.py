"""The LossTerm, and the weighted sum of terms that an inversion descends on."""

from __future__ import annotations

import copy
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from zinv.arithmetic import full, heavy
from zinv.errors import ConfigError, suggest
from zinv.presets import chosen, kinds, make, parameters
from zinv.values import article, spell

Prepared = Tensor | tuple[Tensor, ...]
"""What a term computes of its target once a batch; each tensor's first axis is the image."""


def rows_of(prepared: Prepared, places: Tensor) -> Prepared:
    """What is prepared of some of the images."""
    return prepared[places] if isinstance(prepared, Tensor) else tuple(x[places] for x in prepared)


class LossTerm(nn.Module, ABC):
    """One number an image; its network, if any, is frozen.

    A constructor argument annotated with `Generator` or `LatentSpace` is no setting: the method hands over its space
    and the generator that its codes belong to, which above a base code is a view with fewer rows.

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


class FeatureTerm(LossTerm):
    """A term that compares what one network makes of both pictures, alone in the chosen arithmetic (`heavy`)."""

    @abstractmethod
    def features(self, image: Tensor) -> Prepared:
        """Features of images `(N, 3, H, W)`."""

    @abstractmethod
    def distance(self, a: Prepared, b: Prepared) -> Tensor:
        """`(N,)` between two sets of features."""

    def prepare(self, target: Tensor) -> Prepared:
        """Features of the targets."""
        with heavy(target.device):
            return _full(self.features(target))

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        """See `LossTerm`."""
        with heavy(image.device):
            found = _full(self.features(image))
        with torch.autocast(image.device.type, enabled=False):
            return self.distance(found, prepared)


def _full(features: Prepared) -> Prepared:
    return full(features) if isinstance(features, Tensor) else tuple(map(full, features))


class Loss(nn.Module):
    """A weighted sum of terms, image by image. Terms that ask for parts are there once `over` has handed them over.

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

    names: Mapping[str, str] = MappingProxyType({})
    asked: Mapping[str, Mapping[str, inspect.Parameter]] = MappingProxyType({})

    def __init__(
        self,
        terms: dict[str, float],
        options: dict[str, dict[str, object]] | None = None,
        pivot: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.options = options or {}
        check_terms(terms, self.options)
        self.names = {column(name): name for name, weight in terms.items() if weight}
        self.weights = {key: terms[name] for key, name in self.names.items()}
        self.asked = {key: asked_parts(name, self._options(name)) for key, name in self.names.items()}
        waiting = {key for key, asked in self.asked.items() if any(p.default is p.empty for p in asked.values())}
        self.terms = nn.ModuleDict({key: self._build(key) for key in self.names if key not in waiting})
        self.pivot = _first_stage(pivot, terms, self.options) if pivot else None

    def over(self, *parts: nn.Module) -> Loss:
        """This loss for the codes of a space and generator, with the terms that ask for such parts made of them.

        Raises:
            ConfigError: a term asks for a part that is not given.
        """
        if self.pivot is None and not any(self.asked.values()):
            return self
        wired = copy.copy(self)
        wired._modules = dict(self._modules)  # a shallow copy shares it
        wired.terms = nn.ModuleDict(
            {key: self._build(key, parts) if self.asked[key] else self.terms[key] for key in self.names}
        )
        if self.pivot is not None:
            wired.pivot = self.pivot.over(*parts)
        return wired

    def parts(self) -> dict[str, LossTerm]:
        """The terms by name.

        Raises:
            ConfigError: a term still waits for a part.
        """
        if len(self.terms) < len(self.names):
            self.over()
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

    def _options(self, name: str) -> Mapping[str, object]:
        return self.options.get(name, {})

    def _build(self, key: str, parts: Sequence[nn.Module] = ()) -> LossTerm:
        name = self.names[key]
        handed = {argument: _part(name, asked, parts) for argument, asked in self.asked[key].items()}
        term = make("term", name, LossTerm, self._options(name), f"loss.options.{name}", handed)  # type: ignore[type-abstract]
        return term.requires_grad_(False).eval()


def asked_parts(name: str, options: Mapping[str, object]) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a term that are parts, such as a generator or a space."""
    target, _ = chosen("term", name, LossTerm, options)  # type: ignore[type-abstract]
    known = parameters(target).items()
    return {key: p for key, p in known if any(issubclass(kind, nn.Module) for kind in kinds(p.annotation))}


def _part(name: str, asked: inspect.Parameter, parts: Sequence[nn.Module]) -> object:
    part = next((part for part in parts if isinstance(part, kinds(asked.annotation))), asked.default)
    if part is asked.empty:
        words = article(spell(asked.annotation))
        raise ConfigError(f"loss.terms.{name}: it needs {words}, which this command has not.")
    return part


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
