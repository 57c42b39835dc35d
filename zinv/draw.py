"""`zinv figure`: figures of runs that are done, with captions that say how images were picked and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from torch import Tensor

from zinv.config import build, experiment_names
from zinv.editing.edits import UNITS
from zinv.errors import ConfigError, DataError, ProtocolError, StoreError, suggest
from zinv.evaluation.edit_means import per_image
from zinv.evaluation.edits import EditInfo, picture_path, read_edits
from zinv.evaluation.fair import reached_by_all
from zinv.evaluation.figures import target
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.report import report_figure
from zinv.evaluation.rows import Row, pairs
from zinv.evaluation.store import Run
from zinv.figures import edits
from zinv.figures.curves import Point, edit_curves, frontier
from zinv.figures.forest import Pair, forest
from zinv.figures.grids import Line, pages, picture_grid
from zinv.figures.masks import planes
from zinv.figures.settings import curves_of, numbers_of
from zinv.figures.style import Drawing
from zinv.images import pixels_sha256
from zinv.stage import Stage, Wishes
from zinv.statistics import mean_interval, paired
from zinv.tables import find_rows

NUM_STRENGTHS: Final = 5
BAND: Final = "Light lines: images; deep lines: means, with 95 % bootstrap intervals over images."
SPACES: Final = ("Z+", "W+")
STEP: Final = ("step", "step", "the step of the edit")
ASKED: Final = ("asked", "change asked for", "the change asked for ({})")
"""Of a curve: its file's name, its axis, what the caption calls that."""


def figure(words: Sequence[str], wishes: Wishes, output: str | None = None) -> int:
    """Draw figures of an experiment or of run folders.

    Args:
        words: kinds of figures, and an experiment with its overrides, or run folders.
        wishes: what they show.
        output: folder for the files; `figures/NAME` by default.
    """
    kinds = [word for word in words if word in KINDS]
    rest = [word for word in words if word not in KINDS]
    for word in rest:
        if "=" not in word and not Path(word).is_dir() and word not in experiment_names():
            known = (*KINDS, *experiment_names())
            raise ConfigError(f"figure {word}: neither a figure, an experiment nor a folder. {suggest(word, known)}")
    found = find_rows(rest)
    if not found.rows:
        raise StoreError(f"{', '.join(rest) or 'runs'}: no run is scored yet.")
    stage = Stage(found, wishes)
    name = found.experiment.name if found.experiment else "runs"
    for drawing in drawings(stage, kinds):
        paths = drawing.write(Path(output) if output else Path("figures") / name)
        report_figure(_loggers(stage), drawing.name, paths[1])
        print("\n".join(map(str, paths)))
        print(" ".join([drawing.caption, *drawing.notes]))
    return 0


def drawings(stage: Stage, kinds: Sequence[str] = ()) -> Iterator[Drawing]:
    """Figures of these kinds; without any, of those that the rows have something for."""
    for kind in kinds or _fitting(stage):
        yield from KINDS[kind](stage)


def reconstructions(stage: Stage) -> list[Drawing]:
    """Targets above the reconstructions of each row, one metric's value under each."""
    names, rule = stage.picked()
    metric = stage.metrics()[0]

    def lines(chosen: Sequence[str]) -> list[Line]:
        return [Line("target", _targets(stage, chosen)), *(_line(stage, label, chosen, metric) for label in stage.rows)]

    drawn = picture_grid(lines(names), notes=stage.notes)
    caption = f"Targets and reconstructions, {metric.label} under each. {rule} {stage.protocol}"
    return [Drawing("reconstructions", drawn, caption, stage.notes, pages(lines(stage.images)))]


def edit_grids(stage: Stage) -> list[Drawing]:
    """For each direction: target, inversion and edits at chosen strengths, a line for each image and row."""
    infos, metric, frames = _edits(stage)
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
    infos, metric, every = _edits(stage)
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


def forest_plot(stage: Stage) -> list[Drawing]:
    """Z+ minus W+ in each method that has both, with 95 % intervals, a panel a metric."""
    found = z_against_w(stage.rows)
    if not found:
        raise ProtocolError("a forest plot is of methods with runs in both Z+ and W+; there is none.")
    metrics = stage.metrics()
    lines = [
        Pair(label, {m.label: mean_interval(paired(*pairs(a, b, m.name))) for m in metrics})
        for label, (a, b) in found.items()
    ]
    drawn = forest(lines, {m.label: m.higher_is_better for m in metrics}, *SPACES, stage.notes)
    caption = (
        f"Paired mean differences over {len(stage.images)} images, {SPACES[0]} minus {SPACES[1]}, with 95 % "
        f"t-intervals, uncorrected; filled where the interval leaves 0 out: blue better, orange worse. {stage.protocol}"
    )
    return [Drawing("forest", drawn, caption, stage.notes)]


