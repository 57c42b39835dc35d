"""Edits as jobs: stored inversions to edited pictures and their records, an image at a time, on every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from zinv.altering.calibration import Search, calibrate
from zinv.altering.control import control_rows
from zinv.altering.measuring import Editor, Item, Picture, Subject
from zinv.data.base import DataSource
from zinv.editing.edits import Plan
from zinv.errors import ConfigError
from zinv.evaluation.edits import EditInfo, edited, write_image
from zinv.evaluation.records import MetricInfo, Scalar
from zinv.evaluation.store import Run
from zinv.methods.base import Inverter
from zinv.metrics.protocol import Protocol
from zinv.ranks import Ranks


def edit_info(plan: Plan, protocol: Protocol) -> EditInfo:
    """How edits are made and measured, as files say it.

    Raises:
        ConfigError: pictures are to change by an amount that the protocol has no metric for.
    """
    parts, facts = protocol.parts(), protocol.facts()
    if plan.amount == "image" and not any(metric.sees == "features" for metric in parts.values()):
        raise ConfigError(
            f"direction.amount=image: protocol {protocol.name} has no perceptual metric. Choose another protocol."
        )
    identity = tuple(MetricInfo.of(name, facts[name]) for name, metric in parts.items() if metric.sees == "identity")
    digest = hashlib.sha256(f"{plan.digest()} {protocol.digest()}".encode()).hexdigest()
    names = tuple(edit.name for edit in plan.edits)
    kid = f"{plan.kid.label} [{plan.kid.sha256[:8]}]" if plan.kid and plan.kid.sha256 else ""
    return EditInfo(
        plan.line(), plan.asks(), digest, plan.amount, names, plan.strengths, protocol.digest(), identity, kid
    )


def edit_images(
    run: Run, source: DataSource, method: Inverter, plan: Plan, protocol: Protocol, ranks: Ranks, ids: Sequence[str]
) -> None:
    """Make and measure the edits of those images that are finished and have none; each process takes its share."""
    info, finished = edit_info(plan, protocol), run.finished() & set(ids)
    names = [name for name in source.ids if name in finished]
    done = edited(run, info, names, plan.keep)
    mine = ranks.share([name for name in names if name not in done])
    ranks.barrier()  # all have looked before one writes, so that all share the same list
    if not mine:
        return
    method.to(ranks.device)
    protocol.to(ranks.device)
    editor = Editor(run, source, method, plan, protocol)
    rows = _stepped(editor, mine) if plan.amount == "step" else _calibrated(editor, mine)
    for subject, made in rows:
        pictures = {
            (each.picture.item.edit.name, each.strength): each.picture.image[0] for each in made if each.picture
        }
        features = editor.features(subject, [each.features for each in made if each.features is not None])
        write_image(run, info, subject.name, [each.row for each in made], pictures, plan.keep, features)


class Made(NamedTuple):
    """A strength as it was asked for, its record, its picture if that is kept, its features for a kernel distance."""

    strength: float
    row: dict[str, Scalar]
    picture: Picture | None = None
    features: Tensor | None = None


def _stepped(editor: Editor, names: Sequence[str]) -> Iterator[tuple[Subject, list[Made]]]:
    """Records of one image after another; batches go over from one to the next."""
    pairs = list(editor.plan.pairs())
    subjects = (editor.subject(name) for name in names)
    items = (Item(subject, edit, step) for subject in subjects for edit, step in pairs)
    own: list[Picture] = []
    for picture in editor.pictures(items):
        own.append(picture)
        if len(own) == len(pairs):
            yield picture.item.subject, _recorded(editor, own, [picture.item.step for picture in own])
            own = []


def _calibrated(editor: Editor, names: Sequence[str]) -> Iterator[tuple[Subject, list[Made]]]:
    """Records of as many images at a time as fill a batch."""
    pairs = list(editor.plan.pairs())
    size = max(1, -(-editor.plan.batch_size // len(pairs)))
    for first in range(0, len(names), size):
        subjects = [editor.subject(name) for name in names[first : first + size]]
        searches = calibrate(editor, subjects)
        found = [search for search in searches if search.found is not None]
        items = [Item(search.subject, search.edit, search.found or 0.0) for search in found]
        shown = list(editor.pictures(items))
        recorded = _recorded(editor, shown, [search.amount for search in found])
        rows = {id(search): row for search, row in zip(found, recorded, strict=True)}
        made = [_marked(search, rows.get(id(search))) for search in searches]
        for i, subject in enumerate(subjects):
            yield subject, made[i * len(pairs) : (i + 1) * len(pairs)]


def _recorded(editor: Editor, pictures: Sequence[Picture], strengths: Sequence[float]) -> list[Made]:
    """Records of edited pictures, each with its control's."""
    plan = editor.plan
    rows = list(editor.records(pictures, strengths))
    controls = control_rows(editor, pictures, rows) if plan.control else [{}] * len(pictures)
    made = []
    for picture, strength, row, control in zip(pictures, strengths, rows, controls, strict=True):
        features = plan.kid(picture.image) if plan.kid and picture.item.step else None
        made.append(Made(strength, row | control, picture if strength in plan.keep else None, features))
    return made


def _marked(search: Search, made: Made | None) -> Made:
    """The row of a search, reached or not."""
    if made is None:
        return Made(search.amount, _failed(search))
    return made._replace(row={**made.row, "monotone": int(search.monotone)})


def _failed(search: Search) -> dict[str, Scalar]:
    row: dict[str, Scalar] = {"image": search.subject.name, "direction": search.edit.name, "strength": search.amount}
    return row | {"status": "failed", "monotone": int(search.monotone), "reason": search.reason}
