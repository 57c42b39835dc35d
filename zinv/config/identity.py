"""What names a run: its resolved configuration, with weight files counted by their content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

from zinv.config.compose import Config
from zinv.config.files import is_file, is_weights
from zinv.config.schema import MEMBERS, PARTS, find_target, settings
from zinv.config.settings import DRAWS, ENCODER
from zinv.errors import StoreError, suggest
from zinv.values import Value

NOT_COUNTED: Final[dict[str, tuple[str, ...]]] = {
    "generator": ("check",),
    "method": ("images_at_once", "memory"),
    "data": ("path", "list", "num", "start", "remark", "batch_size", "num_workers"),
    "model": ("num_workers", "renders", "processes"),
}
"""Settings that name no run: where images lie, which (more extend a run), what is said of them, how many at once."""

LATER: Final[dict[str, dict[str, Value]]] = {
    "method": {"schedule": "constant", "optimiser": "adam", "precondition": "none"},
}
"""Settings that count where they are not these, so that runs from before there were any keep their names."""


UNMOVING: Final = ("trainer", "logger", "store", "protocol", "direction")
"""Groups that move no number of an inversion."""


def identity(config: Config) -> dict[str, Any]:
    """What moves a number of a run: parts by class and settings, weights by sha256, seed and precision.

    Not counted: the run's name, folder and trace, paths, number of images, loading, edits, and the groups `UNMOVING`.

    Raises:
        WeightsError: a weight file that is not there.
    """
    counted = [group for group in PARTS if group in config and group not in UNMOVING]
    parts = {group: _content(group, config[group], group) for group in counted}
    parent = {"start": start_identity(config["start"])} if config.get("start") else {}
    return {"seed": config["seed"], "precision": config["trainer"]["precision"], **parts, **parent}


def start_identity(start: str) -> str:
    """What counts of a start: the identity of the run, or the encoder's file; `encoder` finds one when it is built.

    Raises:
        StoreError: it is neither.
    """
    if start == ENCODER:
        return start
    if not is_encoder(start):
        return digest(parent_identity(start))
    from zinv.weights import content_sha256

    return f"sha256:{content_sha256(start)}"


def is_encoder(start: str) -> bool:
    """Whether a start is an encoder's code: the word, or a weight file."""
    if start == ENCODER or Path(start).is_dir():
        return start == ENCODER
    from zinv.weights import locate

    return locate(start) is not None


def parent_identity(folder: str, key: str = "start") -> dict[str, Any]:
    """The identity of the run that `start=`, or another key, names.

    Raises:
        StoreError: there is none in this folder.
    """
    path = Path(folder) / "run.json"
    if not path.is_file() and (Path(folder).is_dir() or key != "start"):
        raise StoreError(f"{key}={folder}: there is no run in this folder (run.json is missing).")
    if not path.is_file():
        known = suggest(folder, (*DRAWS, ENCODER))
        raise StoreError(f"start={folder}: neither the folder of a run, an encoder's weights nor a start. {known}")
    return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8"))["identity"])


def digest(content: Mapping[str, Any]) -> str:
    """Digest of an identity."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def run_id(config: Config, **more: str) -> str:
    """Eight hexadecimal digits of the identity, and of what else counts."""
    return digest({**identity(config), **more})[:8]


def slug(config: Config) -> str:
    """A readable name of what a run is made of, such as `bdinvert-zplus-portraits`.

    A run that starts from another adds its method to that one's name: `bdinvert-zplus-portraits-pti`.
    """
    if config.get("start"):
        return f"{_start_name(config)}-{short_name(config['method'])}"
    groups = [group for group in ("model", "method", "space", "generator") if group in config]
    return "-".join(short_name(config[group]) for group in groups)


def _start_name(config: Config) -> str:
    if is_encoder(config["start"]):
        return "-".join([ENCODER, *(short_name(config[group]) for group in ("space", "generator"))])
    return Path(config["start"]).resolve().parent.name


def run_folder(config: Config) -> Path:
    """Where a run keeps its files: `runs/<slug>/<8 hex>`."""
    return Path(config["runs"]) / slug(config) / run_id(config)


def short_name(entry: Mapping[str, Any]) -> str:
    """A choice as a word: the preset's name, or the class's in lower case.

    >>> short_name({"_name_": "mylab.zradius.ZRadius"})
    'zradius'
    """
    return re.sub(r"\W+", "_", str(entry["_name_"]).rpartition(".")[2].lower())


def _content(group: str, entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    target = find_target(group, entry["_target_"], key)
    known = settings(group, target)
    members = MEMBERS.get(group)
    content: dict[str, Any] = {"_target_": entry["_target_"]}
    for name, argument in known.items():
        if members and name == members.options and members.names in known:
            content[name] = {k: _content(members.group, v, f"{key}.{name}.{k}") for k, v in entry[name].items()}
        elif name not in NOT_COUNTED.get(group, ()) and (name, entry[name]) not in LATER.get(group, {}).items():
            content[name] = _counted(entry[name], argument.annotation)
    return content


def _counted(value: Value, annotation: object) -> Value:
    """The value, or the digest of the file, folder or runs that it names."""
    if "runs" in get_args(annotation)[1:] and isinstance(value, list):
        return sorted(digest(parent_identity(str(run), "model.runs")) for run in value)
    if "content" in get_args(annotation)[1:] and Path(str(value)).expanduser().is_dir():
        from zinv.weights import content_sha256

        return f"sha256:{content_sha256(str(Path(str(value)).expanduser()))}"
    if not is_weights(annotation):
        return value
    if isinstance(value, Mapping):
        return {name: _counted(part, annotation) for name, part in value.items()}
    if isinstance(value, list):
        return [_counted(part, annotation) for part in value]
    if not is_file(value, annotation):
        return value
    from zinv.weights import content_sha256

    return f"sha256:{content_sha256(str(value))}"
