"""From a resolved configuration to the parts themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zinv.config.compose import Config
from zinv.config.schema import OWN_PARTS, Argument, arguments, find_target, part_group, settings, wired
from zinv.config.text import read
from zinv.errors import ConfigError
from zinv.presets import kinds
from zinv.values import article, spell


def build(config: Config, group: str, **parts: object) -> Any:
    """The part of a group, made of its settings and of the parts that its constructor asks for.

    Args:
        config: from `compose`, or read from a run folder.
        group: such as `method`.
        parts: what was built before; handed over by annotation, by name where two have the same type. Parts that
            belong to this one alone, such as its segmentation, are built with it.

    Raises:
        ConfigError: a value that its constructor refuses, or a part that this command does not have.
    """
    entry = config[group]
    chosen = f"{group}={entry.get('_name_', entry['_target_'])}"
    target = find_target(group, entry["_target_"], chosen)
    known = {name: argument for name, argument in settings(group, target).items() if name in entry}
    values = {name: read(entry[name], argument.annotation, f"{group}.{name}") for name, argument in known.items()}
    handed = {name: _part(argument, config, parts, chosen) for name, argument in wired(target).items()}
    own = {name: value for name, value in values.items() if name in arguments(target)}
    try:
        part = target(**own, **handed)
    except ValueError as error:
        raise ConfigError(f"{chosen}: {error}") from error
    for name in values.keys() - own.keys():
        setattr(part, name, values[name])
    return part


def _part(argument: Argument, config: Config, parts: Mapping[str, object], chosen: str) -> object:
    fitting = {name: part for name, part in parts.items() if isinstance(part, kinds(argument.annotation))}
    if fitting:
        return fitting.get(argument.name, next(iter(fitting.values())))
    group = part_group(argument.annotation)
    if group in OWN_PARTS and group in config:
        return build(config, group)
    if argument.required:
        raise ConfigError(f"{chosen}: it needs {article(spell(argument.annotation))}, which this command has not.")
    return argument.default
