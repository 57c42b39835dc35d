"""A Direction: what one step of an edit adds to a code, and which codes it may be added to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypedDict, cast

import torch
from torch import Tensor

from zinv import weights
from zinv.errors import ConfigError, WeightsError
from zinv.generators.base import Generator
from zinv.spaces.base import LatentSpace

KIND: Final = "directions"
Coordinates = Literal["z", "w", "s"]
SPACES: Final[Mapping[str, tuple[str, ...]]] = {"z": ("z", "zplus"), "w": ("w", "wplus", "pn", "pnplus"), "s": ("s",)}
"""Spaces whose codes a direction of these coordinates can be added to."""
WITH_ROWS: Final = ("zplus", "wplus", "pnplus")


class Entry(TypedDict):
    """What a file says of one of its directions."""

    name: str
    rows: list[int] | None
    range: list[float] | None
    attribute: str


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction of a latent space; strength d adds d times its step.

    Attributes:
        name: "smile", "ganspace10".
        coordinates: of its step.
        step: `(1, D)`, alike in all rows, or a row for each of the generator's `(num_ws, D)`; S has one row.
        generator: sha256 of the generator that it was found in; empty if its publisher does not say.
        rows: those of the whole generator that it moves; None: all.
        range: strengths between which its attribute was seen to change steadily, if that was measured.
        attribute: what it was fitted to change, if anything.
        mean: `(D,)` that centring takes as the origin; None: that of the generator.
        source: sha256 of its file.
    """

    name: str
    coordinates: Coordinates
    step: Tensor
    generator: str = ""
    rows: tuple[int, ...] | None = None
    range: tuple[float, float] | None = None
    attribute: str = ""
    mean: Tensor | None = None
    source: str = ""

    @property
    def fits(self) -> tuple[str, ...]:
        """Presets of the spaces that it fits."""
        spaces = SPACES[self.coordinates]
        return tuple(name for name in spaces if name in WITH_ROWS) if self.has_rows else spaces

    @property
    def has_rows(self) -> bool:
        """Whether it is not alike in all rows."""
        return len(self.step) > 1 or self.rows is not None

    def layers(self) -> str:
        """The rows that it moves, in words.

        >>> Direction("smile", "w", torch.ones(1, 4), rows=(2, 3, 4, 7)).layers()
        '2-4, 7'
        """
        return "all" if self.rows is None else ", ".join(_spans(self.rows))

    def on(self, rows: Sequence[int]) -> Direction:
        """The direction on these rows of the whole generator alone."""
        return replace(self, rows=tuple(rows))

    def check(self, space: LatentSpace, view: Generator) -> None:
        """Raise an error if it cannot be added to codes that a space has on a generator, or on a view of one.

        Raises:
            ConfigError: the space has other coordinates or one row only, or no row that it moves is in the view.
            WeightsError: it is of another generator, or width.
        """
        key, shape = f"direction {self.name}", space.code_shape(view)
        if self.coordinates != space.coordinates or (self.has_rows and len(shape) == 1):
            of = f"rows of {self.coordinates}" if self.has_rows else self.coordinates
            choices = ", ".join(self.fits) or "no space"
            raise ConfigError(f"{key}: it moves {of}, not codes of {space.label}. It fits space={choices}.")
        if self.generator and self.generator != view.sha256:
            raise WeightsError(f"{key}: of generator {self.generator[:8]}…, not of {view.sha256[:8]}….")
        self._check_shape(key, view, shape)
        if not self.delta(space, view).any():
            lowest = f"row {view.first_ws}" if self.coordinates != "s" else "the styles that are left"
            raise ConfigError(
                f"{key}: it moves rows {self.layers()}, which all lie below the base code; codes begin at {lowest}."
            )

    def _check_shape(self, key: str, view: Generator, shape: tuple[int, ...]) -> None:
        num_ws, own = view.first_ws + view.num_ws, self.step.shape[1]
        width = {"z": view.z_dim, "w": view.w_dim, "s": max(own, shape[0])}[self.coordinates]
        if own != width or len(self.step) not in (1, num_ws):
            asked = f"1 or {num_ws} rows of {width}" if self.coordinates != "s" else f"{width} styles"
            raise WeightsError(f"{key}: {len(self.step)} rows of {own} numbers; the generator has {asked}.")
        if self.rows is not None and not all(0 <= row < num_ws for row in self.rows):
            raise ConfigError(f"{key}: rows {self.layers()}; the generator has rows 0 to {num_ws - 1}.")

    def delta(self, space: LatentSpace, view: Generator) -> Tensor:
        """A step in the shape of a code that a space has on a generator or view, `K`."""
        return self._shaped(self.step, space, view)

    def origin(self, space: LatentSpace, view: Generator) -> Tensor:
        """What centring takes as the origin, in the shape of a code.

        Raises:
            ConfigError: S has none.
        """
        if self.coordinates == "s":
            raise ConfigError(f"direction.center=true: direction {self.name} is in S, which has no mean to centre on.")
        mean = view.w_avg if self.coordinates == "w" else torch.zeros(view.z_dim)
        mean = (mean if self.mean is None else self.mean).to(self.step)
        return mean.expand(space.code_shape(view))

    def _shaped(self, step: Tensor, space: LatentSpace, view: Generator) -> Tensor:
        shape = space.code_shape(view)
        if len(shape) == 1:
            return step[0, -shape[0] :]
        num_ws = view.first_ws + view.num_ws
        moved = torch.tensor([self.rows is None or row in self.rows for row in range(num_ws)]).to(step)
        return (step.expand(num_ws, -1) * moved[:, None])[view.first_ws :]


