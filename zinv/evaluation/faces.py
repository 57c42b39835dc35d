"""Edited pictures without a face: the identity of edits with these left out instead of scored 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from zinv.evaluation.edit_means import per_image
from zinv.evaluation.edits import read_edits
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row

KEYS = ["image", "direction", "strength"]


def face_notes(rows: Sequence[Row], labels: Sequence[str], metrics: Sequence[MetricInfo]) -> list[str]:
    """A line for each metric of identity that could not score an edited picture of some row.

    Args:
        rows: of a table.
        labels: their names there.
        metrics: its columns; only those that are of edits count.
    """
    frames = {}
    for label, row in zip(labels, rows, strict=True):
        if row.folder and row.edits and row.edits.amount == "step":
            frame = read_edits(row.folder)[1]
            frames[label] = frame[frame["image"].isin(row.records["image"])]
    asked = {metric.name for metric in metrics}
    known = next((row.edits.identity for row in rows if row.edits), ())
    shown = [metric for metric in known if f"edited_{metric.name}" in asked]
    return [line for metric in shown if (line := _line(frames, metric))]


def left_out(frames: Mapping[str, pd.DataFrame], column: str) -> tuple[dict[str, float], dict[str, float], int]:
    """Mean identity of each row over the pictures that have a face, over those that have one in all rows, and how many.

    Means are over images, each over its edits; strength 0 and edits that are not there are left out.
    """
    own = {label: frame[(frame["strength"] != 0) & frame[column].notna()] for label, frame in frames.items()}
    keyed = {label: frame.set_index(KEYS) for label, frame in own.items()}
    shared = set.intersection(*({*frame.index} for frame in keyed.values()))
    common = {label: frame[frame.index.isin(shared)].reset_index() for label, frame in keyed.items()}
    alone, together = (
        {label: float(per_image(frame, column, missing=math.nan).mean()) for label, frame in part.items()}
        for part in (own, common)
    )
    return alone, together, len(shared)


def _line(frames: Mapping[str, pd.DataFrame], metric: MetricInfo) -> str:
    moved = {label: frame[(frame["strength"] != 0) & (frame["status"] == "ok")] for label, frame in frames.items()}
    lacking = {label: int(frame[metric.name].isna().sum()) for label, frame in moved.items()}
    if not any(lacking.values()):
        return ""
    alone, together, num = left_out(frames, metric.name)
    words = ", ".join(f"{_told(label, alone, metric)} ({lacking[label]} left out)" for label in frames)
    line = f"{metric.label}, edited, without the pictures that could not be scored: {words}"
    if len(frames) == 1:
        return f"{line}."
    values = ", ".join(_told(label, together, metric) for label in frames)
    return f"{line}; on the {num:,} edits that could be scored in every row: {values}."


def _told(label: str, values: Mapping[str, float], metric: MetricInfo) -> str:
    return f"{label} –" if math.isnan(values[label]) else f"{label} {values[label]:.{metric.digits}f}"
