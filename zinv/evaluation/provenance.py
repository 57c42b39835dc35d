"""Where numbers come from: commit, uncommitted changes, versions, and a digest of the code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from zinv.evaluation.files import Json

PACKAGE: Final = Path(__file__).parent.parent
FROZEN: Final = "frozen.json"
"""Beside a copy of the package that a plan froze: commit and difference of the checkout that it was copied from."""
LIBRARIES: Final = ("zinv", "torch", "lightning", "torchmetrics", "numpy", "scipy", "pandas", "pillow", "safetensors")


def code_digest(modules: Iterable[str] = ()) -> str:
    """sha256 over the package's Python files, the named modules (dotted choices) and all of the packages they are in.

    >>> code_digest() == code_digest([]) != code_digest(["json"])
    True
    """
    total = hashlib.sha256(_package_digest().encode())
    for name in sorted({name.partition(".")[0] for name in modules}):
        for inside, path in _sources(name):
            total.update(f"{name}/{inside}".encode() + path.read_bytes())
    return total.hexdigest()


def _sources(name: str) -> Iterator[tuple[str, Path]]:
    """Python files of a module, or of a whole package by their places in it."""
    spec = importlib.util.find_spec(name)
    for folder in [Path(place) for place in (spec and spec.submodule_search_locations) or ()]:
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder)
            if not any(part.startswith(".") for part in inside.parts):
                yield inside.as_posix(), path
    if spec and not spec.submodule_search_locations and spec.origin and Path(spec.origin).is_file():
        yield "", Path(spec.origin)


@cache
def _package_digest() -> str:
    total = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def commit() -> str:
    """The commit of the checkout that the package runs from, `+changes` if files differ from it, or nothing."""
    if (copied := _frozen()) is not None:
        return copied["commit"]
    head = _git("rev-parse", "HEAD")
    changed = head and _git("status", "--porcelain", "--untracked-files=no")
    return f"{head}+changes" if changed else head


def uncommitted() -> str:
    """The difference of the checkout from its commit."""
    copied = _frozen()
    return _git("diff", "HEAD") if copied is None else copied["diff"]


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def start(code: str | None) -> dict[str, Json]:
    """What `run.json` keeps of one start of a run."""
    return {
        "command": list(sys.argv),
        "commit": commit(),
        "code": code,
        "diff": uncommitted(),
        "versions": versions(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _frozen() -> dict[str, str] | None:
    path = PACKAGE.parent / FROZEN
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _git(*arguments: str) -> str:
    if not (PACKAGE.parent / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
