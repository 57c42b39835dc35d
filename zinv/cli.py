"""The command line: an argument list to a function. Importing this imports no torch."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from zinv import __version__
from zinv.commands import jobs, runs, things
from zinv.commands.base import Arguments, Command
from zinv.errors import ConfigError, ZinvError, suggest

COMMANDS: Final[dict[str, Command]] = {**runs.COMMANDS, **jobs.COMMANDS, **things.COMMANDS}


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
