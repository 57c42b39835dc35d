"""From `key=value` overrides, presets and constructors to one nested mapping in which every setting is written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zinv.config.fill import Choice, Given, Settings, as_choice, below, fill, raw_settings, typed_entry, typed_settings
from zinv.config.schema import GROUPS, ON_REQUEST, PARTS, RUN_GROUPS, arguments, part_group, refuse_choice, wired
from zinv.config.settings import DRAWS, RunSettings
from zinv.config.text import NULLS
from zinv.errors import ConfigError, suggest
from zinv.presets import preset_folders, preset_names, read_preset, read_yaml
from zinv.values import show

Config: TypeAlias = dict[str, Any]
"""A resolved configuration: run settings, and for each group `_name_` (as chosen), `_target_` and all arguments."""


def compose(
    overrides: Sequence[str] = (), base: Mapping[str, Any] | None = None, groups: Sequence[str] = RUN_GROUPS
) -> Config:
    """Resolve a configuration.

    A group's choice is the override's, else the base's, else what an earlier choice suggests, else that of
    `configs/default.yaml`. A setting is the override's, else what came with that suggestion (`_defaults_: {data:
    portraits, data.split: train}`), else the preset's, else the constructor's default.

    Args:
        overrides: `key=value`, each key once: `space=zplus`, `method.lr=1e-2`, `loss.terms.mylab.Arc=.1`.
        base: a configuration, or part of one, that the overrides change.
        groups: groups to choose from; those that the chosen parts need are added.

    Raises:
        ConfigError: an unknown key or choice, a value of the wrong type, a key given twice; one line that names it.
    """
    given, start, run = parse_overrides(overrides), dict(base or {}), arguments(RunSettings)
    groups = [*groups, *_on_request({**start, **given})] if groups == RUN_GROUPS else groups
    _check_keys({**start, **given}, [*run, *GROUPS])
    _check_presets(given, groups)
    choices = _choose(given, start, groups)
    _check_keys(given, [*run, *choices])
    top = fill("", run, _without(start, PARTS), _without(given, PARTS))
    parts = {group: raw_settings(choice, below(given, group)) for group, choice in choices.items()}
    tree = _interpolated({**top, **parts})
    typed = {group: typed_entry(group, group, tree[group]) for group in choices}
    return {**typed_settings("", run, {name: tree[name] for name in top}), **typed}


def _on_request(given: Mapping[str, Any]) -> list[str]:
    """Groups that are there if something is said of them."""
    return [group for group in ON_REQUEST if any(key.partition(".")[0] == group for key in given)]


def parse_overrides(overrides: Sequence[str]) -> Given:
    """Overrides by key.

    >>> parse_overrides(["space=zplus", "method.lr=1e-2", "start=best_of_k"])
    {'space': 'zplus', 'method.lr': '1e-2', 'space.start': 'best_of_k'}
    """
    given: Given = {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"{override}: not a key=value such as space=zplus.")
        key = _full_key(key.strip(), text.strip())
        if key in given:
            raise ConfigError(f"{override}: given twice, before as {key}={given[key]}.")
        given[key] = text.strip()
    return given


def _full_key(key: str, text: str) -> str:
    return "space.start" if key == "start" and text in DRAWS else key


def load(path: Path) -> Config:
    """A configuration that `save` wrote."""
    return cast(Config, read_yaml(path))


def stored(path: Path) -> Config:
    """The configuration of a run folder, or of a file.

    Raises:
        ConfigError: there is none, or it is not readable.
    """
    file = path / "config.yaml" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{path}: neither a configuration nor a run folder (it has no config.yaml).")
    return load(file)


def save(config: Config, path: Path) -> None:
    """Write a configuration as YAML."""
    path.write_text(to_yaml(config), encoding="utf-8")


def to_yaml(config: Config) -> str:
    """A configuration as YAML, in its own order."""
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120)
    return text


def _check_keys(given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key, value in given.items():
        head = key.partition(".")[0]
        if head not in known:
            raise ConfigError(f"{key}={show(value)}: no such key. {suggest(head, known)}")


def _check_presets(given: Given, groups: Sequence[str]) -> None:
    """Refuse unknown presets before anything large is imported."""
    for group in groups:
        name = given.get(group, ".")
        if "." not in name and name not in preset_names(group):
            raise refuse_choice(group, name)


def _choose(given: Given, base: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Choice]:
    fallback = _default_choices()
    pending, suggested, chosen = list(groups), cast(Settings, {}), cast(dict[str, Choice], {})
    while pending:
        group = pending.pop(0)
        if group in chosen:
            continue
        choice = _base_choice(group, base) if group in base and group not in given else None
        name = given.get(group, show(suggested.get(group, fallback.get(group))))
        hints = below(suggested, group) if name == suggested.get(group) else {}
        chosen[group] = choice = choice or _preset_choice(group, name, hints)
        suggested = {**choice.suggested, **suggested}
        pending = [*_needed(choice.target, given), *pending]
    return {group: chosen[group] for group in PARTS if group in chosen}


def _default_choices() -> Settings:
    """`configs/default.yaml`, the working folder's before the shipped one."""
    paths = [folder / "default.yaml" for folder in reversed(preset_folders())]
    return {group: name for path in paths if path.is_file() for group, name in read_yaml(path).items()}


def _needed(target: Callable[..., object], given: Given) -> Iterator[str]:
    for argument in wired(target).values():
        group = part_group(argument.annotation)
        if group and (argument.required or group in given):
            yield group


def _preset_choice(group: str, name: str, hints: Settings | None = None) -> Choice:
    if name in NULLS and name not in preset_names(group):
        raise ConfigError(f"{group}: choose one with {group}=NAME. {suggest('', preset_names(group))}")
    return as_choice(group, name, {**read_preset(group, name), **(hints or {})}, f"{group}={name}")


def _base_choice(group: str, base: Mapping[str, Any]) -> Choice:
    entry = base[group]
    if not isinstance(entry, Mapping):
        return _preset_choice(group, str(entry))
    name = str(entry.get("_name_", entry.get("_target_", "")))
    return as_choice(group, name, entry, f"{group}={name}")


def _interpolated(tree: Settings) -> Settings:
    """The tree with every `${group.key}` replaced by what it names."""
    try:
        return cast(Settings, OmegaConf.to_container(OmegaConf.create(tree), resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{error.full_key or 'an override'}: cannot be resolved ({reason}).") from error


def _without(given: Mapping[str, Any], heads: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key.partition(".")[0] not in heads}
