"""One run as a row of tables, and the checks that rows may share one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from zinv.errors import ProtocolError
from zinv.evaluation.edit_means import count_words, summaries
from zinv.evaluation.edits import FILE, EditInfo, read_edits
from zinv.evaluation.files import Json
from zinv.evaluation.records import Header, MetricInfo, read_records
from zinv.statistics import Interval, Values, bootstrap_interval, mean_interval, paired, paired_p


@dataclass(frozen=True)
class Row:
    """A run's records.

    Attributes:
        header: what the records file says of itself.
        records: its rows, an image each.
        seconds: mean time of an image, if it was taken.
        memory: most bytes that one of its processes had, if that was taken.
        folder: of the run, if it was read from one.
        rerun: the same cell run again with another seed, on some of the images.
        num_rerun: how many images were to be run again; with 0 there is no floor.
        edits: how its edits were made, if there are any; their means stand beside the protocol's metrics.
        num_edits: how many there are, in words.
        quality: kernel distances of edited pictures to the inputs, in words.
    """

    header: Header
    records: pd.DataFrame
    seconds: float | None = None
    memory: int | None = None
    folder: Path | None = None
    rerun: Row | None = None
    num_rerun: int = 0
    edits: EditInfo | None = None
    num_edits: str = ""
    quality: str = ""

    @classmethod
    def read(cls, path: Path | str) -> Row:
        """The row of a records file, or of the `records.csv` in a run folder.

        Raises:
            StoreError: it is missing or damaged.
        """
        file = Path(path) / "records.csv" if Path(path).is_dir() else Path(path)
        header, records = read_records(file)
        folder = file.parent
        seconds = _seconds(folder / "times.csv", set(records["image"]))
        return _with_edits(cls(header, records, seconds, _memory(folder / "run.json"), folder), folder / FILE)

    @property
    def label(self) -> str:
        """What tables call it: the run's own name, or method's and space's label such as `F/Z+`."""
        return str(self.setting("name") or self.setting("label") or self.header.run)

    def setting(self, key: str) -> Json:
        """What the run says of itself, or None."""
        return self.header.settings.get(key)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The protocol's metrics."""
        return self.header.protocol.metrics

    @cached_property
    def done(self) -> pd.DataFrame:
        """Rows of images that have a result, by image."""
        return self.records[self.records["status"] == "ok"].set_index("image")

    def values(self, column: str) -> list[float]:
        """One number an image that has a result."""
        return [float(value) for value in self.done[column]]

    def mean(self, column: str) -> Interval:
        """Mean over images with its 95 % t-interval."""
        return mean_interval(self.values(column))

    def median(self, column: str) -> Interval:
        """Median over images with its 95 % bootstrap interval."""
        return bootstrap_interval(self.values(column), np.median)

    def missing(self, column: str) -> int:
        """Images that failed or that the metric could not score."""
        return len(self.records) - self.mean(column).n

    def floor(self, column: str) -> float:
        """How far apart the means of two runs of this cell may lie, as far as the images that were run again tell.

        The end further from 0 of the 95 % t-interval of rerun minus run; infinite if too few were run again.
        """
        if not self.num_rerun:
            return 0.0
        found = mean_interval(paired(*pairs(self.rerun, self, column))) if self.rerun else mean_interval([])
        return max(abs(found.low), abs(found.high)) if found.n >= min(self.num_rerun, len(self.done)) > 1 else math.inf

    def in_loss(self, metric: MetricInfo) -> bool:
        """Whether the metric's network is also descended on."""
        networks = self.setting("loss_networks")
        return metric.network is not None and isinstance(networks, Sequence) and metric.network in networks

    def only(self, images: Sequence[str]) -> Row:
        """The row with these images alone, in this order."""
        chosen = self.records.set_index("image").loc[list(images)].reset_index()
        return replace(self, records=chosen)


def _with_edits(row: Row, path: Path) -> Row:
    """The row with the means of its edits as further metrics, if they were measured under its protocol."""
    if not path.is_file():
        return row
    header, frame = read_edits(path)
    protocol = row.header.protocol
    if header.edits.protocol != protocol.digest:
        return row
    found = summaries(header, frame, protocol.metrics)
    columns = {metric.name: row.records["image"].map(values) for metric, values in found}
    more = replace(protocol, metrics=(*protocol.metrics, *(metric for metric, _ in found)))
    return replace(
        row,
        header=replace(row.header, protocol=more),
        records=row.records.assign(**columns),
        edits=header.edits,
        num_edits=count_words(header, frame),
        quality=header.quality,
    )


