"""The command line: an argument list to a function. Importing this imports no torch."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NoReturn

from zinv import __version__
from zinv.errors import ConfigError, ZinvError, suggest

if TYPE_CHECKING:
    from zinv.config.selection import Selection

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Flag:
    """A flag or positional argument, and what argparse needs to know of it."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    many: bool = False
    optional: bool = False
    again: bool = False

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Declare it."""
        if self.metavar is None and self.choices is None:
            parser.add_argument(*self.names, action="store_true", help=self.help)
            return
        if self.again:
            parser.add_argument(*self.names, metavar=self.metavar, help=self.help, action="append", default=[])
            return
        nargs = "*" if self.many else "?" if self.optional else None
        parser.add_argument(*self.names, metavar=self.metavar, help=self.help, nargs=nargs, choices=self.choices)


@dataclass(frozen=True)
class Command:
    """What `zinv NAME` does."""

    summary: str
    call: Callable[[Arguments], int]
    flags: tuple[Flag, ...]
    example: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit status: 0; 1 if a part of the work failed; 2 if the input was wrong; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except ZinvError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted(given)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit
            return _interrupted(given)
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(given: list[str]) -> int:
    name = given[0] if given else "--help"
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        print(f"zinv {__version__}")
        return 0
    if name not in COMMANDS:
        flag = name.startswith("-")
        raise ConfigError(
            f"zinv {name}: there is no such {'flag' if flag else 'command'}. "
            f"{suggest(name, ('--help', '--version') if flag else COMMANDS)}"
        )
    command = COMMANDS[name]
    return command.call(_parse(name, command, given[1:]))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        text = message.replace(", key=value", "").replace("the following arguments are required:", "give")
        raise ConfigError(f"{self.prog}: {text}.")


def _parse(name: str, command: Command, given: list[str]) -> Arguments:
    parser = _Parser(
        prog=f"zinv {name}",
        description=command.summary,
        epilog=f"example: {command.example}",
        allow_abbrev=False,
        add_help=False,
    )
    for flag in command.flags:
        flag.add_to(parser)
    parser.add_argument("-h", "--help", action="help", help="print this and stop")
    end = given.index("--") if name == "submit" and "--" in given else len(given)
    arguments, unknown = parser.parse_known_intermixed_args(given[:end])
    arguments.sbatch = given[end + 1 :]
    if unknown:
        raise _unknown(name, unknown[0], [option for option in parser._option_string_actions if option[:2] == "--"])
    return arguments


def _unknown(name: str, argument: str, flags: list[str]) -> ConfigError:
    if not argument.startswith("-"):
        return ConfigError(f"zinv {name} {argument}: one argument too many.")
    return ConfigError(f"zinv {name} {argument}: no such flag. {suggest(argument, flags)}")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    examples = [f"  {COMMANDS[name].example}" for name in ("evaluate", "run", "show")]
    return "\n".join(
        [
            "usage: zinv COMMAND [key=value ...] [flags]",
            "",
            "GAN inversion: every method in every latent space.",
            "",
            "commands:",
            *commands,
            "",
            "examples:",
            *examples,
            "",
            "A choice is a preset (zinv list) or a class of your own: space=mylab.zradius.ZRadius.",
            "zinv COMMAND --help says more.",
        ]
    )


def _interrupted(given: list[str]) -> int:
    again = shlex.join(["zinv", *given])
    print(f"\nstopped. Every finished image is kept; the same command goes on from there: {again}", file=sys.stderr)
    return 130


def _evaluate(arguments: Arguments) -> int:
    if arguments.dry_run:
        return _show(arguments)
    from zinv.early import check_devices

    check_devices(arguments.overrides)
    from zinv.run import evaluate

    return evaluate(arguments.overrides, arguments.keep, arguments.fresh)


def _run(arguments: Arguments) -> int:
    name, overrides, selection = _selection(arguments)
    if arguments.dry_run:
        from zinv.listing import show_plan

        return show_plan(name, overrides, selection)
    from zinv.early import check_devices_of_experiment

    check_devices_of_experiment(name, overrides, selection)
    from zinv.sweep import run_experiment

    flags = (arguments.keep, arguments.fresh, arguments.update, _count("--jobs", arguments.jobs))
    return run_experiment(name, overrides, *flags, selection)


def _count(flag: str, text: str | None) -> int | None:
    if text is not None and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(f"{flag} {text}: not an int of 1 or more.")
    return None if text is None else int(text)


def _score(arguments: Arguments) -> int:
    from zinv.run import score

    return score(arguments.path, arguments.overrides)


def _table(arguments: Arguments) -> int:
    from zinv.sweep import table

    flags = (arguments.against, arguments.format or "terminal", arguments.output, arguments.update, arguments.pivot)
    return table(arguments.paths, *flags)


def _train(arguments: Arguments) -> int:
    if arguments.dry_run:
        from zinv.listing import show_training

        return show_training(arguments.overrides)
    from zinv.early import check_devices

    check_devices(arguments.overrides, {"trainer": "fit"})
    from zinv.train import train

    return train(arguments.overrides, arguments.fresh)


def _check(arguments: Arguments) -> int:
    from zinv.check import check

    return check(arguments.part)


def _show(arguments: Arguments) -> int:
    from zinv.listing import show

    return show(arguments.overrides)


def _list(arguments: Arguments) -> int:
    from zinv.listing import show_presets

    return show_presets(arguments.group)


def _weights(arguments: Arguments) -> int:
    words = [word for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    action, *names = words or ["list"]
    experiment, to = vars(arguments)["for"], arguments.to
    if action == "list" and not names:
        from zinv.fetch import show_weights

        return show_weights(experiment, overrides)
    if action == "fetch":
        from zinv.fetch import fetch

        return fetch(names, experiment, overrides, to)
    if action == "bundle" and 1 <= len(names) <= 2:
        from zinv.bundle import bundle

        return bundle(names[0], overrides, names[1] if len(names) == 2 else None)
    if action == "unbundle" and len(names) == 1:
        from zinv.bundle import unbundle

        return unbundle(names[0], to)
    raise ConfigError(_weights_usage(action))


def _weights_usage(action: str) -> str:
    usage = {
        "list": "zinv weights list [--for EXPERIMENT]",
        "fetch": "zinv weights fetch NAME … or fetch --for EXPERIMENT",
        "bundle": "zinv weights bundle EXPERIMENT [OUT.tar]",
        "unbundle": "zinv weights unbundle FILE.tar [--to FOLDER]",
    }
    if action in usage:
        return f"zinv weights {action}: it is {usage[action]}."
    return f"zinv weights {action}: there is no such action. {suggest(action, usage)}"


def _convert(arguments: Arguments) -> int:
    from zinv.convert import convert

    return convert(arguments.source, arguments.target, arguments.format)


def _doctor(arguments: Arguments) -> int:
    from zinv.doctor import doctor

    return doctor(arguments.overrides, vars(arguments)["for"])


def _selection(arguments: Arguments) -> tuple[str | None, list[str], Selection]:
    """An experiment's name if there is one, overrides, and which rows are meant."""
    from zinv.config.selection import Selection

    is_name = arguments.name is not None and "=" not in arguments.name
    first = [] if is_name or arguments.name is None else [arguments.name]
    selection = Selection(arguments.grid, tuple(arguments.only), _count("--shards", arguments.shards) or 1)
    return arguments.name if is_name else None, [*first, *arguments.overrides], selection


