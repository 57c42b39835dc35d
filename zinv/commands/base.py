"""What a command is, and the flags that several have. Importing this imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zinv.errors import ConfigError

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


def count(flag: str, text: str | None) -> int | None:
    """A flag's number; None if it was not given.

    Raises:
        ConfigError: it is none, or below 1.
    """
    if text is not None and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(f"{flag} {text}: not an int of 1 or more.")
    return None if text is None else int(text)


OVERRIDES: Final = Flag(
    ("overrides",), "choices and settings: space=zplus method.num_steps=300", "key=value", many=True
)
KEEP: Final = Flag(("--keep",), "keep finished images although the code has changed since")
FRESH: Final = Flag(("--fresh",), "delete what is there and start over")
DRY: Final = Flag(("--dry-run",), "print what would be run, and stop")
RUN: Final = Flag(("path",), "a run folder, or a folder of them", "RUN")
EXPERIMENT: Final = Flag(("name",), "an experiment (zinv list experiments) or its folder", "NAME")
FOR: Final = Flag(("--for",), "the weight files of an experiment", "EXPERIMENT")
