"""Commands that invert images, and show what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from zinv.commands.base import DRY, FRESH, KEEP, OVERRIDES, RUN, Arguments, Command, Flag, count
from zinv.commands.rows import SELECTED, selection_of

JOBS: Final = Flag(("--jobs",), "rows at a time; by default one a core on a CPU, else one a GPU", "N")
CONFIG: Final = Flag(("--config",), "a run's config.yaml to start from, instead of presets", "FILE")
UPDATE: Final = Flag(("--update",), "replace the experiment's results.csv")


def _evaluate(arguments: Arguments) -> int:
    from zinv.config import stored

    base = stored(Path(arguments.config)) if arguments.config else None
    if arguments.dry_run:
        from zinv.listing import show

        return show(arguments.overrides, base)
    from zinv.early import check_devices

    check_devices(arguments.overrides, base)
    from zinv.run import evaluate

    return evaluate(arguments.overrides, arguments.keep, arguments.fresh, base)


def _run(arguments: Arguments) -> int:
    name, overrides, selection = selection_of(arguments)
    if arguments.dry_run:
        from zinv.listing import show_plan

        return show_plan(name, overrides, selection)
    from zinv.early import check_devices_of_experiment

    check_devices_of_experiment(name, overrides, selection)
    from zinv.sweep import run_experiment

    flags = (arguments.keep, arguments.fresh, arguments.update, count("--jobs", arguments.jobs))
    return run_experiment(name, overrides, *flags, selection)


def _score(arguments: Arguments) -> int:
    from zinv.rescoring import score

    return score(arguments.path, arguments.overrides, arguments.pictures)


def _table(arguments: Arguments) -> int:
    from zinv.tables import table

    flags = (arguments.against, arguments.format or "terminal", arguments.output, arguments.update, arguments.pivot)
    return table(arguments.paths, *flags, arguments.contrasts, arguments.edits)


def _figure(arguments: Arguments) -> int:
    from zinv.draw import figure
    from zinv.stage import Wishes

    wishes = (arguments.pick, arguments.contrast, arguments.rows, arguments.metric, arguments.strengths)
    return figure(arguments.words, Wishes(*wishes), arguments.output)


def _interpolate(arguments: Arguments) -> int:
    steps = count("--steps", arguments.steps)
    from zinv.interpolate import interpolate

    more = {} if steps is None else {"steps": steps}
    return interpolate(arguments.path, arguments.first, arguments.last, to=arguments.to, **more)


def _diff(arguments: Arguments) -> int:
    from zinv.compare import diff

    return diff(arguments.first, arguments.second)


COMMANDS: Final[dict[str, Command]] = {
    "evaluate": Command(
        "invert images with one method in one space, score them, print the table",
        _evaluate,
        (OVERRIDES, CONFIG, KEEP, FRESH, DRY),
        "zinv evaluate method=bdinvert space=zplus",
    ),
    "run": Command(
        "do every unfinished run of an experiment, then its table",
        _run,
        (*SELECTED, JOBS, KEEP, FRESH, UPDATE, DRY),
        "zinv run demo",
    ),
    "score": Command(
        "score stored inversions again, under another protocol",
        _score,
        (RUN, OVERRIDES, Flag(("--pictures",), "make the reconstructions that store.keep=codes left out")),
        "zinv score runs/bdinvert-zplus-portraits/1a2b3c4d protocol=pixel",
    ),
    "table": Command(
        "make one table of runs that are done",
        _table,
        (
            Flag(("paths",), "run folders, folders of them, or an experiment and its overrides", "RUN", many=True),
            Flag(("--against",), "published numbers to put beside: paper, or a YAML file of them", "NAME"),
            Flag(("--format",), "terminal (default), md, latex or csv", choices=("terminal", "md", "latex", "csv")),
            Flag(("--output",), "file to write; prints otherwise", "FILE"),
            Flag(("--pivot",), "one metric, such as mse, with methods down and spaces across", "METRIC"),
            Flag(("--contrasts",), "an experiment's declared contrasts alone"),
            Flag(("--edits",), "calibrated edits (direction.amount=…) at equal change"),
            UPDATE,
        ),
        "zinv table runs --pivot mse --format latex",
    ),
    "figure": Command(
        "draw figures of runs that are done, as PDF and PNG",
        _figure,
        (
            Flag(
                ("words",),
                "reconstructions, edits, identity, forest, frontier, masks (those that fit, by default); "
                "an experiment and its overrides, or run folders",
                "NAME",
                many=True,
            ),
            Flag(("--pick",), "images by rule: worst:2,median:2,best:2, first:6 or seed7:6", "RULE"),
            Flag(("--contrast",), "what orders them, if not the first declared: F/Z+:F/W+:mse", "ROW:AGAINST:METRIC"),
            Flag(("--rows",), "labels of rows to draw: W+,Z+,F/Z+", "ROWS"),
            Flag(("--metric",), "metrics to draw: mse,ssim", "METRICS"),
            Flag(("--strengths",), "strengths of edits to draw: --strengths=-2,0,2", "NUMBERS"),
            Flag(("--output",), "folder to write to, instead of figures/NAME", "FOLDER"),
        ),
        "zinv figure forest demo",
    ),
    "interpolate": Command(
        "write a strip of pictures from one inversion to another",
        _interpolate,
        (
            Flag(("path",), "the run folder that A is in", "RUN"),
            Flag(("first",), "an image's id", "A"),
            Flag(("last",), "another's", "B"),
            Flag(("--steps",), "pictures, both ends included; 7 by default", "N"),
            Flag(("--to",), "the run folder that B is in, if it is another one", "RUN"),
        ),
        "zinv interpolate runs/bdinvert-zplus-portraits/1a2b3c4d held_out-00000 held_out-00001 --steps 7",
    ),
    "diff": Command(
        "what two runs differ in: settings, code, weights, and their numbers image by image",
        _diff,
        (Flag(("first",), "a run folder", "RUN"), Flag(("second",), "another", "RUN")),
        "zinv diff runs/pti-z-toy/1a2b3c4d runs/pti-w-toy/5e6f7a8b",
    ),
}