def _aligned(rows: Sequence[Row]) -> list[Row]:
    """The rows with the metrics of all: those without edits have no number there."""
    metrics = tuple({metric.name: metric for row in rows for metric in row.metrics}.values())
    aligned = []
    for row in rows:
        lacking = {metric.name: math.nan for metric in metrics if metric.name not in row.records}
        header = replace(row.header, protocol=replace(row.header.protocol, metrics=metrics))
        aligned.append(replace(row, header=header, records=row.records.assign(**lacking)) if lacking else row)
    return aligned


def pairs(a: Row, b: Row, column: str) -> tuple[Values, Values]:
    """Values of the images that both rows have, pair by pair."""
    both = a.done.index.intersection(b.done.index)
    return a.done.loc[both, column].to_numpy(float), b.done.loc[both, column].to_numpy(float)


def difference_p(a: Row, b: Row, column: str) -> float:
    """Two-sided p-value of the paired t-test on the images that both have."""
    return paired_p(*pairs(a, b, column))


def comparable(rows: Sequence[Row], common: bool = False) -> list[Row]:
    """The rows, if one table may hold them.

    Args:
        rows: runs.
        common: restrict rows of different images to those that all have, instead of refusing them.

    Raises:
        ProtocolError: there is none, or protocols, precisions, images or pictures differ; names the rows.
    """
    if not rows:
        raise ProtocolError("there is no run to make a table of.")
    for row in rows[1:]:
        _check_alike(rows[0], row)
    with_edits = [(row, row.edits) for row in rows if row.edits]
    for row, edits in with_edits[1:]:
        _check_edits(*with_edits[0], row, edits)
    everywhere = set.intersection(*(set(row.records["image"]) for row in rows))
    shared = [name for name in rows[0].records["image"] if name in everywhere]
    if not common:
        _check_images(rows, shared)
    if not shared:
        raise ProtocolError("the runs have no image in common.")
    _check_targets(rows)
    return [row.only(shared) for row in _aligned(rows)]


def _check_alike(a: Row, b: Row) -> None:
    one, other = a.header.protocol, b.header.protocol
    if one.digest != other.digest:
        names = f"'{a.label}' by {one.name} {one.digest[:8]}, '{b.label}' by {other.name} {other.digest[:8]}"
        raise ProtocolError(f"two protocols cannot share a table or figure: {names}. Score them alike with zinv score.")
    if a.setting("precision") != b.setting("precision"):
        both = f"'{a.label}' {a.setting('precision')}, '{b.label}' {b.setting('precision')}"
        raise ProtocolError(f"two precisions cannot share a table: {both}.")


def _check_edits(a: Row, one: EditInfo, b: Row, other: EditInfo) -> None:
    if one.asks != other.asks:
        names = f"'{a.label}' has {one.line} '{b.label}' has {other.line}"
        raise ProtocolError(f"two kinds of edits cannot share a table or figure: {names}")


def _check_images(rows: Sequence[Row], shared: Sequence[str]) -> None:
    for row in rows:
        extra = sorted(set(row.records["image"]) - set(shared))
        if extra:
            without = next(other.label for other in rows if extra[0] not in set(other.records["image"]))
            raise ProtocolError(
                f"two image sets cannot share a table: '{row.label}' has '{extra[0]}', '{without}' has not "
                f"({len(shared)} in common). Finish the runs, or ask for common images."
            )


def _check_targets(rows: Sequence[Row]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for row in rows:
        for name, target in row.done["target"].items():
            before, label = seen.setdefault(str(name), (str(target), row.label))
            if before and target and before != target:
                raise ProtocolError(
                    f"'{label}' and '{row.label}' were made from different pictures under the name '{name}'."
                )


def _seconds(path: Path, images: set[str]) -> float | None:
    if not path.is_file():
        return None
    times = pd.read_csv(path, dtype={"image": str})
    known = times[times["image"].isin(images)].get("seconds", pd.Series(dtype=float)).dropna()
    return float(known.mean()) if len(known) else None


def _memory(path: Path) -> int | None:
    """Over all starts of a run and their processes."""
    starts = json.loads(path.read_text(encoding="utf-8")).get("starts", ()) if path.is_file() else ()
    return max((size for start in starts for size in start.get("peak_memory_bytes", ())), default=None)
