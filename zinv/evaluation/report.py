"""What a run tells Weights & Biases, if asked. Files stay the truth: no report can fail a run."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import pandas as pd
from PIL import Image
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError
from zinv.evaluation.edits import read_edits
from zinv.evaluation.figures import draw_grid, target
from zinv.evaluation.records import ProtocolInfo
from zinv.evaluation.rows import Row
from zinv.evaluation.store import Run

if TYPE_CHECKING:
    import wandb

NUM_PICTURES = 8


@runtime_checkable
class Project(Protocol):
    """Settings of a logger that sends reports to Weights & Biases."""

    @property
    def project(self) -> str: ...  # noqa: D102
    @property
    def entity(self) -> str | None: ...  # noqa: D102
    @property
    def group(self) -> str | None: ...  # noqa: D102
    @property
    def mode(self) -> Literal["online", "offline", "disabled"]: ...  # noqa: D102


def report(
    run: Run, logger: object, protocol: ProtocolInfo, group: str | None = None, source: DataSource | None = None
) -> None:
    """Report a run whose records are written.

    Args:
        run: the run.
        logger: a `Project`, or anything else for the files of the run folder alone.
        protocol: of the records to report.
        group: name of the experiment, where the logger has no group.
        source: where targets come from; without it there are no pictures.
    """
    if not isinstance(logger, Project):
        return
    try:
        send(run, logger, protocol, group, source)
    except Exception as error:  # whatever happens there, the run is done
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"warning: nothing was reported to Weights & Biases ({reason}).", file=sys.stderr)


def send(run: Run, logger: Project, protocol: ProtocolInfo, group: str | None, source: DataSource | None) -> None:
    """One W&B run, whose id is the run's: configuration, means, a row an image, and pictures."""
    import wandb

    records = run.records_path(protocol.name)
    row = Row.read(records)
    sent = _begin(run, logger, group, row)
    try:
        sent.log({"records": wandb.Table(columns=[*row.records.columns], data=[*cells(row)])})
        if row.edits:
            _, edits = read_edits(run.path)
            sent.log({"edits": wandb.Table(columns=[*edits.columns], data=[*plain(edits)])})
        if sheet := contact_sheet(run, row, source):
            sent.log({"reconstructions": wandb.Image(sheet)})
        sent.summary.update(summary(row))
    finally:
        sent.finish()


def report_figure(runs: Iterable[tuple[Run, object]], name: str, picture: Path) -> None:
    """Add a figure to the W&B runs of its runs, given with their loggers; whatever happens there, it is drawn."""
    for run, logger in runs:
        if not isinstance(logger, Project):
            continue
        try:
            import wandb

            sent = _begin(run, logger, None, Row.read(run.path))
            sent.log({f"figures/{name}": wandb.Image(str(picture))})
            sent.finish()
        except Exception as error:  # as above
            print(f"warning: {name} was not reported to Weights & Biases ({error}).", file=sys.stderr)


def _begin(run: Run, logger: Project, group: str | None, row: Row) -> wandb.Run:
    """The W&B run of a run, begun or continued."""
    config = {**run.config, "settings": dict(row.header.settings), "commit": row.header.commit}
    return begin(logger, run.path, run.path.name, f"{row.label} {run.path.name}", group, config)


def begin(
    logger: Project, folder: Path, key: str, name: str, group: str | None, config: Mapping[str, object]
) -> wandb.Run:
    """A W&B run, begun or continued: `key` is its id, but where an agent of a sweep gives it one.

    `WANDB_MODE` goes before the logger's mode.
    """
    import wandb

    in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))
    return wandb.init(
        id=None if in_sweep else key,
        name=name,
        project=logger.project,
        entity=logger.entity,
        group=logger.group or group,
        mode=None if os.environ.get("WANDB_MODE") else logger.mode,
        config=dict(config),
        dir=str(folder),
        resume=None if in_sweep else "allow",
        settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True, save_code=False),
    )


def summary(row: Row) -> dict[str, float | int | str]:
    """Means over images by metric, and how many images they rest on."""
    means: dict[str, float | int | str] = {metric.name: row.mean(metric.name).value for metric in row.metrics}
    counts = {"n": len(row.done), "failed": row.header.failed, "left": row.header.left}
    missing = {f"{metric.name}_missing": row.missing(metric.name) for metric in row.metrics}
    return means | counts | missing | {"protocol": row.header.protocol.line}


def cells(row: Row) -> Iterator[Iterable[str | float | None]]:
    """The records as W&B takes them: None where there is no number."""
    return plain(row.records)


def plain(frame: pd.DataFrame) -> Iterator[Iterable[str | float | None]]:
    """Rows of a table as W&B takes them."""
    for line in frame.astype(object).to_numpy().tolist():
        yield [None if isinstance(value, float) and math.isnan(value) else value for value in line]


def contact_sheet(run: Run, row: Row, source: DataSource | None) -> Image.Image | None:
    """The first targets above their reconstructions; None without targets, or without pictures."""
    if source is None:
        return None
    names = (name for name in row.done.index if run.read(name).has_picture)
    targets = dict(islice(readable_targets(names, source), NUM_PICTURES))
    reconstructions = [run.read(name).reconstruction for name in targets]
    return draw_grid([("target", [*targets.values()]), (row.label, reconstructions)]) if targets else None


def readable_targets(names: Iterable[str], source: DataSource) -> Iterator[tuple[str, Tensor]]:
    """Those of the named targets that can be read."""
    for name in names:
        try:
            yield name, target(source, name)
        except DataError:
            continue
