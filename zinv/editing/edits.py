"""What a run does with its inversions: which directions, how far, by which rule, and who judges it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

from zinv.editing.direction import Coordinates, Direction
from zinv.editing.moves import Base, Retraction, Rule
from zinv.editing.sources import find_directions
from zinv.errors import ConfigError, WeightsError, suggest
from zinv.generators.base import Generator
from zinv.metrics.features import SetFeatures, load_features
from zinv.networks.portraits import AttributeNet, load_attributes
from zinv.spaces.base import LatentSpace
from zinv.values import Count, Positive
from zinv.weights import Weights, find, locate, sha256

Amount = Literal["step", "attribute", "image", "w"]
UNITS: Final = {
    "step": "steps of the direction",
    "attribute": "change of its attribute, by the first network",
    "image": "perceptual distance from the inversion",
    "w": "root mean square move of its ws, in units of the prior's",
}
SECOND: Final = "portraits/attributes_second"


@dataclass(frozen=True)
class Edit:
    """One edit: a direction, or several at once.

    Attributes:
        name: of its direction, or of all, joined by `+`.
        directions: each gets the same strength.
    """

    name: str
    directions: tuple[Direction, ...]

    @property
    def attribute(self) -> str:
        """What it is to change, if it is one direction that was fitted to an attribute."""
        return self.directions[0].attribute if len(self.directions) == 1 else ""

    def at(self, strength: float) -> tuple[tuple[Direction, float], ...]:
        """As a `Move` takes it."""
        return tuple((direction, strength) for direction in self.directions)

    def reach(self, limit: float, beyond: bool = False) -> tuple[float, float]:
        """The least and largest strength that make sense: the calibrated range, or `limit` on either side.

        With `beyond` as far as `limit` where the range ends before.
        """
        ranges = [direction.range or (-limit, limit) for direction in self.directions]
        low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
        return (min(low, -limit), max(high, limit)) if beyond else (low, high)


@dataclass(frozen=True)
class Plan:
    """Edits whose directions are found, and that fit a method's codes.

    Attributes:
        edits: one or several.
        strengths: in steps, or in the unit of `amount`.
        amount: what strengths are.
        rule: how codes are moved.
        limit: strengths that are tried for a calibrated step, where the direction has no range.
        beyond: whether they are tried although its range ends before.
        tolerance: of a calibrated change, relative to it.
        attributes: the first network, which steps are calibrated with.
        judge: the second one.
        networks: their sha256.
        batch_size: pictures decoded at a time.
        keep: strengths whose pictures are kept.
        control: whether each edit has a random direction beside it that changes the picture as much.
        kid: the network of the kernel distance of edited pictures to the inputs.
    """

    edits: tuple[Edit, ...]
    strengths: tuple[float, ...]
    amount: Amount
    rule: Rule
    limit: float
    tolerance: float
    attributes: AttributeNet | None
    judge: AttributeNet | None
    networks: tuple[str | None, str | None]
    batch_size: int
    keep: tuple[float, ...] = ()
    control: bool = True
    kid: SetFeatures | None = None
    beyond: bool = False

    def pairs(self) -> Iterator[tuple[Edit, float]]:
        """Every edit at every strength."""
        return ((edit, strength) for edit in self.edits for strength in self.strengths)

    def line(self) -> str:
        """What is printed under a table."""
        names, rule = ", ".join(map(_told, self.edits)), asdict(self.rule)
        changed = [f"{key} {rule[key]}" for key, value in asdict(Rule()).items() if rule[key] != value]
        how = f"; {', '.join(changed)}" if changed else ""
        strengths = ", ".join(f"{strength:g}" for strength in self.strengths)
        return f"edits {self.asks()[:8]}: {names} at {strengths} ({UNITS[self.amount]}){how}."

    def asks(self) -> str:
        """Digest of what is asked for, whatever space it is in: rows of one table have the same."""
        names = [edit.name for edit in self.edits]
        return _digest([names, self.strengths, self.amount, self.networks])

    def digest(self) -> str:
        """Digest of all that moves a number, the directions' content included."""
        kid = self.kid.sha256 if self.kid else None
        content = [
            (edit.name, [(d.name, d.rows, d.source or d.step.tolist()) for d in edit.directions]) for edit in self.edits
        ]
        found = [self.asks(), content, asdict(self.rule), self.limit, self.tolerance, self.control, kid]
        return _digest([*found, "beyond"] if self.beyond and self.amount != "step" else found)


