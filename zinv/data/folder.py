"""A folder of picture files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from PIL import Image as pil
from torch import Tensor

from zinv.data.base import DataSource, check_range
from zinv.errors import DataError, suggest
from zinv.images import Resize, read_image, resize
from zinv.presets import preset_folders
from zinv.values import Count

MAX_ID_BYTES: Final = 100
END_BYTES: Final = 256
NUMBER: Final = re.compile(r"(\d+)")


class Folder(DataSource):
    """Pictures of a folder, in the order of their numbers and names. Every format that PIL reads.

    The id of a picture is its file name without the ending, made safe for file systems.

    Args:
        path: the folder.
        resolution: side R to which pictures are resized; None takes the generator's.
        resize: filter.
        crop: `center` cuts the largest middle square out; with `none` a picture that is not square fails.
        list: a file that names the pictures to use, one a line (name, name without ending, or number; `#` comments),
            as a path or beside the data presets.
        num: use only the first so many.
        recursive: look into folders inside it too.
        remark: a sentence on the pictures that is printed under every table.

    Raises:
        DataError: no such folder, no picture in it, two pictures with one id, or a listed one that is missing.
    """

    def __init__(
        self,
        path: str,
        resolution: Count | None = None,
        resize: Resize = "lanczos",
        crop: Literal["none", "center"] = "none",
        list: str | None = None,
        num: int | None = None,
        recursive: bool = False,
        remark: str = "",
    ) -> None:
        check_range(0, num)
        self.resolution, self.resize, self.crop, self.remark = resolution, resize, crop, remark
        files = pictures(os.path.expanduser(path), recursive)
        self.files = files if list is None else dict(chosen(files, list, path))
        self.ids = [*self.files][:num]

    def image(self, index: int) -> Tensor:
        """The picture, cropped if asked, resized to `(3, R, R)`."""
        picture = read_image(Path(self.files[self.ids[index]]))
        height, width = picture.shape[-2:]
        if height != width and self.crop == "none":
            name = os.path.basename(self.files[self.ids[index]])
            raise DataError(f"{name}: {width} x {height} is not square. Align it first, or set data.crop=center.")
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[:, top : top + side, left : left + side]
        return resize(square[None], self.resolution or side, self.resize)[0]

    def note(self, index: int) -> str:
        """Says so if the picture was enlarged."""
        with pil.open(self.files[self.ids[index]]) as picture:
            side = min(picture.size)
        return f"enlarged from {side} pixels" if self.resolution and side < self.resolution else ""

    def settings(self) -> str:
        """Filter, crop, and a digest of each file's size and end: other pictures of the same names are others."""
        ends = hashlib.sha256()
        for name in self.ids:
            ends.update(_end(self.files[name]))
        return f"{self.resize}:{self.crop}:{ends.hexdigest()}"


def pictures(path: str, recursive: bool = False) -> dict[str, str]:
    """Path of each picture in a folder by its id, in the order of numbers and names.

    Raises:
        DataError: no such folder, no picture in it, or two pictures with one id.
    """
    if not os.path.isdir(path):
        raise DataError(f"data.path={path}: there is no such folder.")
    found: dict[str, str] = {}
    for file in sorted(_files(path, _endings(), recursive), key=_natural):
        name = safe_id(os.path.splitext(os.path.basename(file))[0])
        if name in found:
            both = f"{os.path.relpath(found[name], path)} and {os.path.relpath(file, path)}"
            raise DataError(f"data.path={path}: {both} would both be named '{name}'. Rename one of them.")
        found[name] = file
    if not found:
        raise DataError(f"data.path={path}: there is no picture in this folder{_hint(path, recursive)}.")
    return found


def safe_id(stem: str) -> str:
    """A file name without its ending as an id: letters, digits, `.`, `_` and `-`, of bounded length.

    >>> safe_id("my photo (1)")
    'my_photo__1_'
    """
    name = re.sub(r"[^\w.-]", "_", stem).strip(".") or "_"
    if len(name.encode()) <= MAX_ID_BYTES:
        return name
    digest = hashlib.sha256(stem.encode()).hexdigest()[:16]
    return f"{name.encode()[: MAX_ID_BYTES - 17].decode(errors='ignore')}-{digest}"


def chosen(files: dict[str, str], list_file: str, path: str) -> Iterator[tuple[str, str]]:
    """The pictures that a list names, in its order.

    Raises:
        DataError: there is no such list, it is empty or names a picture twice, or a picture is missing.
    """
    by_name = {os.path.basename(file): name for name, file in files.items()} | {name: name for name in files}
    by_number = {int(name): name for name in reversed(files) if name.isdecimal()}
    seen: set[str] = set()
    for entry in read_list(list_file):
        number = Path(entry).stem
        found = by_name.get(entry) or by_name.get(safe_id(entry)) or by_name.get(safe_id(Path(entry).stem))
        name = found or (by_number.get(int(number)) if number.isdecimal() else None)
        if name is None:
            raise DataError(f"data.list={list_file}: {path} has no picture '{entry}'. {_nearest(entry, files)}")
        if name in seen:
            raise DataError(f"data.list={list_file}: '{entry}' is named twice.")
        seen.add(name)
        yield name, files[name]


def read_list(name: str) -> Sequence[str]:
    """Lines of a list file (a path, or a file beside the data presets) without comments.

    >>> len(read_list("celebahq50.txt"))
    50
    """
    places = [Path(name), *(folder / "data" / name for folder in preset_folders())]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"data.list={name}: there is no such file.")
    lines = (line.partition("#")[0].strip() for line in found.read_text(encoding="utf-8").splitlines())
    entries = [line for line in lines if line]
    if not entries:
        raise DataError(f"data.list={name}: it names no picture.")
    return entries


def _endings() -> frozenset[str]:
    return frozenset(ending for ending, kind in pil.registered_extensions().items() if kind in pil.OPEN)


def _files(path: str, endings: frozenset[str], recursive: bool) -> Iterator[str]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if recursive and entry.is_dir():
                yield from _files(entry.path, endings, recursive)
            elif os.path.splitext(entry.name)[1].lower() in endings and entry.is_file():
                yield entry.path


def _end(path: str) -> bytes:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES))
        return size.to_bytes(8, "little") + file.read()


def _natural(path: str) -> tuple[list[str | int], str]:
    parts: list[str | int] = [*NUMBER.split(path)]
    parts[1::2] = map(int, parts[1::2])
    return parts, path


def _hint(path: str, recursive: bool) -> str:
    inside = not recursive and any(entry.is_dir() for entry in os.scandir(path))
    return "; data.recursive=true looks into the folders inside it" if inside else ""


def _nearest(entry: str, files: dict[str, str]) -> str:
    return suggest(entry, files) if len(files) <= 20 else f"It has {len(files)} others."
