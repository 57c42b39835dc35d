"""What an inversion is: enough to synthesise again and to edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
        maps: masks, which SAM's edits need, and what they come from.
        noise: kept noise maps.
        weights: float16 differences of tuned weights from the generator's, by parameter (PTI).
        generator: sha256 of the generator that weights or feature changes belong to.
        keeps_weights: False if they are left out of what is stored; only the picture is kept of them then.
        losses: each loss term's last value `(N,)`, unweighted; "total" is what was descended on.
        trace: each term's values `(T, N)` along the way, and "step" `(T,)`, if a trace was asked for.
        steps: updates of each image `(N,)`; None: the method's number.
        facts: numbers `(N,)` that records keep beside the losses, such as the layers' shares.
        notes: what the reader of a result should know, by an image's index.
        failures: why an image has no result after all, by its index.
    """

    code: Tensor
    base: tuple[str, Tensor] | None = None
    edits: Mapping[str, FeatureEdit] | None = None
    maps: Mapping[str, Tensor] | None = None
    noise: tuple[Tensor, ...] | None = None
    weights: Mapping[str, Tensor] | None = None
    generator: str = ""
    keeps_weights: bool = True
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    trace: Mapping[str, Tensor] | None = None
    steps: Tensor | None = None
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.code.shape[0]

    def image(self, index: int) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors and metadata of one image, as they are stored."""
        kept = self if self.keeps_weights else replace(self, weights=None)
        return {name: tensor[index] for name, tensor in kept.tensors().items()}, self.metadata()

    def metadata(self) -> dict[str, str]:
        """What is stored beside the tensors."""
        point = self.base[0] if self.base else ""
        left_out = "" if self.keeps_weights else "weights"
        return {"base": point, "keep": json.dumps(self._kept()), "generator": self.generator, "left_out": left_out}

    def part(self, first: int, last: int) -> Inversion:
        """The images from one to before another, as they are stored."""
        return Inversion.join([self.image(i) for i in range(first, min(last, len(self)))])

    def one(self, index: int) -> Inversion:
        """An image, with its losses and trace."""
        part = slice(index, index + 1)
        trace = {name: x if name == "step" else x[:, part] for name, x in (self.trace or {}).items()}
        return replace(
            replace(self, keeps_weights=True).part(index, index + 1),
            keeps_weights=self.keeps_weights,
            losses={name: x[part] for name, x in self.losses.items()},
            trace=trace or None,
            steps=None if self.steps is None else self.steps[part],
            failures={0: self.failures[index]} if index in self.failures else {},
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by the names that they are stored under."""
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
            StoreError: they are not of one method, or their weights of one generator.
        """
        first, metadata = images[0]
        if any(set(tensors) != set(first) or others != metadata for tensors, others in images):
            raise StoreError("inversions of different methods cannot be one batch.")
        stacked = {name: torch.stack([tensors[name] for tensors, _ in images]) for name in first}
        return cls(
            code=stacked["code"],
            base=(metadata["base"], stacked["base"]) if metadata["base"] else None,
            edits=_edits(stacked, json.loads(metadata["keep"])) or None,
            maps=_under("maps/", stacked) or None,
            noise=tuple(_under("noise/", stacked).values()) or None,
            weights=_under("weights/", stacked) or None,
            generator=metadata.get("generator", ""),
            keeps_weights=not metadata.get("left_out"),
        )

    @classmethod
    def together(cls, parts: Sequence[Inversion]) -> Inversion:
        """The parts of a batch as one; a part that stopped early repeats the last values of its trace."""
        whole = [replace(part, keeps_weights=True) for part in parts]
        joined = cls.join([part.image(i) for part in whole for i in range(len(part))])
        failures = [part.failures.get(i) for part in parts for i in range(len(part))]
        notes = [part.notes.get(i) for part in parts for i in range(len(part))]
        steps = [part.steps for part in parts if part.steps is not None]
        return replace(
            joined,
            keeps_weights=parts[0].keeps_weights,
            losses={name: torch.cat([part.losses[name] for part in parts]) for name in parts[0].losses},
            trace=_traces([part.trace for part in parts if part.trace is not None]),
            steps=torch.cat(steps) if steps else None,
            facts={name: torch.cat([part.facts[name] for part in parts]) for name in parts[0].facts},
            notes={i: note for i, note in enumerate(notes) if note},
            failures={i: reason for i, reason in enumerate(failures) if reason},
        )


def _traces(traces: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor] | None:
    if not traces:
        return None
    longest = max((trace["step"] for trace in traces), key=len)
    num = [[*range(len(trace["step"]))] + [-1] * (len(longest) - len(trace["step"])) for trace in traces]
    names = [name for name in traces[0] if name != "step"]
    columns = {name: torch.cat([trace[name][i] for trace, i in zip(traces, num, strict=True)], 1) for name in names}
    return {"step": longest, **columns}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): x for name, x in sorted(tensors.items()) if name.startswith(prefix)}


def _edits(tensors: Mapping[str, Tensor], kept: Mapping[str, float]) -> dict[str, FeatureEdit]:
    keeps: dict[str, Tensor | float] = {**kept, **_under("keep/", tensors)}
    return {point: FeatureEdit(value, keeps[point]) for point, value in _under("edits/", tensors).items()}
