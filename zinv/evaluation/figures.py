"""Figures: targets above their reconstructions, a row a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError, StoreError
from zinv.evaluation.store import Run
from zinv.images import grid, pixels_sha256, resize, to_uint8

MIN_SIDE = 96


def reconstruction_grid(runs: Sequence[Run], source: DataSource, ids: Sequence[str], path: Path) -> Path:
    """Draw targets on the top row and each run's reconstructions under them, labelled, as a PNG.

    Args:
        runs: one a row, in the order of the figure.
        source: where the targets come from.
        ids: one a column.
        path: the file to write.

    Raises:
        DataError: a target is not in the source or cannot be read.
        StoreError: a run has not finished an image, or made it from another picture.
    """
    targets = [target(source, name) for name in ids]
    rows = [("target", targets)]
    for run, label in zip(runs, run_labels(runs), strict=True):
        rows.append((label, [_reconstruction(run, *pair) for pair in zip(ids, targets, strict=True)]))
    sheet = draw_grid(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG")
    return path


def draw_grid(rows: Sequence[tuple[str, Sequence[Tensor]]], side: int | None = None) -> Image.Image:
    """Rows of `(3, R, R)` images in [-1, 1], each with its label to the left.

    Args:
        rows: labels and images, as many in every row.
        side: pixels of an image; at least 96 by default.
    """
    images = torch.cat([torch.stack([*row]).cpu() for _, row in rows])
    side = side or enlarged(images.shape[-1])
    columns = len(images) // len(rows)
    pad = max(2, side // 32)
    pictures = Image.fromarray(to_uint8(grid(_fit(images, side), columns, pad)[None])[0].numpy())
    font = ImageFont.load_default(size=max(14, side // 6))
    margin = 3 * pad + max(int(font.getlength(label)) for label, _ in rows)
    sheet = Image.new("RGB", (margin + pictures.width, pictures.height), "white")
    sheet.paste(pictures, (margin, 0))
    pen = ImageDraw.Draw(sheet)
    for i, (label, _) in enumerate(rows):
        pen.text((margin - 2 * pad, i * (side + pad) + side // 2), label, fill="black", font=font, anchor="rm")
    return sheet


def enlarged(side: int) -> int:
    """The smallest multiple of a side that can be seen, at most 256.

    >>> enlarged(16), enlarged(64), enlarged(1024)
    (96, 128, 256)
    """
    return min(256, side * -(-MIN_SIDE // side))


def target(source: DataSource, name: str) -> Tensor:
    """One target by its id.

    Raises:
        DataError: it is not in the source or cannot be read.
    """
    if name not in source.ids:
        raise DataError(f"there is no image '{name}' among the {len(source)} of the data.")
    return source.image(list(source.ids).index(name))


def run_labels(runs: Sequence[Run]) -> list[str]:
    """Labels of runs, those that share one told apart by the digits of the run."""
    names = [str(_settings(run).get("name") or _settings(run).get("label") or run.name) for run in runs]
    return [f"{a} {run.path.name}" if names.count(a) > 1 else a for a, run in zip(names, runs, strict=True)]


def _reconstruction(run: Run, name: str, image: Tensor) -> Tensor:
    stored = run.read(name)
    run.check_target(name, pixels_sha256(image))
    return stored.reconstruction


def _settings(run: Run) -> Mapping[str, object]:
    settings = run.facts["settings"]
    if not isinstance(settings, Mapping):
        raise StoreError(f"{run.path}: run.json is damaged (settings).")
    return settings


def _fit(images: Tensor, side: int) -> Tensor:
    """Enlarged in whole pixels, or reduced by averaging."""
    size = images.shape[-1]
    if side >= size:
        times = side // size
        images = images.repeat_interleave(times, -1).repeat_interleave(times, -2)
    return resize(images, side, "area")
