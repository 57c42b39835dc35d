"""Forest plots: paired differences of rows with their intervals, a panel a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zinv.figures.style import COLOURS, GREY, WIDTH, math, new_figure, paper_style, under
from zinv.statistics import Interval


@dataclass(frozen=True)
class Pair:
    """A line of a forest plot: the method or pair, and the mean difference by metric, new minus reference."""

    label: str
    differences: Mapping[str, Interval]


def forest(
    pairs: Sequence[Pair],
    better: Mapping[str, bool],
    new: str,
    reference: str,
    notes: Sequence[str] = (),
) -> Figure:
    """One panel a metric; filled points lie on the better side with their whole interval, open ones cross 0.

    Args:
        pairs: from top to bottom.
        better: of each metric's label, whether higher is better.
        new: what all pairs have first, such as `Z+`.
        reference: what they have second.
        notes: small lines at the bottom.
    """
    with paper_style():
        figure = new_figure(WIDTH, 0.3 * len(pairs) + 0.9)
        grid = figure.subplots(1, len(better), squeeze=False, sharey=True)[0]
        for axes, (metric, higher) in zip(grid, better.items(), strict=True):
            for place, pair in enumerate(pairs):
                _line(axes, pair.differences[metric], len(pairs) - 1 - place, higher)
            _finish(axes, metric, higher)
        grid[0].set_yticks(range(len(pairs)), [math(pair.label) for pair in reversed(pairs)])
        grid[0].set_ylim(-0.6, len(pairs) - 0.4)
        figure.tight_layout(rect=(0, 0.06, 1, 1), w_pad=1.2)
        figure.text(0.5, 0.02, f"{math(new)} minus {math(reference)}", ha="center")
        under(figure, notes)
    return figure


def _line(axes: Axes, found: Interval, height: int, higher: bool) -> None:
    gain = 1 if higher else -1
    sure = not found.low <= 0 <= found.high
    colour = GREY if not sure else COLOURS[0] if found.value * gain > 0 else COLOURS[1]
    axes.plot([found.low, found.high], [height, height], color=colour, linewidth=1.1)
    axes.plot([found.value], [height], "o", color=colour, markerfacecolor=colour if sure else "white")


def _finish(axes: Axes, metric: str, higher: bool) -> None:
    axes.axvline(0, color="black", linewidth=0.6)
    reach = 1.1 * max(abs(end) for end in axes.get_xlim())
    axes.set_xlim(-reach, reach)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"{metric} ({'better →' if higher else '← better'})")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
