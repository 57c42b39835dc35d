"""One run as a row of tables, and the checks that rows may share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from zinv.errors import ProtocolError
from zinv.evaluation.files import Json
from zinv.evaluation.records import Header, MetricInfo, read_records
from zinv.evaluation.statistics import Interval, Values, bootstrap_interval, mean_interval, paired_p


@dataclass(frozen=True)
class Row:
    """A run's records.

    Attributes:
        header: what the records file says of itself.
        records: its rows, an image each.
        seconds: mean time of an image, if it was taken.
    """

    header: Header
    records: pd.DataFrame
    seconds: float | None = None

    @classmethod
    def read(cls, path: Path | str) -> Row:
        """The row of a records file, or of the `records.csv` in a run folder.

        Raises:
            StoreError: it is missing or damaged.
        """
        file = Path(path) / "records.csv" if Path(path).is_dir() else Path(path)
        header, records = read_records(file)
        return cls(header, records, _seconds(file.parent / "times.csv", set(records["image"])))

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

    def in_loss(self, metric: MetricInfo) -> bool:
        """Whether the metric's network is also descended on."""
        networks = self.setting("loss_networks")
        return metric.network is not None and isinstance(networks, Sequence) and metric.network in networks

    def only(self, images: Sequence[str]) -> Row:
        """The row with these images alone, in this order."""
        chosen = self.records.set_index("image").loc[list(images)].reset_index()
        return replace(self, records=chosen)


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
    everywhere = set.intersection(*(set(row.records["image"]) for row in rows))
    shared = [name for name in rows[0].records["image"] if name in everywhere]
    if not common:
        _check_images(rows, shared)
    if not shared:
        raise ProtocolError("the runs have no image in common.")
    _check_targets(rows)
    return [row.only(shared) for row in rows]


def _check_alike(a: Row, b: Row) -> None:
    one, other = a.header.protocol, b.header.protocol
    if one.digest != other.digest:
        names = f"'{a.label}' by {one.name} {one.digest[:8]}, '{b.label}' by {other.name} {other.digest[:8]}"
        raise ProtocolError(f"two protocols cannot share a table: {names}. Score them alike with zinv score.")
    if a.setting("precision") != b.setting("precision"):
        both = f"'{a.label}' {a.setting('precision')}, '{b.label}' {b.setting('precision')}"
        raise ProtocolError(f"two precisions cannot share a table: {both}.")


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