class Edits:
    """Edits of every finished inversion, by name of their directions.

    Args:
        names: directions, such as smile or ganspace10, or a channel of S such as b16.conv0:45; none: all of the file.
        file: weight file of directions, zinv's or a published one; "auto" finds those of the generator and space.
        coordinates: z or w, of a published boundary, whose file does not say.
        strengths: FIRST:LAST:NUMBER, or a list; the paper's eleven by default.
        amount: what strengths are: steps of the direction, or changes that are reached by a step of each image's own:
            of the direction's attribute, of the picture (perceptual distance) or of w.
        rows: move these rows of the whole generator alone: FIRST:LAST, or a list.
        together: all directions at once, instead of one after another.
        retraction: in Z and Z+ after the move, after each of many small ones, or their limit in closed form.
        micro_steps: of retraction=micro.
        center: first take out the code's own coordinate, as the released code does for Z and W+.
        truncation_psi: of edited w codes, as the released code does with those of W+; 1 is none.
        truncation_cutoff: rows below it are truncated; all if null.
        base: base codes stay, or move by the generator's own feature difference, where the space has codes for it.
        beyond: allow steps outside a direction's calibrated range; records say so. For an amount, as far as limit.
        limit: steps that are tried for an amount, where the direction has no calibrated range, or beyond it.
        tolerance: of an amount, relative to it.
        attributes: network that measures attributes and calibrates steps.
        judge: another one, which judges what the first has calibrated.
        control: beside each edit, a random direction that changes the picture as much; some five pictures an edit.
        kid: network whose features tell how far the edited pictures are from the inputs, as a set: inception/fidelity
            for KID, or portraits/perceptual.
        keep: those of the strengths whose pictures are kept, for figures; none by default.
        batch_size: pictures decoded at a time, of any image, direction and strength; changes no result.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        file: Weights = "auto",
        coordinates: Literal["z", "w"] | None = None,
        strengths: str | Sequence[float] = "-2:2:11",
        amount: Amount = "step",
        rows: str | Sequence[int] | None = None,
        together: bool = False,
        retraction: Retraction = "once",
        micro_steps: Count = 1000,
        center: bool = False,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        base: Base = "kept",
        beyond: bool = False,
        limit: Positive = 6.0,
        tolerance: Positive = 0.02,
        attributes: Weights | None = None,
        judge: Weights | None = None,
        control: bool = True,
        kid: Weights | None = None,
        keep: str | Sequence[float] = (),
        batch_size: Count = 32,
    ) -> None:
        if not names and file == "auto":
            raise ConfigError("direction.names=[]: name at least one direction, or a file of them (direction.file).")
        self.names, self.file, self.coordinates = list(names), file, coordinates
        self.strengths, self.amount, self.rows = read_strengths(strengths), amount, read_rows(rows)
        self.together, self.beyond = together, beyond
        self.rule = Rule(retraction, micro_steps, center, truncation_psi, truncation_cutoff, base)
        self.limit, self.tolerance, self.batch_size = limit, tolerance, batch_size
        self.attributes, self.judge, self.control, self.kid = attributes, judge, control, kid
        self.keep = read_strengths(keep, "keep") if keep else ()
        for strength in set(self.keep) - set(self.strengths):
            raise ConfigError(f"direction.keep={strength:g}: not one of direction.strengths.")

    def plan(self, space: LatentSpace, generator: Generator, view: Generator) -> Plan:
        """The edits with their directions and networks, checked against the codes that they are to move.

        Args:
            space: of the codes.
            generator: whole.
            view: what is left of it above a base code, or itself.

        Raises:
            ConfigError: an unknown direction or attribute, one that does not fit, or a step outside its range.
            WeightsError: a file is missing, or a direction is of another generator.
        """
        asked = (self.names, self.file, space, generator, view)
        coordinates: Coordinates | None = self.coordinates
        found = find_directions(*asked, coordinates, self.rows)
        edits = (
            (Edit("+".join(direction.name for direction in found), tuple(found)),)
            if self.together
            else tuple(Edit(direction.name, (direction,)) for direction in found)
        )
        first, judge = _network("attributes", self.attributes), _network("judge", self.judge)
        networks = (_sha256(self.attributes), _sha256(self.judge))
        if networks[0] is not None and networks[0] == networks[1]:
            raise ConfigError("direction.judge: the same network as direction.attributes; another one is to judge.")
        plan = Plan(
            edits, self.strengths, self.amount, self.rule, self.limit, self.tolerance, first, judge, networks,
            self.batch_size, self.keep, self.control, load_features(self.kid) if self.kid else None, self.beyond,
        )  # fmt: skip
        self._check(plan, space, generator)
        return plan

    def _check(self, plan: Plan, space: LatentSpace, generator: Generator) -> None:
        for edit in plan.edits:
            if self.amount == "attribute":
                _check_attribute(edit, plan.attributes)
            if self.amount == "step" and not self.beyond:
                _check_range(edit, self.strengths)
        if self.amount == "w" and space.coordinates == "s":
            raise ConfigError("direction.amount=w: codes of S have no w. Choose from: step, attribute, image.")
        if self.amount == "w" and generator.w_per_layer:
            raise ConfigError(
                "direction.amount=w: this generator has a w a layer, and no one spread of them. "
                "Choose from: step, attribute, image."
            )


def _told(edit: Edit) -> str:
    """An edit's name, and which rows it moves if not all."""
    layers = "; ".join(dict.fromkeys(direction.layers() for direction in edit.directions))
    return edit.name if layers == "all" else f"{edit.name} (rows {layers})"


