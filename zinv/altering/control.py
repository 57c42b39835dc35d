"""The control of every edit: a random direction that changes the picture as much. What it costs, any change costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from zinv.altering.calibration import ROUNDS, Search
from zinv.altering.measuring import Editor, Item, Picture
from zinv.editing.direction import Direction
from zinv.editing.edits import Edit
from zinv.evaluation.records import Scalar
from zinv.generators.base import Generator
from zinv.metrics.seen import Seen
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace

DOUBLINGS: Final = 8  # of the edit's own step, until the picture has changed as much
LEAST: Final = 1e-4  # changes below it, in the metric's unit, are none

Rows: TypeAlias = dict[int, dict[str, Scalar]]
"""Of the searches that have ended, by their `id`."""


def control_rows(
    editor: Editor, pictures: Sequence[Picture], records: Sequence[Mapping[str, Scalar]]
) -> list[dict[str, Scalar]]:
    """What `edits.csv` says of the control of each edited picture.

    Args:
        editor: of the run.
        pictures: edits of one image, or of a few.
        records: theirs.

    Returns:
        For each: `control_step`, and its identity to input and inversion; a note where no step was found.
    """
    pairs = {(picture.item.subject.name, picture.item.edit) for picture in pictures}
    random = {(name, edit): _random(editor, name, edit) for name, edit in pairs}
    searches = [
        _search(editor, picture, random[picture.item.subject.name, picture.item.edit], editor.recorded_change(record))
        for picture, record in zip(pictures, records, strict=True)
    ]
    rows: Rows = {}
    still = [search for search in searches if search.found is not None]
    for search, picture in _tried(editor, still, [0.0] * len(still)):
        rows[id(search)] = _row(editor, picture)
    _double(editor, searches, rows)
    for _ in range(ROUNDS):
        going = [search for search in searches if search.open and search.bracket]
        for search, point in _seen(editor, going, [search.guess() for search in going], rows):
            search.narrow(*point)
    for search in searches:
        if search.open:
            search.give_up()
    return [rows.get(id(search)) or _lacking(search) for search in searches]


def random_direction(like: Direction, space: LatentSpace, generator: Generator, name: str) -> Direction:
    """From one draw of the prior to another, as long as a direction, on its rows, alike in all or not as it is.

    Args:
        like: what it is the control of.
        space: of the codes.
        generator: whole.
        name: of the image; every image has a random direction of its own.
    """
    first, second = space.draw(generator, image_rngs(0, [f"control {like.name} {name} {end}" for end in "ab"])).cpu()
    step = (second - first).reshape(-1, first.shape[-1])
    step = step if len(like.step) > 1 else step[:1]
    length = like.step.norm() / step.norm().clamp_min(1e-12)
    return replace(like, name=f"control of {like.name}", step=length * step, range=None, attribute="", source="")


def _random(editor: Editor, name: str, edit: Edit) -> Edit:
    method = editor.method
    drawn = (random_direction(each, method.space, method.generator, name) for each in edit.directions)
    return Edit(f"control of {edit.name}", tuple(drawn))


def _search(editor: Editor, picture: Picture, random: Edit, amount: float) -> Search:
    """For as much change as an edit made, beginning at its own step."""
    item = picture.item
    search = Search(item.subject, random, amount, item.step, editor.plan.tolerance)
    if amount <= LEAST or item.step == 0:
        search.found = 0.0
    return search


def _double(editor: Editor, searches: Sequence[Search], rows: Rows) -> None:
    """Go on until the change is reached, which gives each search its bracket."""
    last = {id(search): (0.0, 0.0) for search in searches}
    for turn in range(DOUBLINGS + 1):
        going = [search for search in searches if search.open and not search.bracket]
        for search, point in _seen(editor, going, [search.limit * 2**turn for search in going], rows):
            if point[1] >= search.amount:
                search.bracket = [last[id(search)], point]
                search.settle(*point)
            last[id(search)] = point
    for search in searches:
        if search.open and not search.bracket:
            step, change = last[id(search)]
            search.reason = f"the picture changes by {change:.4g} at step {step:.4g}, not by {search.amount:.4g}"


def _seen(
    editor: Editor, searches: Sequence[Search], steps: Sequence[float], rows: Rows
) -> Iterator[tuple[Search, tuple[float, float]]]:
    """Each search's step with the change there; of a picture that ends its search the row is kept."""
    for search, picture in _tried(editor, searches, steps):
        yield search, (picture.item.step, editor.picture_change(picture))
        if search.found is not None:
            rows[id(search)] = _row(editor, picture)


def _tried(editor: Editor, searches: Sequence[Search], steps: Sequence[float]) -> Iterator[tuple[Search, Picture]]:
    items = [Item(search.subject, search.edit, step) for search, step in zip(searches, steps, strict=True)]
    return zip(searches, editor.pictures(items), strict=True)


def _lacking(search: Search) -> dict[str, Scalar]:
    return {"control_step": math.nan, "note": f"no control: {search.reason}"}


def _row(editor: Editor, picture: Picture) -> dict[str, Scalar]:
    row: dict[str, Scalar] = {"control_step": picture.item.step}
    identities = editor.identities(Seen(picture.image), picture.item.subject)
    return row | {f"control_{key}": value for key, value in identities.items()}
