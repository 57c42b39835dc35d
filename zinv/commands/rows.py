"""Which rows of an experiment a command line means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from zinv.commands.base import EXPERIMENT, OVERRIDES, Arguments, Flag, count

if TYPE_CHECKING:
    from zinv.config.selection import Selection

GRID: Final = Flag(("--grid",), "overrides with commas are axes: --grid space=z,zplus seed=0,1,2; no NAME is needed")
ONLY: Final = Flag(
    ("--only",), "rows with this value: --only space=zplus,wplus; may be given again", "KEY=VALUE", again=True
)
SHARDS: Final = Flag(("--shards",), "jobs that share the images of each row", "N")
SELECTED: Final = (replace(EXPERIMENT, optional=True), OVERRIDES, GRID, ONLY, SHARDS)


def selection_of(arguments: Arguments) -> tuple[str | None, list[str], Selection]:
    """An experiment's name if there is one, overrides, and which rows are meant."""
    from zinv.config.selection import Selection

    is_name = arguments.name is not None and "=" not in arguments.name
    first = [] if is_name or arguments.name is None else [arguments.name]
    selection = Selection(arguments.grid, tuple(arguments.only), count("--shards", arguments.shards) or 1)
    return arguments.name if is_name else None, [*first, *arguments.overrides], selection
