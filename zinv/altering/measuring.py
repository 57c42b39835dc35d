"""Edited pictures: decoded in full batches of any image, direction and strength, and measured one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from typing import Final

import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.editing.edits import Edit, Plan, outside
from zinv.editing.moves import Move
from zinv.errors import DataError, StoreError
from zinv.evaluation.records import Scalar
from zinv.evaluation.store import Run
from zinv.images import pixels_sha256
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.metrics.protocol import Protocol
from zinv.metrics.seen import Seen, Shelf
from zinv.networks.portraits import AttributeNet
from zinv.scoring import decode
from zinv.spaces.base import prior_ws

KEPT: Final = 2 * 2**30  # bytes of what metrics saw of targets and inversions: 4 of LPIPS (VGG16) at 1024 pixels


@dataclass(frozen=True, eq=False)
class Subject:
    """An inverted image, and what its edits are compared with.

    Attributes:
        name: its id.
        inversion: of it alone.
        target: what was inverted.
        image: the inversion's picture.
        ws: of its code; None in S.
        first: what the first attribute network says of the inversion's picture, `(A,)`.
        judge: what the second one says.
    """

    name: str
    inversion: Inversion
    target: Seen
    image: Seen
    ws: Tensor | None
    first: Tensor | None
    judge: Tensor | None


@dataclass(frozen=True, eq=False)
class Item:
    """A picture to make: an edit of a subject by a step of its directions."""

    subject: Subject
    edit: Edit
    step: float


@dataclass(frozen=True, eq=False)
class Picture:
    """An edited picture `(1, 3, R, R)` and the ws that it was made from."""

    item: Item
    image: Tensor
    ws: Tensor | None


class Editor:
    """Makes and measures the edited pictures of a run.

    Args:
        run: its inversions.
        source: its pictures.
        method: on the device to compute on, as is the protocol.
        plan: what is done to them.
        protocol: whose identity and perceptual metrics measure them.
    """

    def __init__(self, run: Run, source: DataSource, method: Inverter, plan: Plan, protocol: Protocol) -> None:
        self.run, self.source, self.method, self.plan, self.protocol = run, source, method, plan, protocol
        self.device = method.device
        self.places = {name: i for i, name in enumerate(source.ids)}
        self.first, self.judge = (net.to(self.device) if net else None for net in (plan.attributes, plan.judge))
        self.metrics = protocol.parts()
        if plan.kid:
            plan.kid.to(self.device)
        self._errors = lru_cache(1)(self._errors_of)
        self.shelf = Shelf(KEPT)
        has_w = method.space.coordinates != "s" and not method.generator.w_per_layer
        self.spread = float(prior_ws(method.generator).std(0).norm()) if has_w else torch.nan

    @torch.no_grad()
    def subject(self, name: str) -> Subject:
        """An inversion, read and decoded; its pictures are embedded when they are first compared.

        Raises:
            StoreError: its target cannot be read or is another one.
        """
        try:
            target = self.source.image(self.places[name])
        except DataError as error:
            raise StoreError(f"{self.run.path}: '{name}' cannot be edited without its picture: {error}") from error
        self.run.check_target(name, pixels_sha256(target))
        stored = self.run.read(name)
        tensors = {key: x.to(self.device) for key, x in stored.tensors.items()}
        inversion = Inversion.join([(tensors, stored.metadata)])
        image = decode(self.run, self.method, name)[None].to(self.device)
        ws = self.method.space.to_ws(self.method.view(inversion), inversion.code)
        first, judge = (_said(net, image) for net in (self.first, self.judge))
        before, after = (Seen(x, self.shelf) for x in (target[None].to(self.device), image))
        return Subject(name, inversion, before, after, ws, first, judge)

    @torch.no_grad()
    def pictures(self, items: Iterator[Item] | Sequence[Item]) -> Iterator[Picture]:
        """Edited pictures in the order of the items, decoded `batch_size` at a time."""
        rest = iter(items)
        while batch := list(islice(rest, self.plan.batch_size)):
            inversion = Inversion.join([item.subject.inversion.image(0) for item in batch])
            move = Move(tuple(item.edit.at(item.step) for item in batch), self.plan.rule)
            moved = self.method.edit(inversion, move)
            images = self.method.reconstruct(moved)
            ws = self.method.space.to_ws(self.method.view(moved), moved.code)
            for i, item in enumerate(batch):
                yield Picture(item, images[i : i + 1], None if ws is None else ws[i : i + 1])

    @torch.no_grad()
    def change(self, picture: Picture) -> float:
        """How far a picture is from its inversion, in the unit of the plan's amounts, along the direction's sign."""
        if self.plan.amount == "attribute":
            assert self.first is not None and picture.item.subject.first is not None
            column = self.first.names.index(picture.item.edit.attribute)
            moved = float((self.first(picture.image)[0].cpu() - picture.item.subject.first)[column])
            return moved if picture.item.step >= 0 else -moved
        if self.plan.amount == "w":
            return self._w_change(picture)
        return self.picture_change(picture)

    def picture_change(self, picture: Picture) -> float:
        """Distance from the inversion's picture by the protocol's perceptual metric; without one, the MSE."""
        before = picture.item.subject.image
        name = next((name for name, metric in self.metrics.items() if metric.sees == "features"), None)
        if name is None:
            return _mse(picture.image, before.pixels)
        return self.protocol.compare(name, Seen(picture.image), before)

    def recorded_change(self, row: Mapping[str, Scalar]) -> float:
        """What `picture_change` gave of a picture that has a record."""
        names = (f"{name}_inversion" for name, metric in self.metrics.items() if metric.sees == "features")
        change = row[next(names, "mse_inversion")]
        assert isinstance(change, float)
        return change

    def identities(self, image: Seen, subject: Subject) -> dict[str, Scalar]:
        """Who is shown, by each metric of identity: against the input (NAME) and the inversion (NAME_inversion)."""
        row: dict[str, Scalar] = {}
        for name, metric in self.metrics.items():
            if metric.sees == "identity":
                row[name] = self.protocol.compare(name, image, subject.target)
                row[f"{name}_inversion"] = self.protocol.compare(name, image, subject.image)
        return row

    @torch.no_grad()
    def records(self, pictures: Sequence[Picture], strengths: Sequence[float]) -> Iterator[dict[str, Scalar]]:
        """What `edits.csv` says of each picture; fastest for pictures of one direction in a row."""
        changes = [self._attribute_changes(picture) for picture in pictures]
        truths = self._truths(pictures, changes)
        for picture, strength, change, truth in zip(pictures, strengths, changes, truths, strict=True):
            yield self._record(picture, strength, truth) | change

    def _record(self, picture: Picture, strength: float, truth: Tensor | None) -> dict[str, Scalar]:
        item, subject, image = picture.item, picture.item.subject, Seen(picture.image)
        row: dict[str, Scalar] = {"image": subject.name, "direction": item.edit.name, "strength": strength}
        row |= {"step": item.step, "status": "ok", "beyond": int(outside(item.edit, item.step))}
        row |= self.identities(image, subject)
        for name, metric in self.metrics.items():
            if metric.sees == "features":
                row[f"{name}_inversion"] = self.protocol.compare(name, image, subject.image)
        row["mse_inversion"] = _mse(picture.image, subject.image.pixels)
        row["w_change"] = self._w_change(picture)
        return row | ({} if truth is None else self._against_truth(image, subject, Seen(truth)))

    def _attribute_changes(self, picture: Picture) -> dict[str, Scalar]:
        row, subject = dict[str, Scalar](), picture.item.subject
        for kind, net, before in (("first", self.first, subject.first), ("judge", self.judge, subject.judge)):
            if net is not None and before is not None:
                row |= _attributes(kind, net, net(picture.image)[0].cpu() - before, picture.item.edit.attribute)
        return row

    def _truths(self, pictures: Iterable[Picture], rows: Iterable[Mapping[str, Scalar]]) -> Iterator[Tensor | None]:
        """The same subjects with the attribute changed as much as a network sees it changed, `(1, 3, R, R)`.

        None where the pictures come from a source that cannot show it, or nobody looks at the attribute.
        """
        pairs = zip(pictures, rows, strict=True)
        for (subject, attribute), group in groupby(pairs, lambda pair: _asked(pair[0])):
            seen = [row.get("judge_change", row.get("attribute_change")) for _, row in group]
            changes = [float(change) for change in seen if change is not None]
            place = self.places[subject.name]
            truths = self.source.counterfactual(place, attribute, changes) if changes else None
            yield from [None] * len(seen) if truths is None else truths.to(self.device).split(1)

    def _against_truth(self, image: Seen, subject: Subject, truth: Seen) -> dict[str, Scalar]:
        """By each metric how much further the edit is from the truth than the inversion from its target."""
        errors = self._errors(subject)
        return {f"truth_{name}": self.protocol.compare(name, image, truth) - errors[name] for name in errors}

    def _errors_of(self, subject: Subject) -> dict[str, float]:
        """Of an inversion, by the metrics that edits are held against their truth with."""
        names = [name for name, metric in self.metrics.items() if metric.sees != "pixels" or name == "mse"]
        return {name: self.protocol.compare(name, subject.image, subject.target) for name in names}

    @torch.no_grad()
    def features(self, subject: Subject, edited: Sequence[Tensor]) -> dict[str, Tensor]:
        """Vectors `(N, D)` of an image's input, inversion and edits for kernel distances; none without a network."""
        kid = self.plan.kid
        if kid is None:
            return {}
        own, inverted = kid(subject.target.pixels), kid(subject.image.pixels)
        return {"input": own, "inversion": inverted, "edited": torch.cat([own[:0], *edited])}

    def _w_change(self, picture: Picture) -> float:
        """Root mean square over rows of how far w moved, in units of the prior's distance from its mean."""
        before = picture.item.subject.ws
        if picture.ws is None or before is None:
            return torch.nan
        return float((picture.ws - before).square().sum(2).mean().sqrt()) / self.spread


def _asked(picture: Picture) -> tuple[Subject, str]:
    return picture.item.subject, picture.item.edit.attribute


def _mse(a: Tensor, b: Tensor) -> float:
    return float((a.clamp(-1, 1) - b.clamp(-1, 1)).square().mean())


def _said(net: AttributeNet | None, image: Tensor) -> Tensor | None:
    return None if net is None else net(image)[0].cpu()


def _attributes(kind: str, net: AttributeNet, change: Tensor, own: str) -> dict[str, Scalar]:
    """Changes of all attributes, and of the direction's own under one name."""
    values: dict[str, Scalar] = {f"{kind}_{name}": float(x) for name, x in zip(net.names, change, strict=True)}
    if own in net.names:
        values["attribute_change" if kind == "first" else "judge_change"] = values[f"{kind}_{own}"]
    return values
