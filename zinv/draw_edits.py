"""Figures of edits: grids at chosen strengths, and identity against what an edit did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from zinv.editing.edits import UNITS
from zinv.errors import ConfigError, ProtocolError
from zinv.evaluation.edits import EditInfo, picture_path, read_edits
from zinv.evaluation.fair import reached_by_all
from zinv.evaluation.records import MetricInfo
from zinv.figures import edits
from zinv.figures.curves import edit_curves
from zinv.figures.grids import Line, picture_grid
from zinv.figures.style import Drawing
from zinv.stage import Stage

NUM_STRENGTHS: Final = 5
BAND: Final = "Light lines: images; deep lines: means, with 95 % bootstrap intervals over images."
STEP: Final = ("step", "step", "the step of the edit")
ASKED: Final = ("asked", "change asked for", "the change asked for ({})")
"""Of a curve: its file's name, its axis, what the caption calls that."""


def edit_grids(stage: Stage) -> list[Drawing]:
    """For each direction: target, inversion and edits at chosen strengths, a line for each image and row."""
    infos, metric, frames = edits_of(stage)
    images, rule = stage.picked("worst:1,median:1,best:1")
    drawings = []
    for direction in _directions(frames):
        strengths = _strengths(stage, infos, frames, direction)
        heads = ["target", "inversion", *(_signed(x) for x in strengths)]
        lines = _edit_lines(stage, infos, frames, metric, direction, strengths, images)
        whole = [
            picture_grid(_edit_lines(stage, infos, frames, metric, direction, strengths, [name]), heads)
            for name in stage.images
        ]
        notes = (*stage.notes, *_not_kept(lines))
        caption = f"Edits along {direction}; {metric.label} under each. {rule} {stage.protocol}"
        drawn = picture_grid(lines, heads, notes)
        drawings.append(Drawing(f"edits-{direction}", drawn, caption, notes, whole))
    return drawings


def identity_curves(stage: Stage) -> list[Drawing]:
    """Identity against the step, or the change asked for; and against the change achieved where that was measured."""
    infos, metric, every = edits_of(stage)
    frames, told = reached_by_all(every)
    frames = {label: frame.fillna({metric.name: 0.0}) for label, frame in frames.items()}
    notes = (*stage.notes, *told)
    num = next(iter(frames.values()))["image"].nunique()
    n = f"n = {num} images; a missing face scores 0. {BAND} {stage.protocol}"
    amount = next(iter(infos.values())).amount
    name, across, words = STEP if amount == "step" else ASKED
    words = words.format(UNITS[amount])
    asked = edit_curves(frames, "strength", metric.name, (across, metric.label), notes)
    drawings = [Drawing(f"identity-{name}", asked, f"{metric.label} against {words}, {n}", notes)]
    achieved = next((name for name in edits.CHANGE if all(name in frame for frame in frames.values())), None)
    if achieved:
        change = f"change of the attribute{' (judge)' if achieved == 'judge_change' else ''}"
        drawn = edit_curves(frames, achieved, metric.name, (change, metric.label), notes)
        caption = f"{metric.label} against {change}, means by {across}, {n}"
        drawings.append(Drawing("identity-change", drawn, caption, notes))
    return drawings


def edits_of(stage: Stage) -> tuple[dict[str, EditInfo], MetricInfo, dict[str, pd.DataFrame]]:
    """What edits they are, by label; the metric of identity or the one asked for; edits of the rows' images by label.

    Raises:
        StoreError: a row has none.
        ProtocolError: they are not of the same edits under the same protocol.
    """
    found = {label: read_edits(stage.run(row).path) for label, row in stage.rows.items()}
    infos = {label: header.edits for label, (header, _) in found.items()}
    if len({(info.asks, info.protocol) for info in infos.values()}) > 1:
        told = ", ".join(f"'{label}' {info.asks[:8]} under {info.protocol[:8]}" for label, info in infos.items())
        raise ProtocolError(f"other edits, or edits of two protocols, cannot share a figure: {told}.")
    info = next(iter(infos.values()))
    if not info.identity:
        raise ProtocolError(
            f"protocol {info.protocol[:8]} has no metric of identity, which figures of edits are about."
        )
    frames = {label: frame[frame["image"].isin(stage.images)] for label, (_, frame) in found.items()}
    known = {metric.name: metric for metric in info.identity}
    asked = stage.wishes.metric
    return infos, known[asked] if asked in known else info.identity[0], frames


def _directions(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    return list(dict.fromkeys(str(name) for frame in frames.values() for name in frame["direction"]))


def _strengths(
    stage: Stage, infos: Mapping[str, EditInfo], frames: Mapping[str, pd.DataFrame], direction: str
) -> list[float]:
    """Those asked for, or a few evenly among those that every row has and, if there are any, has pictures of.

    Raises:
        ConfigError: one that was asked for is not there.
    """
    own = [{*map(float, frame[frame["direction"] == direction]["strength"])} for frame in frames.values()]
    there = sorted(set.intersection(*own))
    if stage.wishes.strengths is None:
        first = [(stage.run(stage.rows[label]).path, info) for label, info in infos.items()]
        there = [
            x for x in there if all(picture_path(*of, stage.images[0], direction, x).is_file() for of in first)
        ] or there
        places = np.linspace(0, len(there) - 1, min(NUM_STRENGTHS, len(there))).round().astype(int)
        return [there[i] for i in places]
    try:
        asked = [float(text) for text in stage.wishes.strengths.split(",")]
    except ValueError as error:
        raise ConfigError(f"--strengths {stage.wishes.strengths}: not numbers; write --strengths=-2,0,2.") from error
    for strength in asked:
        if not any(np.isclose(strength, x) for x in there):
            raise ConfigError(f"--strengths {strength:g}: {direction} has {', '.join(f'{x:g}' for x in there)}.")
    return asked


def _edit_lines(
    stage: Stage,
    infos: Mapping[str, EditInfo],
    frames: Mapping[str, pd.DataFrame],
    metric: MetricInfo,
    direction: str,
    strengths: Sequence[float],
    images: Sequence[str],
) -> list[Line]:
    lines = []
    for name in images:
        (shown,) = stage.targets([name])
        for label, frame in frames.items():
            run, found = stage.run(stage.rows[label]), [edits.at(frame, name, direction, x) for x in strengths]
            values = ["" if row is None else f"{float(str(row[metric.name])):.2f}" for row in found]
            pictures = [edits.edited_picture(run.path, infos[label], name, direction, x) for x in strengths]
            lines.append(Line(label, [shown, run.read(name).reconstruction, *pictures], ["", "", *values]))
    return lines


def _not_kept(lines: Sequence[Line]) -> tuple[str, ...]:
    """A note if there are edits without a picture."""
    pairs = ((picture, value) for line in lines for picture, value in zip(line.pictures, line.values, strict=True))
    num = sum(picture is None and value != "" for picture, value in pairs)
    return (f"{num} edited pictures were not kept; direction.keep=STRENGTHS keeps those of a run.",) if num else ()


def _signed(strength: float) -> str:
    return f"{strength:+g}".replace("-", "−") if strength else "0"  # noqa: RUF001
