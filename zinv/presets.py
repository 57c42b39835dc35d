"""Named choices as YAML files, and the Python objects that their `_target_` names."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar, cast, get_args

from omegaconf import OmegaConf
from yaml import YAMLError

from zinv.errors import ConfigError, suggest
from zinv.values import Value, article, typed

PACKAGE: Final = Path(__file__).parent
Part = TypeVar("Part")


def preset_folders() -> list[Path]:
    """Where presets are looked for, in order: `./configs`, then the shipped ones."""
    return _folders("configs")


def experiment_folders() -> list[Path]:
    """Where experiments are looked for, in order: `./experiments`, then the shipped ones."""
    return _folders("experiments")


def _folders(kind: str) -> list[Path]:
    installed = PACKAGE / kind
    shipped = installed if installed.is_dir() else PACKAGE.parent / kind
    own = Path.cwd() / kind
    return [folder for folder in dict.fromkeys((own.resolve(), shipped.resolve())) if folder.is_dir()]


def preset_names(group: str) -> list[str]:
    """Names of all presets of a group.

    >>> "paper" in preset_names("protocol")
    True
    """
    return sorted({path.stem for folder in preset_folders() for path in (folder / group).glob("*.yaml")})


def read_preset(group: str, name: str) -> dict[str, Value]:
    """The settings of `group=name`: its YAML file's, or a dotted path as `_target_` with the class's defaults.

    Raises:
        ConfigError: there is no such preset, or its file is not a YAML mapping.

    >>> read_preset("space", "mylab.zradius.ZRadius")
    {'_target_': 'mylab.zradius.ZRadius'}
    """
    if "." in name:
        return {"_target_": name}
    for folder in preset_folders():
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            return read_yaml(path)
    raise ConfigError(f"{group}={name}: there is no such preset. {suggest(name, preset_names(group))}")


def read_yaml(path: Path) -> dict[str, Value]:
    """A YAML mapping, with `1e-3` read as a number and `${…}` left as it is.

    Raises:
        ConfigError: the file is not YAML, or not a mapping.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (YAMLError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a readable YAML file ({reason}).") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a mapping of keys to values.")
    return cast(dict[str, Value], content)


def locate(dotted: str) -> object:
    """The class or function that a dotted path names; the working folder is importable.

    Raises:
        ConfigError: there is no such module or name.

    >>> locate("zinv.errors.ConfigError").__name__
    'ConfigError'
    """
    module_name, _, name = dotted.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted.split(".")):
        raise ConfigError(f"{dotted}: not an import path such as mylab.losses.Edges.")
    module = _import(module_name, dotted)
    if not hasattr(module, name):
        own = [n for n, found in vars(module).items() if getattr(found, "__module__", "") == module_name]
        public = [n for n in own if not n.startswith("_")]
        raise ConfigError(f"{dotted}: {module_name} has no '{name}'. {suggest(name, public)}")
    found: object = getattr(module, name)
    return found


def _import(module: str, dotted: str) -> object:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"{dotted}: {module} cannot be imported ({error}).") from error


@cache
def parameters(target: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Constructor arguments of a class (or arguments of a function) by name, annotations evaluated."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError as error:
        raise ConfigError(f"{target.__module__}.{target.__qualname__}: {error}.") from error
    return dict(signature.parameters)


def kinds(annotation: object) -> tuple[type, ...]:
    """The classes that an annotation such as `LatentSpace` or `Generator | None` names.

    >>> kinds(float | None)
    (<class 'float'>, <class 'NoneType'>)
    """
    return tuple(kind for kind in (get_args(annotation) or (annotation,)) if isinstance(kind, type))


def make(
    group: str,
    name: str,
    kind: type[Part],
    options: Mapping[str, object],
    key: str,
    handed: Mapping[str, object] = MappingProxyType({}),
) -> Part:
    """Build the part `name` of a group from its preset and options that override it.

    Args:
        group: the folder of presets, such as `term`.
        name: a preset's name or a dotted path.
        kind: the class that the part must have.
        options: constructor arguments; with a `_target_` of their own, no preset is read.
        key: where the options were given, for messages: `loss.options.lpips`.
        handed: constructor arguments that are parts, and so no options.

    Raises:
        ConfigError: an unknown preset, a target of another kind, an unknown key or a value of the wrong type.
    """
    target, settings = chosen(group, name, kind, options)
    known = {name: parameter for name, parameter in parameters(target).items() if name not in handed}
    for option in settings:
        if option not in known:
            raise ConfigError(f"{key}.{option}: no such key. {suggest(option, known)}")
    return target(**{k: typed(v, known[k].annotation, f"{key}.{k}") for k, v in settings.items()}, **handed)


def chosen(
    group: str, name: str, kind: type[Part], options: Mapping[str, object]
) -> tuple[Callable[..., Part], dict[str, Value]]:
    """The class of the part `name`, and its preset's settings under the options."""
    settings = {**({} if "_target_" in options else read_preset(group, name)), **cast(Mapping[str, Value], options)}
    return part_class(f"{group}={name}", str(settings.pop("_target_", "")), kind), settings


def part_class(key: str, dotted: str, kind: type[Part]) -> Callable[..., Part]:
    """The class of that kind, or the function that returns one, that a `_target_` names."""
    target = locate(dotted)
    made = inspect.signature(target, eval_str=True).return_annotation if inspect.isfunction(target) else target
    if not (inspect.isclass(made) and issubclass(made, kind)) or inspect.isabstract(target):
        raise ConfigError(f"{key}: {dotted} is not {article(kind.__name__)}.")
    return cast(Callable[..., Part], target)
