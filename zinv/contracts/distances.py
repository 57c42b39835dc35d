"""What a LossTerm and a Metric promise."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.contracts.base import IDS, Contract, normal, pictures, require, require_equal, require_shape
from zinv.losses.base import LossTerm
from zinv.metrics.base import Metric
from zinv.weights import digest


class TermContract(Contract):
    """A LossTerm, on pictures of a size, and codes of 8 numbers or of the space that it was given."""

    def __init__(self, term: LossTerm, size: int = 64, code: Tensor | None = None) -> None:
        self._term, self._code = term, normal((len(IDS), 8)) if code is None else code
        self._target, self._image = pictures(size), pictures(size, seed=1)
        self._given = self._image.clone(), self._target.clone()

    def values(self) -> None:
        """One number an image."""
        require(bool(self._term.label), "label is empty")
        require_shape("its value", self._value(self._image), (len(IDS),))

    def per_image(self) -> None:
        """Each image is for itself."""
        together = self._value(self._image)
        for i in range(len(IDS)):
            require_equal(f"the value of image {i} alone", self._value(self._image, i), together[i : i + 1])

    def gradient(self) -> None:
        """Its gradient is finite, also where image and target are equal."""
        for start in (self._image, self._target):
            image, code = start.clone().requires_grad_(True), self._code.clone().requires_grad_(True)
            value = self._term(image, code, self._term.prepare(self._target)).sum()
            require(value.requires_grad, "no gradient reaches image or code")
            gradients = torch.autograd.grad(value, (image, code), allow_unused=True)
            finite = all(bool(torch.isfinite(x).all()) for x in gradients if x is not None)
            where = "where image and target are equal" if start is self._target else "somewhere"
            require(finite, f"its gradient is not finite {where}")

    def pure(self) -> None:
        """The same input gives the same value, and is left as it was."""
        state = digest(self._term.state_dict())
        require_equal("the value of a second call", self._value(self._image), self._value(self._image), 0.0)
        require(digest(self._term.state_dict()) == state, "a call changed the term's state")
        kept = torch.equal(self._image, self._given[0]) and torch.equal(self._target, self._given[1])
        require(kept, "a call changed its input")

    def _value(self, image: Tensor, index: int | None = None) -> Tensor:
        part = slice(None) if index is None else slice(index, index + 1)
        with torch.no_grad():
            value: Tensor = self._term(image[part], self._code[part], self._term.prepare(self._target[part]))
        return value


class MetricContract(Contract):
    """A Metric, on pictures that are large enough for it."""

    def __init__(self, metric: Metric, size: int = 64) -> None:
        size = max(size, metric.min_size)
        self._metric, self._target, self._image = metric, pictures(size), pictures(size, seed=1)

    def values(self) -> None:
        """One float32 number an image."""
        require(bool(self._metric.label and self._metric.name), "label or name is empty")
        value = self._metric(self._image, self._target)
        require(tuple(value.shape) == (len(IDS),), f"its value has shape {tuple(value.shape)}, not {(len(IDS),)}")
        require(value.dtype == torch.float32, f"its value is {value.dtype}, not float32")

    def per_image(self) -> None:
        """Each image is for itself."""
        together = self._metric(self._image, self._target)
        for i in range(len(IDS)):
            alone = self._metric(self._image[i : i + 1], self._target[i : i + 1])
            require_equal(f"the value of image {i} alone", alone, together[i : i + 1])

    def embeddings(self) -> None:
        """What it sees of each picture, a row a picture, is all that it compares."""
        seen = [self._metric.embed(pictures) for pictures in (self._image, self._target)]
        require(all(len(x) == len(IDS) for each in seen for x in each), "an embedding has not a row a picture")
        require_equal("compare(embed, embed)", self._metric.compare(*seen), self._metric(self._image, self._target))

    def direction(self) -> None:
        """A picture is nearer to itself than to another, as higher_is_better says."""
        same, other = self._metric(self._target, self._target), self._metric(self._image, self._target)
        nearer = same > other if self._metric.higher_is_better else same < other
        require(bool((nearer | other.isnan()).all()), "another picture is as near as the same one")
