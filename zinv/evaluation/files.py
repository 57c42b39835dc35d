"""Files that are whole or absent: written beside their place, then renamed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias, cast

from safetensors import SafetensorError

from zinv.errors import StoreError

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"
STALE_SECONDS: Final = 24 * 3600
SWEPT: Final = ("", "images", "failed", "owners", "edits")
"""Folders of a run in which a process that dies may leave a temporary file."""


def replace_text(path: Path, text: str, place: Path | None = None) -> None:
    """Write a text file by a temporary name and a rename.

    Args:
        path: of the file.
        text: its content.
        place: where the temporary file is, to be swept if the process dies; beside the file by default.
    """
    name = f".tmp-{path.name}-{threading.get_ident()}-{socket.gethostname()}-{os.getpid()}"
    temporary = (place or path.parent) / name
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(content: Json) -> str:
    """JSON text, the same for the same content."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"


def read_json(path: Path, *keys: str) -> dict[str, Json]:
    """A JSON mapping that has these keys.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable ({error}).") from error
    lacking = [key for key in keys if not isinstance(content, dict) or key not in content]
    if lacking or not isinstance(content, dict):
        raise StoreError(f"{path}: not readable ({f'it has no {lacking[0]}' if lacking else 'no mapping'}).")
    return cast(dict[str, Json], content)


def names(folder: Path) -> list[str]:
    """Names in a folder, without reading anything of the entries."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new hidden folder, gone afterwards unless it was renamed; its name says which process writes it."""
    folder = parent / f".tmp-{name}-{socket.gethostname()}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Delete the temporary files and folders of processes that died: on this host, or a day ago on any."""
    for path in parent.glob(".tmp-*"):
        start, _, pid = path.name.rpartition("-")
        dead = start.endswith(f"-{socket.gethostname()}") and pid.isdecimal() and not alive(int(pid))
        with suppress(OSError):  # another process may be sweeping too
            if dead or path.stat().st_mtime < time.time() - STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def alive(pid: int) -> bool:
    """Whether a process of this host runs.

    >>> alive(os.getpid())
    True
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sync(folder: Path) -> None:
    """Force a folder's files and entries to disk."""
    for path in (*folder.iterdir(), folder):
        sync_entry(path)


def sync_entry(path: Path) -> None:
    """Force one file, or a folder's list of entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Delete a folder, at once under its name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.{os.getpid()}")
        path.rename(doomed)
        shutil.rmtree(doomed)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, where the file system has locks; a lock goes with its process."""
    with path.open("ab") as file:
        with suppress(OSError):  # no lock manager: what is written inside is whole all the same
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """A full disk or a missing permission as one line about the run in `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        message = f"{path}: cannot write ({reason}). Finished images are safe; the same command continues."
        raise StoreError(message) from error