def _submit(arguments: Arguments) -> int:
    from zinv.cluster.submit import flags_as_overrides, submit

    name, overrides, selection = _selection(arguments)
    asked = flags_as_overrides({key: getattr(arguments, key) for key in ASKED})
    flags = (arguments.sbatch, arguments.keep, arguments.dry_run, arguments.pilot)
    return submit(name, [*overrides, *asked], selection, *flags)


def _status(arguments: Arguments) -> int:
    from zinv.cluster.look import status

    return status(arguments.name, arguments.runs or "runs", arguments.json, arguments.watch)


def _retry(arguments: Arguments) -> int:
    from zinv.cluster.submit import flags_as_overrides, retry

    asked = flags_as_overrides({key: getattr(arguments, key) for key in ASKED})
    return retry(arguments.name, asked, arguments.runs or "runs", arguments.all, arguments.dry_run)


def _logs(arguments: Arguments) -> int:
    from zinv.cluster.look import TAIL, logs

    return logs(arguments.job, arguments.runs or "runs", _count("--lines", arguments.lines) or TAIL)


def _sync(arguments: Arguments) -> int:
    from zinv.cluster.sync import sync

    return sync(arguments.folder or "runs")


def _clean(arguments: Arguments) -> int:
    from zinv.cluster.sync import clean

    return clean(arguments.folder or "runs", arguments.dry_run)


def _archive(arguments: Arguments) -> int:
    from zinv.cluster.archive import archive

    return archive(arguments.name, arguments.runs or "runs", arguments.output)


def _reproduce(arguments: Arguments) -> int:
    from zinv.cluster.archive import reproduce

    return reproduce(arguments.file, arguments.to, arguments.overrides)


def _diff(arguments: Arguments) -> int:
    from zinv.compare import diff

    return diff(arguments.first, arguments.second)


