"""The settings of one part: the constructor's defaults, a preset's values, overrides, and those of its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

from zinv.config.schema import MEMBERS, Argument, Members, find_target, settings
from zinv.config.text import NULLS, parse, plain, read
from zinv.errors import ConfigError, suggest
from zinv.presets import preset_names, read_preset
from zinv.values import Value, article, show, spell

T = TypeVar("T")
Settings: TypeAlias = dict[str, Value]
Given: TypeAlias = dict[str, str]
"""Overrides by key, values still text."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for a group: a preset or a dotted path, and the settings that come with it."""

    group: str
    name: str
    dotted: str
    target: Callable[..., object]
    values: Settings
    suggested: Mapping[str, Value] = field(default_factory=dict)


def as_choice(group: str, name: str, entry: Mapping[str, Any], chosen: str) -> Choice:
    """A preset's content, or a part of a resolved configuration, as a choice; `chosen` is its spelling in messages."""
    dotted = str(entry.get("_target_", ""))
    target = find_target(group, dotted, chosen)
    values = {k: v for k, v in entry.items() if k not in ("_name_", "_target_", "_defaults_")}
    known = [*settings(group, target)]
    for setting, value in values.items():
        if setting not in known:
            raise ConfigError(f"{chosen}: its {setting}={show(value)}: no such key. {suggest(setting, known)}")
    return Choice(group, name, dotted, target, values, entry.get("_defaults_", {}))


def raw_settings(choice: Choice, given: Given) -> Settings:
    """The settings of a part before interpolation, values still as text where they were given as text."""
    known = settings(choice.group, choice.target)
    members = _members(choice.group, known)
    of_members = below(given, members.options) if members else {}
    own = {key: text for key, text in given.items() if not (members and key.startswith(f"{members.options}."))}
    values = fill(choice.group, known, choice.values, own)
    if members:
        weighted = parse(values.get(members.names), known[members.names].annotation)
        start = parse(values.get(members.options), dict)
        values[members.options] = _member_options(choice.group, weighted, start, of_members)
    return {"_name_": choice.name, "_target_": choice.dotted, **values}


def _members(group: str, known: Mapping[str, Argument]) -> Members | None:
    """How a choice holds its members; None if it has none, as a loss of the user's own may."""
    members = MEMBERS.get(group)
    return members if members and {members.names, members.options} <= set(known) else None


def _member_options(group: str, weighted: Value, start: Value, given: Given) -> Settings:
    """All arguments of each member (each term of a loss), by the member's name."""
    _, options, kind = MEMBERS[group]
    names = _member_names(group, weighted)
    parts: dict[str, Given] = {name: {} for name in names}
    for key, text in given.items():
        owner = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
        if owner is None:
            first = key.rpartition(".")[0] or key
            raise ConfigError(f"{group}.{options}.{key}={text}: there is no such {kind} here. {suggest(first, names)}")
        parts[owner][key.removeprefix(f"{owner}.")] = text
    before = cast(dict[str, Settings], start or {})
    return {name: _member(group, name, before.get(name, {}), parts[name]) for name in names}


def _member_names(group: str, weighted: Value) -> list[str]:
    """The members of a loss or protocol, each a preset or a dotted path."""
    key, _, kind = MEMBERS[group]
    if isinstance(weighted, str) or not isinstance(weighted, Sequence | Mapping):
        raise ConfigError(f"{group}.{key}={show(weighted)}: name at least one {kind}.")
    known = preset_names(kind)
    for name in map(str, weighted):
        if "." not in name and name not in known:
            item = f".{name}={show(weighted[name])}" if isinstance(weighted, Mapping) else f"={name}"
            raise ConfigError(f"{group}.{key}{item}: there is no such {kind}. {suggest(name, known)}")
    return [str(name) for name in weighted]


def _member(group: str, name: str, start: Settings, given: Given) -> Settings:
    names, options, kind = MEMBERS[group]
    preset = {} if "_target_" in start else read_preset(kind, name)
    choice = as_choice(kind, name, {**preset, **start}, f"{group}.{names}.{name}")
    own = fill(f"{group}.{options}.{name}", settings(kind, choice.target), choice.values, given)
    return {"_target_": choice.dotted, **own}


def fill(key: str, known: Mapping[str, Argument], values: Settings, given: Given) -> Settings:
    """Defaults, under a preset's values, under what was given; whole values first, then items of mappings."""
    prefix = f"{key}." if key else ""
    filled: Settings = {name: plain(a.default) for name, a in known.items() if not a.required} | values
    for path, text in sorted(given.items(), key=lambda item: "." in item[0]):
        name, _, item = path.partition(".")
        if name not in known:
            raise ConfigError(f"{prefix}{path}={text}: no such key. {suggest(name, known)}")
        filled[name] = _with_item(filled.get(name), item, text, known[name], prefix) if item else text
    return {name: filled[name] for name in known if name in filled}


def _with_item(value: Value, item: str, text: str, argument: Argument, prefix: str) -> Value:
    """A mapping with one item set, or removed by null. The whole remainder of the path is the item's key."""
    mapping = parse(value, argument.annotation) if value is not None else {}
    override = f"{prefix}{argument.name}.{item}={text}"
    if not isinstance(mapping, Mapping) or (value is None and "mapping" not in spell(argument.annotation)):
        accepted = article(spell(argument.annotation))
        raise ConfigError(f"{override}: no such key. {prefix}{argument.name} is {accepted}.")
    if text not in NULLS:
        return {**mapping, item: text}
    if item not in mapping:
        raise ConfigError(f"{override}: there is nothing to remove. {suggest(item, mapping)}")
    return {name: part for name, part in mapping.items() if name != item}


def typed_entry(group: str, key: str, entry: Value) -> Settings:
    """The settings of a part, typed by its constructor, and those of its members by theirs."""
    values = cast(dict[str, Any], entry)
    head: Settings = {name: values[name] for name in ("_name_", "_target_") if name in values}
    known = settings(group, find_target(group, values["_target_"], key))
    members = _members(group, known)
    each: Settings = values[members.options] if members else {}
    if members:
        known.pop(members.options)
    own = typed_settings(key, known, {name: values[name] for name in known if name in values})
    if not members:
        return {**head, **own}
    options = {k: typed_entry(members.group, f"{key}.{members.options}.{k}", v) for k, v in each.items()}
    return {**head, **own, members.options: options}


def typed_settings(key: str, known: Mapping[str, Argument], values: Settings) -> Settings:
    """Values as their annotations ask for, made plain again; `key` is what they belong to.

    Raises:
        ConfigError: a value that is missing or of the wrong type.
    """
    prefix = f"{key}." if key else ""
    for name, argument in known.items():
        if argument.required and name not in values:
            accepted = article(spell(argument.annotation))
            raise ConfigError(f"{prefix}{name}: not given. Add {prefix}{name}=VALUE, {accepted}.")
    return {name: plain(read(value, known[name].annotation, f"{prefix}{name}")) for name, value in values.items()}


def below(given: Mapping[str, T], head: str) -> dict[str, T]:
    """The overrides of what is in `head`, by the rest of their keys.

    >>> below({"space": "z", "method.lr": "1"}, "method")
    {'lr': '1'}
    """
    return {key.removeprefix(f"{head}."): text for key, text in given.items() if key.startswith(f"{head}.")}
