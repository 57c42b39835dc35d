"""Edits as jobs: stored inversions to edited pictures and their records, an image at a time, on every process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from zinv.altering.calibration import Search, calibrate
from zinv.altering.measuring import Editor, Item, Picture
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
    return EditInfo(plan.line(), plan.asks(), digest, plan.amount, names, plan.strengths, protocol.digest(), identity)


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
    for name, made in rows:
        pictures = {(picture.item.edit.name, strength): picture.image[0] for strength, picture, _ in made if picture}
        write_image(run, info, name, [row for _, _, row in made], pictures, plan.keep)


Made = tuple[float, Picture | None, dict[str, Scalar]]
"""A strength as it was asked for, its picture if that is kept, and its record."""


def _stepped(editor: Editor, names: Sequence[str]) -> Iterator[tuple[str, list[Made]]]:
    """Records of one image after another; batches go over from one to the next."""
    pairs = list(editor.plan.pairs())
    items = (Item(editor.subject(name), edit, step) for name in names for edit, step in pairs)
    made: list[Made] = []
    for picture in editor.pictures(items):
        step = picture.item.step
        made.append((step, picture if step in editor.plan.keep else None, editor.record(picture, step)))
        if len(made) == len(pairs):
            yield picture.item.subject.name, made
            made = []


def _calibrated(editor: Editor, names: Sequence[str]) -> Iterator[tuple[str, list[Made]]]:
    """Records of as many images at a time as fill a batch."""
    pairs = list(editor.plan.pairs())
    size = max(1, -(-editor.plan.batch_size // len(pairs)))
    for first in range(0, len(names), size):
        part = names[first : first + size]
        searches = calibrate(editor, [editor.subject(name) for name in part])
        found = [search for search in searches if search.found is not None]
        items = [Item(search.subject, search.edit, search.found or 0.0) for search in found]
        shown = zip(found, editor.pictures(items), strict=True)
        rows = {id(search): _reached(editor, search, picture) for search, picture in shown}
        made = [rows.get(id(search)) or (search.amount, None, _failed(search)) for search in searches]
        for i, name in enumerate(part):
            yield name, made[i * len(pairs) : (i + 1) * len(pairs)]


def _reached(editor: Editor, search: Search, picture: Picture) -> Made:
    row = editor.record(picture, search.amount)
    kept = picture if search.amount in editor.plan.keep else None
    return search.amount, kept, {**row, "monotone": int(search.monotone)}


def _failed(search: Search) -> dict[str, Scalar]:
    row: dict[str, Scalar] = {"image": search.subject.name, "direction": search.edit.name, "strength": search.amount}
    return row | {"status": "failed", "monotone": int(search.monotone), "reason": search.reason}
