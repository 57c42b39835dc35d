"""Errors that a user can cause. The command line prints them as one line that begins `error: `, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZinvError(Exception):
    """Base of every error that is the user's to mend."""


class ConfigError(ZinvError):
    """An unknown key or choice, or a value of the wrong type."""


class WeightsError(ZinvError):
    """A weight file that is missing, truncated or of another network."""


class CheckpointError(WeightsError):
    """A checkpoint that cannot be read safely or whose architecture zinv lacks."""


class DataError(ZinvError):
    """A folder or picture that cannot be used."""


class StoreError(ZinvError):
    """A run folder that does not fit what is asked of it."""


class ProtocolError(ZinvError):
    """Numbers of different protocols, or a protocol that cannot be applied."""


class InversionError(ZinvError):
    """One image whose inversion failed; recorded in its row, the others go on."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, whatever the case, or None if none is near.

    >>> nearest("zplu", ["z", "zplus", "wplus"])
    'zplus'
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


def suggest(name: str, choices: Iterable[str]) -> str:
    """The sentence that ends an error about an unknown name.

    >>> suggest("lrr", ["lr", "num_steps"])
    "Did you mean 'lr'? Choose from: lr, num_steps."
    """
    choices = sorted(choices)
    near = nearest(name, choices)
    start = f"Did you mean '{near}'? " if near else ""
    return f"{start}Choose from: {', '.join(choices) or 'nothing'}."
