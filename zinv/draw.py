"""`zinv figure`: figures of runs that are done, with captions that say how images were picked and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from zinv.config import build, experiment_names
from zinv.draw_edits import edit_grids, edits_of, identity_curves
from zinv.errors import ConfigError, ProtocolError, StoreError, suggest
from zinv.evaluation.edit_means import per_image
from zinv.evaluation.fair import reached_by_all
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.report import report_figure
from zinv.evaluation.rows import Row, pairs
from zinv.evaluation.store import Run
from zinv.figures.curves import Point, frontier
from zinv.figures.forest import Pair, forest
from zinv.figures.grids import Line, pages, picture_grid
from zinv.figures.masks import planes
from zinv.figures.settings import curves_of, numbers_of
from zinv.figures.style import Drawing
from zinv.stage import Stage, Wishes
from zinv.statistics import mean_interval, paired
from zinv.tables import find_rows

SPACES: Final = ("Z+", "W+")


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
        return [Line("target", stage.targets(chosen)), *(_line(stage, label, chosen, metric) for label in stage.rows)]

    drawn = picture_grid(lines(names), notes=stage.notes)
    caption = f"Targets and reconstructions, {metric.label} under each. {rule} {stage.protocol}"
    return [Drawing("reconstructions", drawn, caption, stage.notes, pages(lines(stage.images)))]


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
    (_, identity, every), metric = edits_of(stage), stage.metrics()[0]
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
    targets = Line("target", stage.targets(images))
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


def _line(stage: Stage, label: str, names: Sequence[str], metric: MetricInfo) -> Line:
    run, done = stage.run(stage.rows[label]), stage.rows[label].done
    values = [f"{value:.{metric.digits}f}" for value in done.loc[list(names), metric.name]]
    return Line(label, [run.read(name).reconstruction for name in names], values)


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
