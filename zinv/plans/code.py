"""The code of a plan: zinv's source and the user's own modules, copied so that later edits change no job."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from zinv.evaluation import provenance
from zinv.evaluation.files import to_json

KEPT: Final = (".py", ".pyi", ".yaml", ".yml", ".json", ".txt", ".csv", ".typed")
LIMIT: Final = 1 << 20
"""Larger files of the user's own modules are data, and not copied."""


def freeze(folder: Path, modules: Iterable[str]) -> None:
    """Copy zinv, its presets, and the user's own modules into a folder that Python can run them from.

    Weight files that zinv ships are linked, not copied: a job names them by their content.

    Args:
        folder: new.
        modules: dotted modules of the user's choices; those of the working folder that they import come along.
    """
    package = provenance.PACKAGE
    _copy_tree(package, folder / "zinv")
    if assets := package_assets():
        os.symlink(assets, folder / "zinv" / "assets")
    for kind in ("configs", "experiments"):
        if not (package / kind).is_dir() and (package.parent / kind).is_dir():
            _copy_tree(package.parent / kind, folder / kind)
    for name, origin in sorted(_own(modules)):
        _copy_module(name, origin, folder)
    facts = {"commit": provenance.commit(), "diff": provenance.uncommitted(), "from": str(package)}
    (folder / provenance.FROZEN).write_text(to_json(facts), encoding="utf-8")


def digest(modules: Iterable[str]) -> str:
    """sha256 over all that `freeze` would copy beside zinv."""
    total = hashlib.sha256(provenance.code_digest().encode())
    for name, origin in sorted(_own(modules)):
        for inside, path in _kept(origin) if origin.is_dir() else [(Path(origin.name), origin)]:
            total.update(f"{name}/{inside.as_posix()}".encode() + path.read_bytes())
    return total.hexdigest()


def package_assets() -> Path | None:
    """The weight files that this zinv ships."""
    path = (provenance.PACKAGE / "assets").resolve()
    return path if path.is_dir() else None


def environment(folder: Path) -> dict[str, str]:
    """Environment variables under which Python takes a plan's code before that of the working folder."""
    before = os.environ.get("PYTHONPATH", "")
    return {
        "PYTHONPATH": os.pathsep.join([str(folder.resolve()), *([before] if before else [])]),
        "PYTHONSAFEPATH": "1",
    }


def frozen_from(folder: Path) -> str:
    """Where a plan's code was copied from."""
    return str(json.loads((folder / provenance.FROZEN).read_text(encoding="utf-8"))["from"])


def _own(modules: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Top-level modules to copy, each with its file or folder: chosen ones, and loaded ones of the working folder."""
    chosen = {name.partition(".")[0] for name in modules}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or "." in name or name in ("zinv", "__main__", "__mp_main__"):
            continue
        path = Path(file)
        if name in chosen or (_is_here(path) and path.suffix == ".py"):
            yield name, path.parent if path.name == "__init__.py" else path
    namespaces = {name: _namespace(name) for name in chosen}
    yield from ((name, path) for name, path in namespaces.items() if path)


def _namespace(name: str) -> Path | None:
    """The folder of a package without `__init__.py`."""
    module = sys.modules[name]
    places = list(getattr(module, "__path__", ())) if getattr(module, "__file__", None) is None else []
    return Path(places[0]) if places else None


def _is_here(path: Path) -> bool:
    here = Path.cwd().resolve()
    return path.resolve().is_relative_to(here) and "site-packages" not in path.parts and "tests" not in path.parts


def _copy_module(name: str, origin: Path, folder: Path) -> None:
    if origin.is_dir():
        _copy_tree(origin, folder / name)
    else:
        shutil.copy2(origin, folder / origin.name)


def _copy_tree(origin: Path, target: Path) -> None:
    for inside, path in _kept(origin):
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / inside)


def _kept(origin: Path) -> Iterator[tuple[Path, Path]]:
    """Files of a folder that are copied, by their places in it."""
    for path in sorted(origin.rglob("*")):
        inside = path.relative_to(origin)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if hidden or inside.parts[0] == "assets" or not path.is_file():
            continue
        if path.suffix in KEPT and path.stat().st_size <= LIMIT:
            yield inside, path
