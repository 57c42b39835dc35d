"""Grids of pictures: reconstructions, edits, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from zinv.figures.style import GREY, WIDTH, math, new_figure, paper_style, under
from zinv.images import to_uint8

GAP: Final = 0.025  # inches
LABEL: Final = 0.75
LINE: Final = 0.13
LARGEST: Final = 1.1  # inches of a picture
PAGE: Final = 6  # columns of a supplement's page


@dataclass(frozen=True)
class Line:
    """A line of pictures.

    Attributes:
        label: of the row, to the left.
        pictures: `(3, R, R)` in [-1, 1]; None where there is none.
        values: words under each picture.
        maps: a heat map `(h, w)` in [0, 1] over each picture, such as a mask.
    """

    label: str
    pictures: Sequence[Tensor | None]
    values: Sequence[str] = ()
    maps: Sequence[NDArray[np.float64] | None] = ()


def picture_grid(
    lines: Sequence[Line], heads: Sequence[str] = (), notes: Sequence[str] = (), width: float = WIDTH
) -> Figure:
    """Lines of as many pictures each, one under the other.

    Args:
        lines: from top to bottom.
        heads: words over the columns.
        notes: small lines at the bottom.
        width: inches of the page.
    """
    columns = max(len(line.pictures) for line in lines)
    side = min(LARGEST, (width - LABEL) / columns - GAP)
    rooms = [side + GAP + (LINE if line.values else 0) for line in lines]
    height = sum(rooms) + (1.3 * LINE if heads else 0)
    with paper_style():
        figure = new_figure(LABEL + columns * (side + GAP), height)
        wide, high = figure.get_size_inches()
        top = high
        for x, head in enumerate(heads):
            figure.text((LABEL + x * (side + GAP) + side / 2) / wide, 1, math(head), ha="center", va="top", fontsize=8)
        top -= 1.3 * LINE if heads else 0
        for line, room in zip(lines, rooms, strict=True):
            figure.text((LABEL - 0.06) / wide, (top - side / 2) / high, math(line.label), ha="right", va="center")
            for x in range(len(line.pictures)):
                axes = figure.add_axes(
                    ((LABEL + x * (side + GAP)) / wide, (top - side) / high, side / wide, side / high)
                )
                _draw(axes, line, x)
            top -= room
        under(figure, notes)
    return figure


def pages(lines: Sequence[Line], heads: Sequence[str] = ()) -> list[Figure]:
    """The same lines, a few columns a page: a supplement."""
    columns = len(lines[0].pictures)
    return [
        picture_grid([_part(line, i, i + PAGE) for line in lines], heads[i : i + PAGE]) for i in range(0, columns, PAGE)
    ]


def _part(line: Line, first: int, last: int) -> Line:
    return Line(line.label, line.pictures[first:last], line.values[first:last], line.maps[first:last])


def _draw(axes: Axes, line: Line, place: int) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    picture = line.pictures[place]
    for spine in axes.spines.values():
        spine.set_visible(picture is None)
        spine.set_color(GREY)
    if picture is None:
        axes.text(0.5, 0.5, "missing", ha="center", va="center", fontsize=7, color=GREY, transform=axes.transAxes)
        return
    pixels = to_uint8(picture[None])[0].numpy()
    extent = (0.0, 1.0, 0.0, 1.0)
    axes.imshow(pixels, interpolation="nearest", extent=extent)
    if line.maps and (mask := line.maps[place]) is not None:
        axes.imshow(mask, cmap="cividis", alpha=0.6, vmin=0, vmax=1, extent=extent, interpolation="nearest")
    if line.values:
        axes.text(0.5, -0.02, line.values[place], ha="center", va="top", fontsize=7, transform=axes.transAxes)
