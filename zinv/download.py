"""One file from its origin: it goes on where it stopped, is checked, and appears by one rename."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Final, TextIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from zinv import __version__
from zinv.errors import WeightsError
from zinv.published import PublishedFile
from zinv.weights import sha256

CHUNK: Final = 1 << 20
TIMEOUT: Final = 30.0
LOG_SECONDS: Final = 10.0


def download(file: PublishedFile, folder: Path, stream: TextIO | None = None) -> Path:
    """Fetch a file into a folder. What came before a stop is kept in `.NAME.part`, from which the next call goes on.

    Args:
        file: what to fetch.
        folder: where to; made if it is not there.
        stream: where progress is shown; a terminal gets a bar.

    Returns:
        The file. Where its publisher names no digest, the one that it came with is in `NAME.sha256` beside it.

    Raises:
        WeightsError: its origin cannot be reached, stops or answers with something else; no space; another process
            fetches it; it has not the digest that it should.
    """
    target, part = folder / file.name, folder / f".{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(part) as kept:
            _receive(file, kept, Validator(part), stream or sys.stderr)
            _check(file, part)
            if file.sha256 is None:
                target.with_name(f"{target.name}.sha256").write_text(f"{sha256(part)}  {target.name}\n", "utf-8")
            part.replace(target)
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise WeightsError(_unreachable(file, folder, error)) from error
    except OSError as error:
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error}).") from error
    return target


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """The kept part, opened to append, for one process at a time."""
    with part.open("ab") as kept:
        try:
            fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WeightsError(f"{part}: another process is fetching this file.") from error
        except OSError:
            pass  # a file system without locks
        if not (part.exists() and os.path.samestat(os.fstat(kept.fileno()), part.stat())):
            raise WeightsError(f"{part}: another process has just fetched this file.")
        try:
            yield kept
        finally:
            kept.flush()
            if part.exists() and part.stat().st_size == 0:
                part.unlink()
            if not part.exists():
                Validator(part).forget()


class Validator:
    """By which its origin tells whether the rest still belongs to a kept part: an ETag or a date."""

    def __init__(self, part: Path) -> None:
        self.path = part.with_suffix(".validator")

    def read(self) -> str | None:
        """What the origin said when the part was begun."""
        return self.path.read_text(encoding="utf-8") if self.path.is_file() else None

    def keep(self, headers: Message) -> None:
        """Note it, or that there is none; a weak ETag is none."""
        said = headers.get("ETag", "W/")
        value = headers.get("Last-Modified") if said.startswith("W/") else said
        self.forget()
        if value:
            self.path.write_text(value, encoding="utf-8")

    def forget(self) -> None:
        """There is no part any more, or a new one."""
        self.path.unlink(missing_ok=True)


def _receive(file: PublishedFile, kept: IO[bytes], validator: Validator, stream: TextIO) -> None:
    """Append what is missing; start over where nothing says that the kept part still fits."""
    known = validator.read()
    if file.sha256 is None and known is None:
        kept.truncate(0)
    start = os.fstat(kept.fileno()).st_size
    if start and start == file.size:
        return
    headers = {"User-Agent": f"zinv/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": known} if known else {})
    try:
        with urlopen(Request(file.url, headers=headers), timeout=TIMEOUT) as answer:
            _append(file, kept, start, answer, validator, stream)
    except HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] != str(start):
            kept.truncate(0)
            _receive(file, kept, validator, stream)


def _append(
    file: PublishedFile,
    kept: IO[bytes],
    start: int,
    answer: http.client.HTTPResponse,
    validator: Validator,
    stream: TextIO,
) -> None:
    if answer.headers.get_content_type() == "text/html":
        raise WeightsError(f"{file.url}: answered with a web page instead of {file.name}; {_by_hand(file)}.")
    if answer.status != http.client.PARTIAL_CONTENT:
        kept.truncate(0)
        start = 0
        validator.keep(answer.headers)
    elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise ConnectionError(f"it sent another part than the one from {start} on")
    length = answer.headers.get("Content-Length")
    total = start + int(length) if length else None
    _check_total(file, Path(kept.name), start, total)
    done = start
    with _progress(file.name, start, total or file.size, stream) as show:
        while chunk := answer.read(CHUNK):
            kept.write(chunk)
            done += len(chunk)
            show(done)
    kept.flush()
    os.fsync(kept.fileno())
    if total is not None and done < total:
        raise ConnectionError(f"stopped at {size_text(done)} of {size_text(total)}, which are kept")


@contextmanager
def _progress(name: str, start: int, total: int | None, stream: TextIO) -> Iterator[Callable[[int], None]]:
    """Shows the bytes that are there: a bar on a terminal, a line now and then in a log."""
    if stream.isatty():
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=stream), transient=True) as bar:
            task = bar.add_task(name, total=total, completed=start)
            yield lambda done: bar.update(task, completed=done)
        return
    told, whole = time.monotonic(), size_text(total) if total else "unknown size"

    def tell(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= LOG_SECONDS:
            told = time.monotonic()
            print(f"{name}: {size_text(done)} of {whole}", file=stream, flush=True)

    yield tell


def _check_total(file: PublishedFile, part: Path, start: int, total: int | None) -> None:
    if total is not None and file.size is not None and total != file.size:
        raise WeightsError(f"{file.url}: has {size_text(total)}, not the {size_text(file.size)} of {file.name}.")
    needed, free = (total or file.size or 0) - start, shutil.disk_usage(part.parent).free
    if needed > free:
        raise WeightsError(f"{part.parent}: {size_text(needed)} are needed, {size_text(free)} are free.")


def _check(file: PublishedFile, part: Path) -> None:
    found = sha256(part)
    if file.sha256 is not None and found != file.sha256:
        part.unlink()
        raise WeightsError(
            f"{file.name}: what {file.url} sent has sha256 {found[:8]}…, not {file.sha256[:8]}…; it was deleted."
        )


def _unreachable(file: PublishedFile, folder: Path, error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    words = getattr(reason, "strerror", None) or " ".join(str(reason).split()) or type(error).__name__
    return (
        f"{file.name}: {file.url} cannot be fetched ({words}). The same command goes on from what came; without a "
        f"network, {_by_hand(file)}, and put it into {folder}."
    )


def _by_hand(file: PublishedFile) -> str:
    digest = f"sha256 {file.sha256}" if file.sha256 else "sha256 unknown"
    return f"get {file.name} ({digest}) from there on another machine"


def size_text(size: int | None) -> str:
    """Bytes in words.

    >>> size_text(381_624_121), size_text(2808), size_text(None)
    ('381.6 MB', '2.8 kB', 'size unknown')
    """
    if size is None:
        return "size unknown"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
