"""What a figure is drawn from: rows that may share it, images picked by a rule, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

from torch import Tensor

from zinv.config import build
from zinv.config.experiment import Contrast
from zinv.data.base import DataSource
from zinv.errors import ConfigError, DataError, StoreError, suggest
from zinv.evaluation.declared import declared_before
from zinv.evaluation.figures import target
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.rows import Row, comparable
from zinv.evaluation.store import Run
from zinv.evaluation.table import chosen_metrics, labels
from zinv.figures import picks
from zinv.images import pixels_sha256
from zinv.tables import Found

MOST_PANELS: Final = 4


@dataclass(frozen=True)
class Wishes:
    """What a figure was asked to show; None leaves it to the figure."""

    pick: str | None = None
    contrast: str | None = None
    rows: str | None = None
    metric: str | None = None
    strengths: str | None = None


class Stage:
    """The rows that figures are drawn from, and what was asked for."""

    def __init__(self, found: Found, wishes: Wishes) -> None:
        self.found, self.wishes = found, wishes
        every = dict(zip(labels(found.rows), found.rows, strict=True))
        names = wishes.rows.split(",") if wishes.rows else list(every)
        for name in names:
            if name not in every:
                raise ConfigError(f"--rows {name}: no such row. {suggest(name, every)}")
        whole = max(len(every[name].records) for name in names)
        self.rows = dict(zip(names, comparable([every[name] for name in names], common=True), strict=True))
        self.num_asked = whole

    @cached_property
    def images(self) -> list[str]:
        """Images that every row has a result of."""
        shared = set.intersection(*({*row.done.index} for row in self.rows.values()))
        return [str(name) for name in self.first.records["image"] if name in shared]

    @property
    def first(self) -> Row:
        """The first row."""
        return next(iter(self.rows.values()))

    @property
    def protocol(self) -> str:
        """The line of the protocol that all rows were scored by."""
        return self.first.header.protocol.line

    @cached_property
    def source(self) -> DataSource:
        """Where the targets come from, as the first run had it."""
        return cast(DataSource, build(self.run(self.first).config, "data"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing."""
        lacking = [f"Not done yet: {', '.join(self.found.lacking)}."] if self.found.lacking else []
        fewer = [f"On the {len(self.images)} of {self.num_asked} images that all rows have."]
        return (*lacking, *(fewer if len(self.images) < self.num_asked else []))

    def run(self, row: Row) -> Run:
        """The folder of a row."""
        if row.folder is None:
            raise StoreError(f"{row.label}: its run folder is not known.")
        return Run.open(row.folder)

    def targets(self, names: Sequence[str]) -> list[Tensor | None]:
        """Targets, None where one cannot be read now, compared with those that the rows were made from."""
        found: list[Tensor | None] = []
        for name in names:
            try:
                picture = target(self.source, name)
            except DataError:
                found.append(None)
                continue
            for row in self.rows.values():
                self.run(row).check_target(name, pixels_sha256(picture))
            found.append(picture)
        return found

    def metrics(self, most: int = MOST_PANELS) -> list[MetricInfo]:
        """The metrics that were asked for, or the first few of the experiment's table, or of the protocol."""
        if self.wishes.metric:
            return chosen_metrics(self.first, self.wishes.metric.split(","))[:most]
        known = {metric.name for metric in self.first.metrics}
        columns = self.found.experiment.table.get("columns") if self.found.experiment else None
        shown = [name for name in columns if name in known] if isinstance(columns, list) else []
        return chosen_metrics(self.first, shown or None)[:most]

    def contrast(self) -> tuple[Contrast, str] | None:
        """The contrast that orders images, with a remark if it was not declared before the runs; None without any."""
        declared = self.found.experiment.contrasts if self.found.experiment else ()
        if self.wishes.contrast is None:
            there = [c for c in declared if {c.row, c.against} <= {*self.rows}]
            return (there[0], self._remark(there[0])) if there else None
        parts = self.wishes.contrast.split(":")
        if len(parts) != 3:
            raise ConfigError(f"--contrast {self.wishes.contrast}: write ROW:AGAINST:METRIC, such as F/Z+:F/W+:mse.")
        for name in parts[:2]:
            if name not in self.rows:
                raise ConfigError(f"--contrast {self.wishes.contrast}: no row '{name}'. {suggest(name, self.rows)}")
        chosen_metrics(self.first, parts[2:])
        found = next((c for c in declared if [c.row, c.against, c.metric] == parts), None)
        if found is None:
            return Contrast(parts[0], parts[1], parts[2]), " (a contrast that experiment.yaml does not declare)"
        return found, self._remark(found)

    def _remark(self, contrast: Contrast) -> str:
        runs = {label: row.header.run for label, row in self.rows.items()}
        before = declared_before(self.found.record, runs, contrast)
        return "" if before else " (a contrast that was declared after the run)"

    def picked(self, default: str = picks.DEFAULT) -> tuple[list[str], str]:
        """Images, and the rule in words."""
        chosen = self.contrast()
        asked = self.wishes.pick or (default if chosen else "first:6")
        rules = picks.parse(asked)
        if self.wishes.pick is None and sum(count for _, count in rules) > len(self.images):
            rules = [("first", len(self.images))]
        if not picks.needs_scores(rules):
            return picks.pick(rules, self.images), picks.words(rules, len(self.images))
        if chosen is None:
            raise ConfigError(
                f"--pick {asked}: name the contrast that orders the images, --contrast ROW:AGAINST:METRIC."
            )
        contrast, remark = chosen
        (metric,) = chosen_metrics(self.first, [contrast.metric])
        a, b = (self.rows[label].done[metric.name] for label in (contrast.row, contrast.against))
        sign = 1 if metric.higher_is_better else -1
        scores = {name: sign * float(a[name] - b[name]) for name in self.images}
        known = {name: score for name, score in scores.items() if not math.isnan(score)}
        told = f"{contrast.row} minus {contrast.against} in {metric.label}{remark}"
        return picks.pick(rules, self.images, known), picks.words(rules, len(self.images), told)
