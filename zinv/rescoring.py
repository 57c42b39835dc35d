"""`zinv score`: stored inversions under another protocol."""

from __future__ import annotations

from collections.abc import Sequence

from zinv.config import Config, compose, identity, load
from zinv.errors import StoreError
from zinv.evaluation.formats import to_terminal
from zinv.evaluation.records import ProtocolInfo
from zinv.evaluation.rows import Row
from zinv.evaluation.scores import merge_records
from zinv.evaluation.store import Run
from zinv.evaluation.table import make_table
from zinv.ranks import Ranks
from zinv.run import build_parts
from zinv.scoring import make_pictures, score_images


def score(path: str, overrides: Sequence[str], pictures: bool = False) -> int:
    """Score stored inversions under a protocol: `zinv score RUN protocol=paper`.

    Args:
        path: the run folder.
        overrides: the protocol and its settings.
        pictures: make the reconstructions that were not kept.
    """
    run = Run.open(path)
    config = load(run.path / "config.yaml")
    protocol = _protocol(config, overrides)
    parts = build_parts({**{group: config[group] for group in config if group != "direction"}, "protocol": protocol})
    check_same_generator(run, parts.config)
    info = ProtocolInfo.of(parts.protocol)
    score_images(run, parts.source, parts.method, parts.protocol, Ranks.alone(), parts.source.ids)
    if pictures:
        make_pictures(run, parts.method)
    records = merge_records(run, info, parts.source.ids)
    print(to_terminal(make_table([Row.read(records)])))
    print(records)
    return 0


def _protocol(config: Config, overrides: Sequence[str]) -> Config:
    """The run's protocol with these overrides, or another; a changed one may not have the name of the run's own."""
    for text in overrides:
        if not text.startswith(("protocol=", "protocol.")):
            raise StoreError(f"{text}: zinv score takes a protocol and its settings only; the rest is the run's.")
    own: Config = config["protocol"]
    chosen: Config = compose(overrides, {"protocol": own}, groups=("protocol",))["protocol"]
    if chosen != own and chosen.get("name") == own.get("name"):
        raise StoreError(
            f"protocol.name={own.get('name')}: the run's own protocol has this name and other settings. "
            "Give this one a name of its own: protocol.name=NAME."
        )
    return chosen


def check_same_generator(run: Run, config: Config) -> None:
    """Raise an error if a run's generator is another than when its codes were found.

    Raises:
        StoreError: it is.
    """
    before = run.facts["identity"]
    if isinstance(before, dict) and identity({**config, "start": None})["generator"] != before["generator"]:
        raise StoreError(f"{run.path}: its generator's weights have changed since; its codes cannot be decoded.")
