"""Contact sheets, which reports show: targets above their reconstructions, a row a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError
from zinv.images import grid, resize, to_uint8

MIN_SIDE = 96


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


def _fit(images: Tensor, side: int) -> Tensor:
    """Enlarged in whole pixels, or reduced by averaging."""
    size = images.shape[-1]
    if side >= size:
        times = side // size
        images = images.repeat_interleave(times, -1).repeat_interleave(times, -2)
    return resize(images, side, "area")
