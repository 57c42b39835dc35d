"""Edited pictures: decoded in full batches of any image, direction and strength, and measured one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
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
from zinv.metrics.base import Metric
from zinv.metrics.protocol import Protocol, full_precision
from zinv.networks.portraits import AttributeNet
from zinv.scoring import decode
from zinv.spaces.base import prior_ws

KEPT: Final = 4  # subjects at hand: batches go over from one image to the next


@dataclass(frozen=True, eq=False)
class Subject:
    """An inverted image, and what its edits are compared with.

    Attributes:
        name: its id.
        inversion: of it alone.
        target: `(1, 3, R, R)`.
        image: the inversion's picture.
        ws: of its code; None in S.
        first: what the first attribute network says of the inversion's picture, `(A,)`.
        judge: what the second one says.
        error: of the inversion, by each metric of the protocol.
    """

    name: str
    inversion: Inversion
    target: Tensor
    image: Tensor
    ws: Tensor | None
    first: Tensor | None
    judge: Tensor | None
    error: Mapping[str, float]


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
        self.subject = lru_cache(KEPT)(self._subject)
        has_w = method.space.coordinates != "s" and not method.generator.w_per_layer
        self.spread = float(prior_ws(method.generator).std(0).norm()) if has_w else torch.nan

    @torch.no_grad()
    def _subject(self, name: str) -> Subject:
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
        target = target[None].to(self.device)
        own = {key: self._compared(metric, image, target) for key, metric in self.metrics.items()}
        return Subject(name, inversion, target, image, ws, first, judge, own)

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

    @torch.no_grad()
    def picture_change(self, picture: Picture) -> float:
        """Distance from the inversion's picture by the protocol's perceptual metric; without one, the MSE."""
        metric = next((metric for metric in self.metrics.values() if metric.sees == "features"), None)
        before = picture.item.subject.image
        return _mse(picture.image, before) if metric is None else self._compared(metric, picture.image, before)

    @torch.no_grad()
    def identities(self, picture: Picture) -> dict[str, Scalar]:
        """Who is shown, by each metric of identity: against the input (NAME) and the inversion (NAME_inversion)."""
        row: dict[str, Scalar] = {}
        for name, metric in self.metrics.items():
            if metric.sees == "identity":
                row[name] = self._compared(metric, picture.image, picture.item.subject.target)
                row[f"{name}_inversion"] = self._compared(metric, picture.image, picture.item.subject.image)
        return row

    @torch.no_grad()
    def record(self, picture: Picture, strength: float) -> dict[str, Scalar]:
        """What `edits.csv` says of a picture."""
        item, subject = picture.item, picture.item.subject
        row: dict[str, Scalar] = {"image": subject.name, "direction": item.edit.name, "strength": strength}
        row |= {"step": item.step, "status": "ok", "beyond": int(outside(item.edit, item.step))}
        row |= self.identities(picture)
        for name, metric in self.metrics.items():
            if metric.sees == "features":
                row[f"{name}_inversion"] = self._compared(metric, picture.image, subject.image)
        row["mse_inversion"] = _mse(picture.image, subject.image)
        row["w_change"] = self._w_change(picture)
        for kind, net, before in (("first", self.first, subject.first), ("judge", self.judge, subject.judge)):
            if net is not None and before is not None:
                row |= _attributes(kind, net, net(picture.image)[0].cpu() - before, item.edit.attribute)
        return row | self._against_truth(picture, row)

    def _against_truth(self, picture: Picture, row: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """By each metric how much further the edit is from the truth than the inversion from its target.

        The truth is the same subject with the attribute changed as much as a network sees it changed, where the
        pictures come from a source that can show it.
        """
        subject, change = picture.item.subject, row.get("judge_change", row.get("attribute_change"))
        if change is None:
            return {}
        place = self.places[subject.name]
        truth = self.source.counterfactual(place, picture.item.edit.attribute, float(change))
        if truth is None:
            return {}
        truth = truth[None].to(self.device)
        return {
            f"truth_{name}": self._compared(metric, picture.image, truth) - subject.error[name]
            for name, metric in self.metrics.items()
            if metric.sees != "pixels" or name == "mse"
        }

    @torch.no_grad()
    def features(self, name: str, edited: Sequence[Tensor]) -> dict[str, Tensor]:
        """Vectors `(N, D)` of an image's input, inversion and edits for kernel distances; none without a network."""
        kid = self.plan.kid
        if kid is None:
            return {}
        subject = self.subject(name)
        own, inverted = kid(subject.target), kid(subject.image)
        return {"input": own, "inversion": inverted, "edited": torch.cat([own[:0], *edited])}

    def _w_change(self, picture: Picture) -> float:
        """Root mean square over rows of how far w moved, in units of the prior's distance from its mean."""
        before = picture.item.subject.ws
        if picture.ws is None or before is None:
            return torch.nan
        return float((picture.ws - before).square().sum(2).mean().sqrt()) / self.spread

    def _compared(self, metric: Metric, image: Tensor, other: Tensor) -> float:
        """A metric under the protocol's rounding and size; a picture alone, so that none depends on its batch."""
        with full_precision(image.device):
            return float(metric(*self.protocol.prepare(image, other)))


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
