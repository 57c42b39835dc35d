"""The W&B run of an experiment as a whole: its table, its declared contrasts and its figures."""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from zinv.config import build
from zinv.draw import drawings
from zinv.errors import ZinvError
from zinv.evaluation.files import replace_text
from zinv.evaluation.formats import format_table
from zinv.evaluation.report import Project, begin
from zinv.plans.plan import FOLDER, Plan, current
from zinv.stage import Stage, Wishes
from zinv.tables import Found, found_tables, of_plan

MARK = "summarised"


def summarise(runs: Path) -> None:
    """Tell W&B of each experiment whose runs it was told of, once for each state of their records."""
    for path in sorted((runs / FOLDER).glob("*/experiment.json")):
        try:
            _summarise(current(path.parent))
        except Exception as error:  # the runs' own reports are uploaded all the same
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"warning: {path.parent.name} as a whole was not reported ({reason}).", file=sys.stderr)


def _summarise(plan: Plan) -> None:
    rows = [job for job in plan.jobs if not job.training]
    logger = build(rows[0].config, "logger") if rows else None
    if not isinstance(logger, Project) or logger.mode == "disabled" or not (found := of_plan(plan)).rows:
        return
    state, mark = _state(found), plan.experiment / MARK
    if mark.is_file() and mark.read_text(encoding="utf-8") == state:
        return
    send(plan, found, logger)
    replace_text(mark, state)


def send(plan: Plan, found: Found, logger: Project) -> None:
    """One W&B run, whose id is the experiment's: the same one again when more is done."""
    import wandb

    name = plan.experiment.name
    key = f"summary-{hashlib.sha256(str(plan.facts['from'] + name).encode()).hexdigest()[:8]}"
    facts = {"plan": plan.folder.name, "code": plan.facts["code"], "lacking": list(found.lacking)}
    sent = begin(logger, plan.experiment, key, f"{name} (table and figures)", name, facts)
    try:
        for title, table in found_tables(found).items():
            lines = [line for line in format_table(table, "csv").splitlines() if not line.startswith("# ")]
            heads, *cells = csv.reader(lines)
            sent.log({title: wandb.Table(columns=[*heads], data=[*cells])})
            sent.summary.update({f"{title} notes": "\n".join(table.notes)})
        for picture in draw(found, plan.experiment / "figures"):
            sent.log({f"figures/{picture.stem}": wandb.Image(str(picture))})
    finally:
        sent.finish()
    print(f"{name}: table and figures are the W&B run {key}")


def draw(found: Found, folder: Path) -> Iterator[Path]:
    """The figures that the rows have something for, as PNG; what cannot be drawn here is told and left out."""
    try:
        for drawing in drawings(Stage(found, Wishes())):
            yield drawing.write(folder)[1]
    except ZinvError as error:
        print(f"warning: not all figures were drawn ({error})", file=sys.stderr)


def _state(found: Found) -> str:
    """Digest of the records."""
    files = [row.folder / "records.csv" for row in found.rows if row.folder]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
