"""What can be configured: the groups of parts, and each constructor's arguments as its schema."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from zinv.config.settings import LoaderSettings
from zinv.errors import ConfigError, suggest
from zinv.presets import kinds, locate, parameters, preset_folders, preset_names, read_yaml
from zinv.values import Value, article

PARTS: Final[dict[str, str]] = {
    "generator": "zinv.generators.base.Generator",
    "space": "zinv.spaces.base.LatentSpace",
    "method": "zinv.methods.base.Inverter",
    "segmentation": "zinv.segmentation.base.Segmentation",
    "loss": "zinv.losses.base.Loss",
    "data": "zinv.data.base.DataSource",
    "protocol": "zinv.metrics.protocol.Protocol",
    "direction": "zinv.editing.edits.Edits",
    "model": "zinv.training.base.Trainee",
    "trainer": "zinv.config.settings.TrainerSettings",
    "logger": "zinv.config.settings.LoggerSettings",
    "store": "zinv.config.settings.StoreSettings",
    "cluster": "zinv.config.settings.ClusterSettings",
    "term": "zinv.losses.base.LossTerm",
    "metric": "zinv.metrics.base.Metric",
}
"""The class that a choice of each group must be; named, so that composing imports only what is chosen."""

GROUPS: Final = tuple(group for group in PARTS if group not in ("term", "metric"))
RUN_GROUPS: Final = ("generator", "space", "method", "loss", "data", "protocol", "trainer", "logger", "store")
ON_REQUEST: Final = ("direction",)
"""Groups that a run has only if something is chosen for them."""
TRAIN_GROUPS: Final = ("model", "trainer", "logger")
OWN_PARTS: Final = ("segmentation",)
"""Groups whose choice belongs to one other part, and is built with it."""


class Members(NamedTuple):
    """Arguments of a group that hold parts of another: `names` lists or weighs them, `options` has their arguments."""

    names: str
    options: str
    group: str


MEMBERS: Final[dict[str, Members]] = {
    "loss": Members("terms", "options", "term"),
    "protocol": Members("metrics", "options", "metric"),
}
EXTRAS: Final[dict[str, type]] = {"data": LoaderSettings}
"""Settings that every choice of a group has beside its own."""


@dataclass(frozen=True)
class Argument:
    """An argument of a constructor. `default` is `inspect.Parameter.empty` where a value must be given."""

    name: str
    annotation: object
    default: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty


def settings(group: str, target: Callable[..., object]) -> dict[str, Argument]:
    """The arguments of a choice that a configuration sets, those that its group adds included."""
    own = {name: argument for name, argument in arguments(target).items() if is_plain(argument.annotation)}
    extra = arguments(EXTRAS[group]) if group in EXTRAS else {}
    return {**own, **{name: argument for name, argument in extra.items() if name not in own}}


def wired(target: Callable[..., object]) -> dict[str, Argument]:
    """The arguments of a choice that are parts, and so are handed over when it is built."""
    return {name: argument for name, argument in arguments(target).items() if not is_plain(argument.annotation)}


def arguments(target: Callable[..., object]) -> dict[str, Argument]:
    """All arguments of a class or function by name.

    >>> from zinv.config.settings import RunSettings
    >>> arguments(RunSettings)["seed"]
    Argument(name='seed', annotation=<class 'int'>, default=0)
    """
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: Argument(name, object if p.annotation is inspect.Parameter.empty else p.annotation, p.default)
        for name, p in parameters(target).items()
        if p.kind not in variadic
    }


def is_plain(annotation: object) -> bool:
    """Whether YAML can hold such a value: scalars, literals, lists and mappings of them.

    >>> is_plain(dict[str, float] | None), is_plain(LoaderSettings)
    (True, False)
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_plain(args[0])
    if origin is Literal:
        return True
    generic = isinstance(origin, type) and issubclass(origin, Sequence | Mapping)
    if origin in (Union, types.UnionType) or generic:
        return all(is_plain(arg) for arg in args if arg is not Ellipsis)
    return annotation in (Value, None, types.NoneType, bool, int, float, str, Path, object, Any, list, tuple, dict)


def part_group(annotation: object) -> str | None:
    """The group whose parts an annotation such as `LatentSpace` or `Generator | None` asks for."""
    return next((group for group in PARTS for kind in kinds(annotation) if is_a(kind, group)), None)


def is_a(kind: object, group: str) -> bool:
    """Whether a class is, or inherits from, the base class of a group."""
    return isinstance(kind, type) and any(f"{c.__module__}.{c.__qualname__}" == PARTS[group] for c in kind.__mro__)


def find_target(group: str, dotted: str, chosen: str) -> Callable[..., object]:
    """The class, or the function that returns one, behind a choice.

    Args:
        group: the group it must fit.
        dotted: its import path.
        chosen: how it was chosen, for messages: `space=mylab.zradius.ZRadius`.

    Raises:
        ConfigError: it cannot be imported, is of another kind or abstract.
    """
    try:
        target: Any = locate(dotted)
    except ConfigError as error:
        raise ConfigError(f"{chosen}: {str(error).removeprefix(f'{dotted}: ')}") from error
    kind = inspect.signature(target, eval_str=True).return_annotation if inspect.isfunction(target) else target
    if not is_a(kind, group):
        raise ConfigError(f"{chosen}: it is not {article(_base_name(group))}.")
    if inspect.isabstract(target):
        raise ConfigError(f"{chosen}: it is abstract; choose a class that inherits from it.")
    found: Callable[..., object] = target
    return found


def refuse_choice(group: str, name: str) -> ConfigError:
    """The error about a name that is no preset of the group: a class of another kind, or the nearest preset."""
    if name in _class_names(group):
        return ConfigError(f"{group}={name}: it is not {article(_base_name(group))}.")
    return ConfigError(f"{group}={name}: there is no such preset. {suggest(name, preset_names(group))}")


def _base_name(group: str) -> str:
    return PARTS[group].rpartition(".")[2]


def _class_names(without: str) -> set[str]:
    """Names of the classes of all groups but one, as a user may mistake them for a choice."""
    bases = {_base_name(group) for group in PARTS}
    others = [group for group in PARTS if group != without]
    paths = [path for folder in preset_folders() for group in others for path in (folder / group).glob("*.yaml")]
    targets: list[Value] = [read_yaml(path).get("_target_", "") for path in paths]
    return bases | {str(target).rpartition(".")[2] for target in targets}
