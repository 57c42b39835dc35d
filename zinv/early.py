"""What can be refused in a job's first second, before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zinv.config import compose
from zinv.config.selection import Selection, select
from zinv.devices import check_given


def check_devices(overrides: Sequence[str], base: Mapping[str, Any] | None = None) -> None:
    """End a run or a training that asked for a GPU and has none.

    Raises:
        ConfigError: it has none, or there is no such trainer.
    """
    own = [text for text in overrides if text.startswith(("trainer=", "trainer."))]
    check_given(compose(own, base, groups=("trainer",))["trainer"]["accelerator"])


def check_devices_of_experiment(name: str | None, overrides: Sequence[str], selection: Selection) -> None:
    """The same for the runs of an experiment."""
    plans = select(name, overrides, selection).rows
    for row in {tuple(text for text in plan if text.startswith(("trainer=", "trainer."))) for plan in plans}:
        check_devices(row)
