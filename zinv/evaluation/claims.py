"""Who does which image: claims that expire, so that runs of the same thing share it and none is lost with its claimer.

A claim is a file `claims/<image>.<n>` that can be made once (`O_EXCL`); it names its owner. If an owner is gone, the
next one makes `<image>.<n + 1>`, which again only one can. No claim is ever taken away from under another process. `n`
says how often the image was begun and not ended.

An owner lives as long as the count in its file `owners/<owner>` grows. Who waits measures that by its own monotonic
clock: no clock of another machine or of the file system is ever compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zinv.errors import ConfigError
from zinv.evaluation.files import Json, alive, clear_errors, replace_text, to_json

LEASE: Final = 60.0
"""Seconds without a sign of life after which an owner is taken to be gone; `ZINV_LEASE` sets others."""
BEATS: Final = 6
"""Signs of life in a lease."""


def lease_seconds() -> float:
    """Of this process.

    Raises:
        ConfigError: `ZINV_LEASE` is no positive number.
    """
    text = os.environ.get("ZINV_LEASE", "")
    try:
        seconds = float(text or LEASE)
    except ValueError:
        seconds = -1.0
    if seconds <= 0:
        raise ConfigError(f"ZINV_LEASE={text}: not a float above 0.")
    return seconds


def here() -> dict[str, Json]:
    """What tells this process from all others: host, boot, process name space, number and time of start."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _place(), "began": _began(os.getpid())}


class Heart:
    """A file whose count grows while this process lives; whoever reads it learns what the process says of itself.

    Args:
        path: the file; its folder is made.
        facts: what it says.
        seconds: between beats.
    """

    def __init__(self, path: Path, facts: dict[str, Json] | None = None, seconds: float | None = None) -> None:
        self.path, self.seconds = path, seconds or lease_seconds() / BEATS
        self.facts: dict[str, Json] = {**here(), **(facts or {})}
        self.started = time.monotonic()
        self.count, self.lock, self.stopped = 0, threading.Lock(), threading.Event()

    def __enter__(self) -> Heart:
        """Begin to beat."""
        with clear_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say that it has ended."""
        self.stopped.set()
        self.tell(ended=True)

    def tell(self, **facts: Json) -> None:
        """Change what the file says, now."""
        with self.lock:
            self.facts |= facts
        with contextlib.suppress(OSError):  # a full disk stops no work; the work finds out by itself
            self._write()

    def _beat(self) -> None:
        while not self.stopped.wait(self.seconds):
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        with self.lock:
            self.count += 1
            replace_text(self.path, to_json({**self.facts, "count": self.count, "seconds": self._seconds()}))

    def _seconds(self) -> float:
        return round(time.monotonic() - self.started, 1)


@dataclass
class _Seen:
    """The last count of an owner, and when it was first seen by this process's clock."""

    count: int
    since: float


class Watcher:
    """Tells owners that live from those that are gone.

    Args:
        folder: of the owners' files.
        seconds: of the lease.
    """

    def __init__(self, folder: Path, seconds: float | None = None) -> None:
        self.folder, self.seconds = folder, seconds or lease_seconds()
        self.seen: dict[str, _Seen] = {}

    def lives(self, owner: str) -> bool:
        """Whether an owner may still be at work; what cannot be read counts as one that gives no sign."""
        facts = self._read(owner)
        if facts.get("ended") or is_dead_here(facts):
            return False
        count, now = int(facts.get("count", -1)), time.monotonic()  # type: ignore[arg-type]
        seen = self.seen.get(owner)
        if seen is None or seen.count != count:
            self.seen[owner] = _Seen(count, now)
            return True
        return now - seen.since <= self.seconds

    def _read(self, owner: str) -> dict[str, Json]:
        try:
            content = json.loads((self.folder / owner).read_text(encoding="utf-8")) if owner else {}
            return content if isinstance(content, dict) else {}
        except (OSError, ValueError):
            return {}


class Claims:
    """The claims of this process in a run folder; its DataLoader's processes may share them.

    Args:
        run: the run folder.
        seconds: of the lease.
    """

    def __init__(self, run: Path, seconds: float | None = None) -> None:
        self.folder, self.owners = run / "claims", run / "owners"
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.seconds = seconds or lease_seconds()
        self.watcher = Watcher(self.owners, self.seconds)

    @contextlib.contextmanager
    def held(self, **facts: Json) -> Iterator[Heart]:
        """While this runs, the process lives for the others; afterwards what it has not finished is free."""
        with clear_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with Heart(self.owners / self.owner, facts, self.seconds / BEATS) as heart:
            yield heart

    def take(self, name: str) -> int | None:
        """Claim an image.

        Returns:
            How often it was begun before; None if somebody who lives has it, or was faster.

        Raises:
            StoreError: the folder cannot be written.
        """
        number, owner = self._last(name)
        if owner is not None and self.watcher.lives(owner):
            return None
        with clear_errors(self.folder):
            try:
                handle = os.open(self._path(name, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                return None
            with os.fdopen(handle, "w") as file:
                file.write(self.owner)
        return number

    def clear(self, names: set[str]) -> None:
        """Forget the claims on finished images, and the owners that have ended and claim nothing else.

        A claim whose owner has no file is one that gives no sign: who wants its image would wait for the lease's end.
        """
        claimers = set[str]()
        for entry in _entries(self.folder):
            if entry.rpartition(".")[0] in names:
                (self.folder / entry).unlink(missing_ok=True)
            else:
                claimers.add(_text(self.folder / entry))
        for owner in _entries(self.owners):
            if not owner.startswith(".") and owner not in claimers and not self.watcher.lives(owner):
                (self.owners / owner).unlink(missing_ok=True)

    def _last(self, name: str) -> tuple[int, str | None]:
        """The number of the next claim on an image, and the owner of the last one, if there is one.

        A claim whose owner is not written yet stands for itself: each of these has a lease of its own.
        """
        number, owner = 0, None
        while True:
            try:
                path = self._path(name, number)
                owner = path.read_text(encoding="utf-8").strip() or path.name
            except FileNotFoundError:
                return number, owner
            number += 1

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _entries(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def is_dead_here(facts: dict[str, Json]) -> bool:
    """Whether what a heart wrote is of a process of this very machine and name space, and that process is no more."""
    if not facts or facts.get("place") != _place() or facts.get("host") != socket.gethostname():
        return False
    pid = int(facts["pid"])  # type: ignore[arg-type]
    return not alive(pid) or _began(pid) != facts.get("began")


def _place() -> str:
    """Boot and process name space, where the system tells them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"unknown {uuid.getnode()}"


def _began(pid: int) -> str:
    """When a process began, in ticks since boot: a number that comes again is told from it. Nothing if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
