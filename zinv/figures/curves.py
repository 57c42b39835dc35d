"""Curves: identity against step and achieved change, and the trade-off of reconstruction and edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zinv.figures.style import WIDTH, colour, marker, math, new_figure, paper_style, under
from zinv.statistics import Interval, bootstrap_interval

RESAMPLES: Final = 1999
PANELS: Final = 3  # in a line
LINES: Final = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Point:
    """A run in the trade-off.

    Attributes:
        label: of the row, such as F/Z+.
        curve: the setting that differs along its curve; nothing if the run stands alone.
        order: its value.
        across: mean over images.
        up: likewise.
    """

    label: str
    curve: str
    order: float
    across: Interval
    up: Interval


def edit_curves(
    frames: Mapping[str, pd.DataFrame], x: str, y: str, names: tuple[str, str], notes: Sequence[str] = ()
) -> Figure:
    """One panel a direction: light lines for images, deep ones for means, with a bootstrap band over images.

    Args:
        frames: edits of each row, by its label.
        x: column across: `strength`, or the change that was achieved.
        y: column upwards.
        names: what the axes are called.
        notes: small lines at the bottom.
    """
    directions = list(dict.fromkeys(name for frame in frames.values() for name in frame["direction"]))
    lines = -(-len(directions) // PANELS)
    with paper_style():
        figure = new_figure(WIDTH * min(1, len(directions) / PANELS + 0.25), 2.1 * lines + 0.45)
        grid = figure.subplots(lines, min(len(directions), PANELS), squeeze=False, sharey=True)
        for axes, direction in zip(grid.flat, directions, strict=False):
            for place, frame in enumerate(frames.values()):
                _curve(axes, frame[frame["direction"] == direction], x, y, place)
            axes.set(title=direction, xlabel=names[0])
        for axes in grid.flat[len(directions) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(names[1])
        _legend(figure, grid.flat[0], list(frames))
        under(figure, notes)
    return figure


def frontier(points: Sequence[Point], names: tuple[str, str], notes: Sequence[str] = ()) -> Figure:
    """Reconstruction across, identity of edits upwards; runs of one label that differ in a setting are a curve."""
    labels = list(dict.fromkeys(point.label for point in points))
    curves = list(dict.fromkeys(point.curve for point in points if point.curve))
    with paper_style():
        figure = new_figure(WIDTH * 0.62, 3.0)
        axes = figure.subplots()
        for label, curve in dict.fromkeys((point.label, point.curve) for point in points):
            own = [point for point in points if (point.label, point.curve) == (label, curve)]
            line = LINES[curves.index(curve) % len(LINES)] if curve else LINES[0]
            _points(axes, sorted(own, key=lambda point: point.order), labels.index(label), line)
        axes.set(xlabel=names[0], ylabel=names[1])
        _legend(figure, axes, labels)
        under(figure, notes)
    return figure


def band(frame: pd.DataFrame, y: str) -> tuple[float, float]:
    """95 % interval of the mean over images, all values of an image drawn together."""
    found = bootstrap_interval(frame[y], num_resamples=RESAMPLES, images=list(frame["image"]))
    return found.low, found.high


def _curve(axes: Axes, frame: pd.DataFrame, x: str, y: str, place: int) -> None:
    for _, own in frame.sort_values("strength").groupby("image"):
        axes.plot(own[x], own[y], color=colour(place), alpha=0.15, linewidth=0.5)
    steps = [step for _, step in frame.groupby("strength")]
    across, up = ([float(step[key].mean()) for step in steps] for key in (x, y))
    low, high = zip(*(band(step, y) for step in steps), strict=True) if steps else ((), ())
    if x == "strength":
        axes.fill_between(across, low, high, color=colour(place), alpha=0.2, linewidth=0)
    else:
        axes.errorbar(
            across, up, np.abs(np.subtract((low, high), up)), fmt="none", ecolor=colour(place), elinewidth=0.7
        )
    axes.plot(across, up, color=colour(place), marker=marker(place), markersize=3)


def _points(axes: Axes, points: Sequence[Point], place: int, line: str) -> None:
    across, up = [p.across.value for p in points], [p.up.value for p in points]
    errors = [[p.half_width for p in side] for side in ([p.across for p in points], [p.up for p in points])]
    style = {"color": colour(place), "marker": marker(place), "linewidth": 1.0, "elinewidth": 0.7, "linestyle": line}
    axes.errorbar(across, up, xerr=errors[0], yerr=errors[1], **style)  # type: ignore[arg-type]
    if len(points) > 1:
        for point in points:
            place_of = (point.across.value, point.up.value)
            axes.annotate(
                f"{point.order:g} {point.curve}", place_of, xytext=(3, 3), textcoords="offset points", fontsize=7
            )


def _legend(figure: Figure, axes: Axes, labels: Sequence[str]) -> None:
    for place, label in enumerate(labels):
        axes.plot([], [], color=colour(place), marker=marker(place), label=math(label))
    handles, names = axes.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0, 1, 0.9 if figure.get_size_inches()[1] < 4 else 0.95))
    figure.legend(handles, names, loc="upper center", ncols=min(6, len(names)), handlelength=1.6, columnspacing=1.2)
