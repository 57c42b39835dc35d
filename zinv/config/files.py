"""The weight files that a configuration names: those of a run, of an experiment, of each preset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from zinv.config.compose import Config, compose
from zinv.config.experiment import Experiment, expand, layer
from zinv.config.fill import as_choice, raw_settings
from zinv.config.schema import GROUPS, MEMBERS, PARTS, find_target, settings
from zinv.errors import ConfigError
from zinv.presets import preset_names, read_preset
from zinv.values import Value


def weight_names(config: Config) -> set[str]:
    """Names of the weight files of a composed configuration, as they are given; `auto` and `random/…` are none."""
    return {name for group in PARTS if group in config for name in _of_entry(group, config[group])}


def experiment_weights(experiment: Experiment, overrides: Sequence[str] = ()) -> dict[str, str]:
    """What the runs of an experiment read, by weight name, with the command that makes it or an empty one.

    Images are not read for this, so their folder need not be given.
    """
    made = {need.file: need.command for need in experiment.needs}
    named: set[str] = set()
    for row in expand(experiment):
        plan = [text for text in layer(row, overrides) if not text.startswith(("data=", "data."))]
        named |= weight_names(compose([*plan, "data=toy"]))
    return dict.fromkeys(sorted(named), "") | made


def preset_users() -> dict[str, list[str]]:
    """The presets that read each weight file: `generator=portraits`, or `term lpips` for a part of a loss."""
    from zinv.weights import published_as

    users: defaultdict[str, list[str]] = defaultdict(list)
    for group in PARTS:
        for preset in preset_names(group):
            for name in _of_preset(group, preset):
                users[published_as(name) or name].append(f"{group}{'=' if group in GROUPS else ' '}{preset}")
    return dict(users)


def _of_preset(group: str, preset: str) -> list[str]:
    try:
        choice = as_choice(group, preset, read_preset(group, preset), f"{group}={preset}")
        return list(dict.fromkeys(_of_entry(group, raw_settings(choice, {}))))
    except ConfigError:
        return []  # the run that chooses it will say what is wrong with it


def _of_entry(group: str, entry: Mapping[str, Any]) -> Iterator[str]:
    known = settings(group, find_target(group, entry["_target_"], group))
    members = MEMBERS.get(group)
    for name, argument in known.items():
        if members and name == members.options and members.names in known:
            for part in entry[name].values():
                yield from _of_entry(members.group, part)
        elif is_weights(argument.annotation):
            yield from _named(entry.get(name), argument.annotation)


def _named(value: Value, annotation: object) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _named(part, annotation)
    elif is_file(value, annotation):
        yield str(value)


def is_file(value: Value, annotation: object) -> bool:
    """Whether the value of such an argument names a file; `auto`, its other words and `random/NAME` do not."""
    return value is not None and value not in _words(annotation) and not str(value).startswith("random/")


def is_weights(annotation: object) -> bool:
    """Whether an argument takes weight files, as `zinv.weights.Weights` says."""
    if get_origin(annotation) is Annotated and "weights" in get_args(annotation)[1:]:
        return True
    return any(is_weights(arg) for arg in get_args(annotation))


def _words(annotation: object) -> list[Value]:
    """Words that an annotation has beside file names; `auto` is always one."""
    own = get_args(annotation) if get_origin(annotation) is Literal else ()
    inner = [] if own else [word for arg in get_args(annotation) for word in _words(arg)]
    return [*cast("tuple[Value, ...]", own), *inner, "auto"]