def outside(edit: Edit, strength: float) -> bool:
    """Whether a step is outside the calibrated range of a direction that has one."""
    ranges = [direction.range for direction in edit.directions if direction.range]
    return any(not low - 1e-9 <= strength <= high + 1e-9 for low, high in ranges)


def read_strengths(text: str | Sequence[float], key: str = "strengths") -> tuple[float, ...]:
    """Strengths from FIRST:LAST:NUMBER or numbers.

    Raises:
        ConfigError: it is neither.

    >>> read_strengths("-2:2:5"), read_strengths("3"), read_strengths([0, 1.5])
    ((-2.0, -1.0, 0.0, 1.0, 2.0), (3.0,), (0.0, 1.5))
    """
    parts = text.split(":") if isinstance(text, str) else []
    try:
        if len(parts) == 3:
            first, last, num = float(parts[0]), float(parts[1]), int(parts[2])
            spaced = [first + (last - first) * i / (num - 1) for i in range(num)] if num > 1 else [first] * (num == 1)
            values = tuple(round(value, 9) for value in spaced)
        else:
            values = tuple(map(float, text.split(",") if isinstance(text, str) else text))
    except ValueError:
        values = ()
    if not values or len(set(values)) < len(values) or not all(map(math.isfinite, values)):
        raise ConfigError(f"direction.{key}={text}: neither FIRST:LAST:NUMBER nor numbers that differ.")
    return values


def read_rows(text: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Rows from FIRST:LAST, both included, or numbers.

    Raises:
        ConfigError: it is neither.

    >>> read_rows("2:4"), read_rows([0, 3])
    ((2, 3, 4), (0, 3))
    """
    if text is None:
        return None
    parts = text.split(":") if isinstance(text, str) else []
    try:
        if len(parts) == 2:
            rows = tuple(range(int(parts[0]), int(parts[1]) + 1))
        else:
            rows = tuple(map(int, text.split(",") if isinstance(text, str) else text))
    except ValueError:
        rows = ()
    if not rows:
        raise ConfigError(f"direction.rows={text}: neither FIRST:LAST nor row numbers.")
    return rows


def _check_attribute(edit: Edit, network: AttributeNet | None) -> None:
    if network is None:
        raise ConfigError("direction.amount=attribute: give the network that measures it, as direction.attributes.")
    if edit.attribute not in network.names:
        what = f"is '{edit.attribute}'" if edit.attribute else "was fitted to none"
        raise ConfigError(
            f"direction.amount=attribute: the attribute of direction {edit.name} {what}. "
            f"{suggest(edit.attribute, network.names)}"
        )


def _check_range(edit: Edit, strengths: Sequence[float]) -> None:
    for strength in strengths:
        if outside(edit, strength):
            low, high = edit.reach(math.inf)
            raise ConfigError(
                f"direction.strengths: {strength:g} is outside the calibrated range of direction {edit.name}, "
                f"{low:g} to {high:g}. Add direction.beyond=true to go there; records say so."
            )


def _network(key: str, name: str | None) -> AttributeNet | None:
    if name is None:
        return None
    if name == SECOND and locate(name) is None:
        raise WeightsError(
            f"direction.{key}={name}: there is no second attribute network yet. `zinv train model=attributes_second` "
            f"makes it; without one, direction.{key}=null."
        )
    return load_attributes(name)


def _sha256(name: str | None) -> str | None:
    return None if name is None else sha256(find(name))


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
