"""What an inversion is: enough to synthesise again and to edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zinv.errors import StoreError
from zinv.generators.base import FeatureEdit


@dataclass(frozen=True)
class Inversion:
    """The inversions of a batch; the first axis of every tensor is the image.

    Attributes:
        code: `(N, *K)` in the coordinates of the method's space.
        base: base code and the point it goes in (BDInvert).
        edits: feature changes by point (SAM).
        maps: masks, which SAM's edits need.
        noise: kept noise maps.
        weights: difference of tuned weights from the generator's (PTI).
        losses: each loss term's last value `(N,)`, unweighted; "total" is what was descended on.
        trace: each term's values `(T, N)` along the way, and "step" `(T,)`, if a trace was asked for.
    """

    code: Tensor
    base: tuple[str, Tensor] | None = None
    edits: Mapping[str, FeatureEdit] | None = None
    maps: Mapping[str, Tensor] | None = None
    noise: tuple[Tensor, ...] | None = None
    weights: Mapping[str, Tensor] | None = None
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    trace: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return self.code.shape[0]

    def image(self, index: int) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and metadata of one image, as they are stored."""
        tensors = {name: tensor[index] for name, tensor in self._tensors().items()}
        return tensors, {"base": self.base[0] if self.base else "", "keep": json.dumps(self._kept())}

    def _tensors(self) -> dict[str, Tensor]:
        named = {"code": self.code}
        if self.base:
            named["base"] = self.base[1]
        for point, edit in (self.edits or {}).items():
            named[f"edits/{point}"] = edit.value
            if isinstance(edit.keep, Tensor):
                named[f"keep/{point}"] = edit.keep
        for i, noise in enumerate(self.noise or ()):
            named[f"noise/{i:02d}"] = noise
        named |= {f"maps/{name}": x for name, x in (self.maps or {}).items()}
        return named | {f"weights/{name}": x for name, x in (self.weights or {}).items()}

    def _kept(self) -> dict[str, float]:
        return {p: edit.keep for p, edit in (self.edits or {}).items() if not isinstance(edit.keep, Tensor)}

    @classmethod
    def join(cls, images: Sequence[tuple[Mapping[str, Tensor], Mapping[str, str]]]) -> Inversion:
        """Stored images as one batch.

        Raises:
            StoreError: they are not of one method.
        """
        first, metadata = images[0]
        if any(set(tensors) != set(first) for tensors, _ in images):
            raise StoreError("inversions of different methods cannot be one batch.")
        stacked = {name: torch.stack([tensors[name] for tensors, _ in images]) for name in first}
        return cls(
            code=stacked["code"],
            base=(metadata["base"], stacked["base"]) if metadata["base"] else None,
            edits=_edits(stacked, json.loads(metadata["keep"])) or None,
            maps=_under("maps/", stacked) or None,
            noise=tuple(_under("noise/", stacked).values()) or None,
            weights=_under("weights/", stacked) or None,
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in sorted(tensors.items()) if name.startswith(prefix)}


def _edits(tensors: Mapping[str, Tensor], kept: Mapping[str, float]) -> dict[str, FeatureEdit]:
    keeps: dict[str, Tensor | float] = {**kept, **_under("keep/", tensors)}
    return {point: FeatureEdit(value, keeps[point]) for point, value in _under("edits/", tensors).items()}
