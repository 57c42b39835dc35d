"""Commands on the jobs of an experiment: on a cluster, and afterwards."""

from __future__ import annotations

from typing import Final

from zinv.commands.base import DRY, EXPERIMENT, FRESH, KEEP, OVERRIDES, Arguments, Command, Flag, count
from zinv.commands.rows import SELECTED, selection_of

FOLDER: Final = Flag(("folder",), "folder of runs; by default runs", "FOLDER", optional=True)
RUNS: Final = Flag(("--runs",), "folder of runs; by default runs", "FOLDER")
ASKED: Final = ("partition", "account", "gpus", "nodes", "cpus", "time", "array_limit")
PLANNED: Final = ("gpus", "nodes")
"""What a job's processes follow from: retry leaves it as the plan has it."""
ASKING: Final = tuple(
    Flag((f"--{key.replace('_', '-')}",), f"cluster.{key} of every job", key.upper()) for key in ASKED
)
ASKING_AGAIN: Final = tuple(flag for key, flag in zip(ASKED, ASKING, strict=True) if key not in PLANNED)


def _submit(arguments: Arguments) -> int:
    from zinv.cluster.submit import flags_as_overrides, submit

    name, overrides, selection = selection_of(arguments)
    asked = flags_as_overrides({key: getattr(arguments, key) for key in ASKED})
    flags = (arguments.sbatch, arguments.keep, arguments.dry_run, arguments.pilot)
    return submit(name, [*overrides, *asked], selection, *flags)


def _status(arguments: Arguments) -> int:
    from zinv.cluster.look import status

    return status(arguments.name, arguments.runs or "runs", arguments.json, arguments.watch)


def _retry(arguments: Arguments) -> int:
    from zinv.cluster.submit import flags_as_overrides, retry

    asked = flags_as_overrides({key: getattr(arguments, key) for key in ASKED if key not in PLANNED})
    return retry(arguments.name, asked, arguments.runs or "runs", arguments.all, arguments.dry_run)


def _logs(arguments: Arguments) -> int:
    from zinv.cluster.look import TAIL, logs

    return logs(arguments.job, arguments.runs or "runs", count("--lines", arguments.lines) or TAIL)


def _sync(arguments: Arguments) -> int:
    from zinv.cluster.sync import sync

    return sync(arguments.folder or "runs")


def _clean(arguments: Arguments) -> int:
    from zinv.cluster.clean import clean

    return clean(arguments.folder or "runs", arguments.dry_run, arguments.keep)


def _archive(arguments: Arguments) -> int:
    from zinv.cluster.archive import archive

    return archive(arguments.name, arguments.runs or "runs", arguments.output, arguments.images)


def _reproduce(arguments: Arguments) -> int:
    from zinv.cluster.reproduce import reproduce

    return reproduce(arguments.file, arguments.to, arguments.overrides, arguments.rescore, arguments.fresh)


COMMANDS: Final[dict[str, Command]] = {
    "submit": Command(
        "submit the jobs of an experiment that are left, as arrays of SLURM; after -- come flags for sbatch",
        _submit,
        (
            *SELECTED,
            *ASKING,
            KEEP,
            DRY,
            Flag(("--pilot",), "do an image of each cell first, and tell hours and gigabytes"),
        ),
        "zinv submit demo --partition gpu --time 4:00:00",
    ),
    "status": Command(
        "how far each job of an experiment is",
        _status,
        (EXPERIMENT, RUNS, Flag(("--watch",), "again and again"), Flag(("--json",), "for scripts")),
        "zinv status demo",
    ),
    "retry": Command(
        "submit what is missing or failed, by reason: a smaller batch, a longer limit",
        _retry,
        (EXPERIMENT, RUNS, *ASKING_AGAIN, Flag(("--all",), "also what is set aside after three failures"), DRY),
        "zinv retry demo",
    ),
    "logs": Command(
        "print the end of what a job of a submission has said",
        _logs,
        (Flag(("job",), "its id, or the beginning of it", "JOB"), RUNS, Flag(("--lines",), "how many lines", "N")),
        "zinv logs 1a2b3c4d",
    ),
    "sync": Command(
        "upload what runs told Weights & Biases offline, each once",
        _sync,
        (FOLDER,),
        "zinv sync runs",
    ),
    "clean": Command(
        "delete half-written images, claims of ended processes, plans and reports that later ones replaced",
        _clean,
        (
            FOLDER,
            Flag(("--keep",), "delete pictures too that store.keep would not have kept", choices=("codes", "images")),
            DRY,
        ),
        "zinv clean runs --keep codes --dry-run",
    ),
    "archive": Command(
        "write a finished experiment into one file: plan, code, records, digests, tables, figures",
        _archive,
        (
            EXPERIMENT,
            RUNS,
            Flag(("--output",), "file to write; by default NAME.tar.gz", "FILE"),
            Flag(("--images",), "the images' results too, which can then be scored again alone"),
        ),
        "zinv archive demo",
    ),
    "reproduce": Command(
        "run or score an archived experiment again from its own code, and print what differs",
        _reproduce,
        (
            Flag(("file",), "what zinv archive wrote", "FILE"),
            OVERRIDES,
            Flag(("--to",), "folder; by default reproduced/NAME", "FOLDER"),
            Flag(("--rescore",), "only score the archived results again"),
            FRESH,
        ),
        "zinv reproduce demo.tar.gz",
    ),
}