def to_tensors(directions: Sequence[Direction], **facts: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Directions of one generator, coordinates and shape as the tensors and metadata of one file."""
    first = directions[0]
    tensors = {"steps": torch.stack([direction.step for direction in directions])}
    if first.mean is not None:
        tensors["mean"] = first.mean
    entries = [_entry(direction) for direction in directions]
    known: dict[str, str] = {"kind": KIND, "coordinates": first.coordinates, "generator": first.generator}
    known["num_rows"] = str(len(first.step))
    return tensors, {**facts, **known, "directions": json.dumps(entries)}


def save(path: Path, directions: Sequence[Direction], **facts: str) -> None:
    """Write a file of directions; `facts` are kept beside them."""
    weights.write(path, *to_tensors(directions, **facts))


def load(path: Path) -> list[Direction]:
    """The directions of a file that `save` or `zinv train` wrote.

    Raises:
        WeightsError: it holds something else.
    """
    tensors, facts = weights.read(path)
    if facts.get("kind") != KIND:
        raise WeightsError(f"{path}: holds {facts.get('kind', 'something else')}, not directions.")
    digest = weights.sha256(path)
    return [
        replace(described, step=step, mean=tensors.get("mean"), source=digest)
        for described, step in zip(describe(facts), tensors["steps"], strict=True)
    ]


def describe(facts: Mapping[str, str]) -> list[Direction]:
    """The directions of a file from its metadata alone, without their steps; none of another kind of file."""
    if facts.get("kind") != KIND:
        return []
    coordinates = cast(Coordinates, facts["coordinates"])
    return [
        Direction(
            entry["name"],
            coordinates,
            torch.empty(int(facts["num_rows"]), 0),
            facts["generator"],
            None if entry["rows"] is None else tuple(entry["rows"]),
            None if entry["range"] is None else (entry["range"][0], entry["range"][1]),
            entry["attribute"],
        )
        for entry in cast(list[Entry], json.loads(facts["directions"]))
    ]


def _entry(direction: Direction) -> Entry:
    return {
        "name": direction.name,
        "rows": None if direction.rows is None else list(direction.rows),
        "range": None if direction.range is None else list(direction.range),
        "attribute": direction.attribute,
    }


def _spans(rows: Sequence[int]) -> list[str]:
    spans: list[list[int]] = []
    for row in sorted(rows):
        if spans and row == spans[-1][1] + 1:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    return [str(a) if a == b else f"{a}-{b}" for a, b in spans]