def trade_off(stage: Stage) -> list[Drawing]:
    """Reconstruction against identity after edits; runs of one label that differ in steps or a weight are a curve."""
    (_, identity, every), metric = _edits(stage), stage.metrics()[0]
    frames, told = reached_by_all(every)
    points, notes = [], (*stage.notes, *told)
    for own in _of_one_label(stage).values():
        for name, curve, order in curves_of(own):
            row, after = stage.rows[name], mean_interval(per_image(frames[name], identity.name))
            points.append(Point(str(row.setting("label")), curve, order, row.mean(metric.name), after))
    better = "higher" if metric.higher_is_better else "lower"
    axes = f"{metric.label} ({better} is better)", f"{identity.label} after edits"
    caption = (
        f"{metric.label} of the reconstruction against {identity.label} after edits, means over {len(stage.images)} "
        f"images with 95 % t-intervals; each image's edits are averaged first, a missing face as 0. Along a line one "
        f"setting differs, the others being those of most runs. {stage.protocol}"
    )
    return [Drawing("frontier", frontier(points, axes, notes), caption, notes)]


def mask_grids(stage: Stage) -> list[Drawing]:
    """SAM's predicted maps and the pixels that each layer has, over the reconstruction."""
    images, rule = stage.picked("first:6")
    lines = [line for label, row in stage.rows.items() for line in _mask_lines(stage, label, row, images)]
    if not lines:
        raise StoreError("no run has masks stored; they are of methods that choose a layer for each part of a picture.")
    targets = Line("target", _targets(stage, images))
    caption = (
        "Over the reconstructions, for the code and each feature layer: its predicted map, bright where most would be "
        f"lost (each run by its largest value), and, bright, the pixels that it has. {rule} {stage.protocol}"
    )
    return [Drawing("masks", picture_grid([targets, *lines], notes=stage.notes), caption, stage.notes)]


def z_against_w(rows: Mapping[str, Row]) -> dict[str, tuple[Row, Row]]:
    """By method as a figure calls it: its row in Z+ and its row in W+."""
    found: dict[str, dict[str, Row]] = {}
    for label, row in rows.items():
        space = str(row.setting("space"))
        if space in SPACES:
            found.setdefault(label.replace(space, "·"), {})[space] = row
    both = {label: own for label, own in found.items() if {*own} == {*SPACES}}
    return {_method(label): (own["Z+"], own["W+"]) for label, own in both.items()}


def _method(label: str) -> str:
    """A label whose space is a dot, as a method.

    >>> [_method(label) for label in ("·", "F/·", "PTI ·", "F/· .7")]
    ['plain', 'F', 'PTI', 'F .7']
    """
    return "plain" if label == "·" else " ".join(label.replace("/·", "").replace("·", "").split())


def _loggers(stage: Stage) -> list[tuple[Run, object]]:
    runs = [stage.run(row) for row in stage.rows.values()]
    return [(run, build(run.config, "logger")) for run in runs]


def _fitting(stage: Stage) -> list[str]:
    """The figures that these rows have something for."""
    folders = [row.folder for row in stage.rows.values() if row.folder]
    edited = any((folder / "edits.csv").is_file() for folder in folders)
    kept = any(any(folder.glob(f"images/{name}/edits/*/*/*.png")) for folder in folders for name in stage.images[:1])
    masked = any(_mask_lines(stage, label, row, stage.images[:1]) for label, row in stage.rows.items())
    needed = {"forest": bool(z_against_w(stage.rows)), "masks": masked, "reconstructions": True, "edits": kept}
    return [kind for kind in KINDS if needed.get(kind, edited)]


def _targets(stage: Stage, names: Sequence[str]) -> list[Tensor | None]:
    """Targets, None where one cannot be read now, compared with those that the rows were made from."""
    found: list[Tensor | None] = []
    for name in names:
        try:
            picture = target(stage.source, name)
        except DataError:
            found.append(None)
            continue
        for row in stage.rows.values():
            stage.run(row).check_target(name, pixels_sha256(picture))
        found.append(picture)
    return found


def _line(stage: Stage, label: str, names: Sequence[str], metric: MetricInfo) -> Line:
    run, done = stage.run(stage.rows[label]), stage.rows[label].done
    values = [f"{value:.{metric.digits}f}" for value in done.loc[list(names), metric.name]]
    return Line(label, [run.read(name).reconstruction for name in names], values)


def _edits(stage: Stage) -> tuple[dict[str, EditInfo], MetricInfo, dict[str, pd.DataFrame]]:
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
        (shown,) = _targets(stage, [name])
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


def _of_one_label(stage: Stage) -> dict[str, dict[str, dict[str, float]]]:
    """By what its method and space are called, the rows and the numbers that they were run with."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, row in stage.rows.items():
        numbers = numbers_of({group: stage.run(row).config[group] for group in ("method", "space", "loss")})
        found.setdefault(str(row.setting("label")), {})[name] = numbers
    return found


def _mask_lines(stage: Stage, label: str, row: Row, images: Sequence[str]) -> list[Line]:
    """Two lines for each of a run's layers: what it is predicted to lose, and which pixels it has."""
    stored = [stage.run(row).read(name) for name in images]
    pictures = [one.reconstruction for one in stored]
    found = planes([one.tensors for one in stored], str(row.setting("space")))
    return [Line(f"{label} {name}", pictures, maps=maps) for name, maps in found.items()]


KINDS: Final[dict[str, Callable[[Stage], list[Drawing]]]] = {
    "reconstructions": reconstructions,
    "edits": edit_grids,
    "identity": identity_curves,
    "forest": forest_plot,
    "frontier": trade_off,
    "masks": mask_grids,
}
