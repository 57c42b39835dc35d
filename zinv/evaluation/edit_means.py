"""What tables take from `edits.csv`: a number an image, since images alone are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import pandas as pd

from zinv.evaluation.edits import EditHeader
from zinv.evaluation.records import MetricInfo

Summary: TypeAlias = tuple[MetricInfo, "pd.Series[float]"]
"""What a column is, and its values by image."""

CHANGE: Final = "edited_change"
DRIFT: Final = "edited_drift"
TRUTH: Final = "edited_truth_"


def per_image(frame: pd.DataFrame, column: str, zero: bool = False, missing: float = 0.0) -> pd.Series[float]:
    """Mean of a column over each image's edits, by image.

    Args:
        frame: rows of an `edits.csv`.
        column: of them.
        zero: count strength 0, as the paper's eleven strengths do.
        missing: value of a picture that could not be scored, such as one without a face; NaN leaves it out.
    """
    rows = frame[(frame["status"] == "ok") & (zero | (frame["strength"] != 0))]
    values = rows[column] if math.isnan(missing) else rows[column].fillna(missing)
    means: pd.Series[float] = values.groupby(rows["image"], sort=False).mean()
    return means


def summaries(header: EditHeader, frame: pd.DataFrame, scored: Sequence[MetricInfo] = ()) -> list[Summary]:
    """What tables print of edits beside the scores of inversions: a number an image, with what it is.

    Identity to the input over directions and strengths, strength 0 left out and a missing face scoring 0; the same with
    strength 0, as the paper has it; and of their controls; then `effects`. Of calibrated edits, the share that was
    reached: they are compared by `zinv.evaluation.fair`, never over the reached ones alone.

    Args:
        header: of an `edits.csv`.
        frame: its rows.
        scored: metrics of its protocol.
    """
    info, found = header.edits, list[Summary]()
    if info.amount != "step":
        reached = (frame["status"] == "ok").astype(float).groupby(frame["image"], sort=False).mean()
        return [(MetricInfo("edits_reached", "edits reached", True, digits=3), reached)]
    for metric in info.identity:
        name, label = f"edited_{metric.name}", f"{metric.label}, edited"
        if set(info.strengths) != {0.0}:
            found.append((replace(metric, name=name, label=label), per_image(frame, metric.name)))
        if 0.0 in info.strengths and len(info.strengths) > 1:
            whole = per_image(frame, metric.name, zero=True)
            found.append((replace(metric, name=f"{name}_all", label=f"{label}, 0 included"), whole))
        if f"control_{metric.name}" in frame:
            words = f"{metric.label}, control"
            found.append((replace(metric, name=f"{name}_control", label=words), control(frame, metric.name)))
    return [*found, *effects(frame, scored)]


def control(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    """Mean identity after random directions that changed the pictures as much as the edits did, by image.

    Of an edit without a control, nothing counts; strength 0 and missing faces as with edits.
    """
    rows = frame[frame["control_step"].notna()] if "control_step" in frame else frame.iloc[:0]
    return per_image(rows, f"control_{name}")


def effects(frame: pd.DataFrame, scored: Sequence[MetricInfo] = ()) -> list[Summary]:
    """What edits do beside keeping identity, as far as it was measured; strength 0 is left out.

    The change of the direction's own attribute along the strength's sign; the drift of the others, as the mean of their
    absolute changes and of each alone; how much further than the inversion the edit is from its truth, by metric.

    Args:
        frame: rows of an `edits.csv`.
        scored: metrics of its protocol.
    """
    moved = frame[(frame["status"] == "ok") & (frame["strength"] != 0)]
    found = [*_attribute_effects(moved), *_truth_effects(moved, scored)]
    return [(metric, values) for metric, values in found if values.notna().any()]


def is_of_edits(metric: MetricInfo) -> bool:
    """Whether a metric is one of `summaries`."""
    return metric.name.startswith(("edited_", "edits_"))


def is_effect(metric: MetricInfo) -> bool:
    """Whether a metric is one of `effects`."""
    return metric.name.startswith((CHANGE, DRIFT, TRUTH))


def is_single_drift(metric: MetricInfo) -> bool:
    """Whether a metric is the drift of one attribute."""
    return metric.name.startswith(f"{DRIFT}_")


def count_words(header: EditHeader, frame: pd.DataFrame) -> str:
    """How many edited pictures there are, and how many have no result or could not be scored, in words."""
    failed = int((frame["status"] != "ok").sum())
    parts = [f"{failed} not reached"] if failed else []
    done = frame[frame["status"] == "ok"]
    lacking = int(done["control_step"].isna().sum()) if "control_step" in frame else 0
    parts += [f"{lacking} without control"] if lacking else []
    parts += [f"{count} without {name}" for name, count in header.missing.items()]
    truths = [column for column in frame if str(column).startswith("truth_")]
    lacking = int(done[truths].isna().any(axis=1).sum())
    parts += [f"{lacking} without truth"] if lacking else []
    return f"{len(frame):,}" + (f" ({', '.join(parts)})" if parts else "")


def observer(frame: pd.DataFrame) -> str:
    """Whose view of attributes counts: `judge`, which fitted nothing; without one `first`; "" if there is neither."""
    kinds = ("judge", "first")
    return next((kind for kind in kinds if any(frame[name].notna().any() for name in _seen(frame, kind).values())), "")


def _attribute_effects(moved: pd.DataFrame) -> Iterator[Summary]:
    kind = observer(moved)
    seen = _seen(moved, kind) if kind else {}
    if not seen:
        return
    own = _own(moved, kind, seen)
    target = moved["direction"].map(own)
    if own:
        along = moved[_change(kind)] * moved["strength"].map(lambda strength: math.copysign(1, strength))
        yield MetricInfo(CHANGE, "change", True, digits=3), _means(moved, along)
    drift = pd.DataFrame({name: moved[column].abs().where(target != name) for name, column in seen.items()})
    yield MetricInfo(DRIFT, "drift", False, digits=3), _means(moved, drift.mean(axis=1))
    for name in seen:
        yield MetricInfo(f"{DRIFT}_{name}", f"drift of {name}", False, digits=2), _means(moved, drift[name])


def _truth_effects(moved: pd.DataFrame, scored: Sequence[MetricInfo]) -> Iterator[Summary]:
    for metric in scored:
        if (column := f"truth_{metric.name}") in moved:
            info = replace(metric, name=f"{TRUTH}{metric.name}", label=f"{metric.label}, to the truth")
            yield info, _means(moved, moved[column])


def _means(moved: pd.DataFrame, values: pd.Series[float]) -> pd.Series[float]:
    means: pd.Series[float] = values.groupby(moved["image"], sort=False).mean()
    return means


def _change(kind: str) -> str:
    return "judge_change" if kind == "judge" else "attribute_change"


def _seen(frame: pd.DataFrame, kind: str) -> dict[str, str]:
    """Columns of the attributes that a network sees, by their names."""
    columns = [str(column) for column in frame if str(column).startswith(f"{kind}_") and column != "judge_change"]
    return {column.removeprefix(f"{kind}_"): column for column in columns}


def _own(moved: pd.DataFrame, kind: str, seen: Mapping[str, str]) -> dict[str, str]:
    """The attribute of each direction that has one: whose change `edits.csv` repeats as the direction's own."""
    change, found = _change(kind), dict[str, str]()
    for direction, rows in moved.groupby("direction") if change in moved else ():
        if rows[change].notna().all():
            found |= {str(direction): name for name, column in seen.items() if rows[column].equals(rows[change])}
    return found