OVERRIDES: Final = Flag(
    ("overrides",), "choices and settings: space=zplus method.num_steps=300", "key=value", many=True
)
KEEP: Final = Flag(("--keep",), "keep finished images although the code has changed since")
FRESH: Final = Flag(("--fresh",), "delete what is there and start over")
DRY: Final = Flag(("--dry-run",), "print what would be run, and stop")
JOBS: Final = Flag(("--jobs",), "rows at a time; by default one a core on a CPU, else 1", "N")
UPDATE: Final = Flag(("--update",), "replace the experiment's results.csv")
FOR: Final = Flag(("--for",), "the weight files of an experiment", "EXPERIMENT")
EXPERIMENT: Final = Flag(("name",), "an experiment (zinv list experiments) or its folder", "NAME")
GRID: Final = Flag(("--grid",), "overrides with commas are axes: --grid space=z,zplus seed=0,1,2; no NAME is needed")
ONLY: Final = Flag(
    ("--only",), "rows with this value: --only space=zplus,wplus; may be given again", "KEY=VALUE", again=True
)
SHARDS: Final = Flag(("--shards",), "jobs that share the images of each row", "N")
SELECTED: Final = (replace(EXPERIMENT, optional=True), OVERRIDES, GRID, ONLY, SHARDS)
FOLDER: Final = Flag(("folder",), "folder of runs; by default runs", "FOLDER", optional=True)
RUNS: Final = Flag(("--runs",), "folder of runs; by default runs", "FOLDER")
ASKED: Final = ("partition", "account", "gpus", "nodes", "cpus", "time", "array_limit")
ASKING: Final = tuple(
    Flag((f"--{key.replace('_', '-')}",), f"cluster.{key} of every job", key.upper()) for key in ASKED
)
RUN: Final = Flag(("path",), "a run folder, or a folder of them", "RUN")

COMMANDS: Final[dict[str, Command]] = {
    "evaluate": Command(
        "invert images with one method in one space, score them, print the table",
        _evaluate,
        (OVERRIDES, KEEP, FRESH, DRY),
        "zinv evaluate method=bdinvert space=zplus",
    ),
    "run": Command(
        "do every unfinished run of an experiment, then its table",
        _run,
        (*SELECTED, JOBS, KEEP, FRESH, UPDATE, DRY),
        "zinv run demo",
    ),
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
        (EXPERIMENT, RUNS, *ASKING, Flag(("--all",), "also what is set aside after three failures"), DRY),
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
        (FOLDER, DRY),
        "zinv clean runs --dry-run",
    ),
    "archive": Command(
        "write a finished experiment into one file: plan, code, records, digests, tables",
        _archive,
        (EXPERIMENT, RUNS, Flag(("--output",), "file to write; by default NAME.tar.gz", "FILE")),
        "zinv archive demo",
    ),
    "reproduce": Command(
        "run an archived experiment again from its own code, and print what differs",
        _reproduce,
        (
            Flag(("file",), "what zinv archive wrote", "FILE"),
            OVERRIDES,
            Flag(("--to",), "folder; by default reproduced/NAME", "FOLDER"),
        ),
        "zinv reproduce demo.tar.gz",
    ),
    "diff": Command(
        "what two runs differ in: settings, code, weights, and their numbers image by image",
        _diff,
        (Flag(("first",), "a run folder", "RUN"), Flag(("second",), "another", "RUN")),
        "zinv diff runs/optimize-zplus-toy/1a2b3c4d runs/optimize-zplus-toy/5e6f7a8b",
    ),
    "score": Command(
        "score stored inversions again, under another protocol",
        _score,
        (RUN, OVERRIDES),
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
            UPDATE,
        ),
        "zinv table runs --pivot mse --format latex",
    ),
    "train": Command(
        "train a network that parts load: a generator, an encoder, a demo network",
        _train,
        (OVERRIDES, FRESH, DRY),
        "zinv train model=generator",
    ),
    "show": Command(
        "print a resolved configuration: of overrides, or of a run folder",
        _show,
        (OVERRIDES,),
        "zinv show method=bdinvert space=zplus generator=toy",
    ),
    "list": Command(
        "list what can be chosen",
        _list,
        (Flag(("group",), "one group, such as space, or experiments", "GROUP", optional=True),),
        "zinv list space",
    ),
    "weights": Command(
        "list weight files, fetch those that others publish, bundle them for a cluster without internet",
        _weights,
        (
            Flag(
                ("words",),
                "list (default), fetch NAME …, bundle EXPERIMENT [OUT.tar] or unbundle FILE.tar; and overrides",
                "ACTION",
                many=True,
            ),
            FOR,
            Flag(("--to",), "folder to write to, instead of the first of ZINV_WEIGHTS that can be", "FOLDER"),
        ),
        "zinv weights fetch lpips/vgg16",
    ),
    "convert": Command(
        "write a generator file of any format as safetensors, rosinality .pt or genforce .pth",
        _convert,
        (
            Flag(("source",), "a generator file, of zinv or others, or a weight name", "IN"),
            Flag(("target",), "file to write", "OUT"),
            Flag(("--format",), "the format, if not by OUT's suffix", choices=("zinv", "rosinality", "genforce")),
        ),
        "zinv convert ffhq.pkl ffhq.safetensors",
    ),
    "doctor": Command(
        "look for what a run would stumble over: torch, GPUs, weights, folders, SLURM, W&B",
        _doctor,
        (OVERRIDES, FOR),
        "zinv doctor trainer=gpu",
    ),
    "check": Command(
        "test a part of your own against its contract",
        _check,
        (Flag(("part",), "its import path", "DOTTED"),),
        "zinv check mylab.zradius.ZRadius",
    ),
}
