"""The trade-off: which runs lie on which curve, and what is drawn."""

from __future__ import annotations

from zinv.figures.curves import Point, frontier
from zinv.figures.settings import curves_of
from zinv.statistics import Interval


def at(value: float) -> Interval:
    return Interval(value, value - 0.1, value + 0.1, 8)


def test_steps_and_a_weight_are_two_curves_that_meet():
    """Three numbers of steps at weight 10, three weights at 300 steps, one run that shares neither."""
    cells = [(100, 10), (300, 10), (900, 10), (300, 1), (300, 100), (100, 1)]
    rows = {f"{steps}/{weight}": {"num_steps": float(steps), "base_weight": float(weight)} for steps, weight in cells}
    found = list(curves_of(rows))
    assert sorted(name for name, curve, _ in found if curve == "num steps") == ["100/10", "300/10", "900/10"]
    assert sorted(name for name, curve, _ in found if curve == "base weight") == ["300/1", "300/10", "300/100"]
    assert [(name, curve) for name, curve, _ in found if not curve] == [("100/1", "")]


def test_equal_runs_stand_alone():
    assert list(curves_of({"a": {"lr": 0.1}, "b": {"lr": 0.1}})) == [("a", "", 0.0), ("b", "", 0.0)]


def test_each_curve_has_its_line_and_its_values_in_order():
    points = [Point("F/Z+", "num steps", order, at(1 / order), at(order / 1000)) for order in (300.0, 100.0, 900.0)]
    points += [
        Point("F/Z+", "base weight", 10.0, at(0.2), at(0.3)),
        Point("F/Z+", "base weight", 1.0, at(0.1), at(0.2)),
    ]
    points += [Point("Z+", "", 0.0, at(0.5), at(0.9))]
    (axes,) = frontier(points, ("MSE", "identity")).axes
    lines = {line.get_linestyle(): list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) > 1}
    assert lines == {"-": [1 / 100, 1 / 300, 1 / 900], "--": [0.1, 0.2]}
    told = [text.get_text() for text in axes.texts]
    assert told == ["100 num steps", "300 num steps", "900 num steps", "1 base weight", "10 base weight"]
