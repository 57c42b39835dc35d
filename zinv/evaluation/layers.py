"""SAM's layers as a figure and as lines under tables: which layer has which pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zinv.data.base import DataSource
from zinv.evaluation.figures import draw_grid, target
from zinv.evaluation.files import Json
from zinv.evaluation.rows import Row
from zinv.evaluation.store import Run
from zinv.images import pixels_sha256

LAYERS: Final = "maps/layers"
MASK: Final = "maps/mask/"
SHARE: Final = "share_"
MIN_OUTLINED: Final = 48  # pixels a side, below which lines would hide the segments


def layer_sheet(run: Run, source: DataSource, ids: Sequence[str]) -> Image.Image | None:
    """Targets, segments, each layer's predicted map (white where most would be lost) and pixels, reconstructions.

    Args:
        run: a run whose inversions may have layers.
        source: where the targets come from.
        ids: finished images, one a column.

    Returns:
        The figure; None for a run without layers.

    Raises:
        DataError: a target is not in the source or cannot be read.
        StoreError: an image is not finished, or was made from another picture.
    """
    stored = {name: run.read(name) for name in ids}
    if not stored or any(LAYERS not in image.tensors for image in stored.values()):
        return None
    targets = [target(source, name) for name in ids]
    for name, picture in zip(ids, targets, strict=True):
        run.check_target(name, pixels_sha256(picture))
    tensors = [image.tensors for image in stored.values()]
    maps = torch.stack([x["maps/invertibility"] for x in tensors])
    maps = F.interpolate(maps / maps.max().clamp(min=1e-12), targets[0].shape[-2:], mode="bilinear")
    rows = [("target", targets)]
    draw = outlined if targets[0].shape[-1] >= MIN_OUTLINED else coloured
    rows.append(("segments", [draw(*pair) for pair in zip(targets, _each(tensors, "segments"), strict=True)]))
    for i, name in enumerate(_names(run, tensors[0])):
        chosen = [layers == i for layers in _each(tensors, "layers")]
        rows.append((f"map of {name}", [2 * x[i].expand(3, -1, -1) - 1 for x in maps]))
        rows.append((f"in {name}", [torch.where(m, x, torch.ones(())) for m, x in zip(chosen, targets, strict=True)]))
    if all(image.has_picture for image in stored.values()):
        rows.append(("reconstruction", [image.reconstruction for image in stored.values()]))
    return draw_grid(rows)


def outlined(image: Tensor, labels: Tensor) -> Tensor:
    """`coloured` with black lines between the segments."""
    edge = torch.zeros_like(labels, dtype=torch.bool)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    return torch.where(edge, -torch.ones(()), coloured(image, labels))


def coloured(image: Tensor, labels: Tensor) -> Tensor:
    """A picture `(3, H, W)` with each segment of labels `(H, W)` in its mean colour."""
    flat = labels.flatten().long()
    sums = image.new_zeros(int(flat.max()) + 1, 3).index_add(0, flat, image.flatten(1).mT)
    return (sums / torch.bincount(flat)[:, None])[flat].mT.view_as(image)


def layer_notes(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """A line for each row whose records have shares: what each layer has, and how often one has all.

    Args:
        rows: of a table.
        names: what it calls them.
    """
    for row, name in zip(rows, names, strict=True):
        columns = [str(column) for column in row.records if str(column).startswith(SHARE)]
        if not columns or row.done.empty:
            continue
        columns.sort(key=[f"{SHARE}{name}" for name in ("code", *_points(row.setting("points")))].index)
        parts = [f"{column.removeprefix(SHARE)} {row.done[column].mean():.1%}" for column in columns]
        num, of = int(row.done["degenerate"].sum()), len(row.done)
        degenerate = f"; degenerate, one layer has all, in {num} of {of} images" if num else ""
        verdict = ": no evidence for choosing layers" if num == of else ""
        threshold = f", threshold {row.setting('threshold')}" if row.setting("threshold") else ""
        untrained = ", untrained predictor" if row.setting("predictor") == "untrained" else ""
        yield f"{name}{threshold}{untrained}: shares of the pixels {', '.join(parts)}{degenerate}{verdict}."


def _names(run: Run, tensors: Mapping[str, Tensor]) -> list[str]:
    settings = run.facts["settings"]
    assert isinstance(settings, Mapping)
    points = (name.removeprefix(MASK) for name in tensors if name.startswith(MASK))
    return [str(settings["space"]), *sorted(points, key=lambda point: int(point[1:].partition(".")[0]))]


def _points(setting: Json) -> list[str]:
    return str(setting).split(", ")


def _each(tensors: Sequence[Mapping[str, Tensor]], name: str) -> list[Tensor]:
    return [x[f"maps/{name}"] for x in tensors]
