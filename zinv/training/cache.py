"""Pictures of a data source in 8-bit files, since drawing or decoding one can cost more than a training step."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError
from zinv.images import from_uint8, to_uint8

CHUNK = 500
PROBED = 4


class Cache:
    """The pictures of a source, in files of 500 under a folder, in the order of its ids.

    The folder is named by the source's origin and first pictures, so the files of another source, or of another
    renderer, are never read. A file appears by a rename and is never drawn again: a kill costs at most one, and
    several processes may draw.

    Args:
        source: the pictures, of a known resolution.
        parent: where such folders lie.
    """

    def __init__(self, source: DataSource, parent: Path) -> None:
        self.source = source
        self.folder = parent / f"renders-{_digest(source)}"

    def make(self, processes: int = 1) -> None:
        """Draw the files that are missing.

        Raises:
            DataError: pictures that cannot be used: how many, and why the first cannot.
        """
        missing = [start for start in range(0, len(self.source), CHUNK) if not self._has(start)]
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"drawing {sum(len(self._indices(start)) for start in missing)} pictures", file=sys.stderr, flush=True)
        files = track(
            self._drawn(missing, processes),
            "pictures",
            len(missing),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        failures = [reason for reasons in files for reason in reasons]
        if failures:
            raise DataError(f"{len(failures)} of {len(self.source)} pictures cannot be used, the first: {failures[0]}")

    def images(self, indices: Tensor) -> Tensor:
        """Images `(n, 3, R, R)` in [-1, 1]."""
        return from_uint8(torch.from_numpy(np.stack([self._chunks[i // CHUNK][i % CHUNK] for i in indices.tolist()])))

    @cached_property
    def _chunks(self) -> list[np.ndarray]:
        return [np.load(self._file(start), mmap_mode="r") for start in range(0, len(self.source), CHUNK)]

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:08d}.npy"

    def _indices(self, start: int) -> range:
        return range(start, min(start + CHUNK, len(self.source)))

    def _has(self, start: int) -> bool:
        """Whether a file is there, and holds enough: a smaller set's last one may not."""
        file = self._file(start)
        return file.is_file() and len(np.load(file, mmap_mode="r")) >= len(self._indices(start))

    def _drawn(self, missing: list[int], processes: int) -> Iterator[list[str]]:
        if processes > 1 and len(missing) > 1:
            with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
                yield from pool.map(self._draw, missing)
        else:
            yield from map(self._draw, missing)

    def _draw(self, start: int) -> list[str]:
        """Write a file; gives the reasons why it could not be."""
        try:
            pixels = to_uint8(self.source.images(self._indices(start)))
        except DataError:
            return [image.failure for image in map(self.source.__getitem__, self._indices(start)) if image.failure]
        temporary = self.folder / f".{start:08d}.{os.getpid()}"
        with open(temporary, "wb") as file:
            np.save(file, pixels.numpy())
            os.fsync(file.fileno())
        temporary.replace(self._file(start))
        return []


def _digest(source: DataSource) -> str:
    probe = to_uint8(source.images(range(min(PROBED, len(source))))).numpy().tobytes()
    return hashlib.sha256(source.origin().encode() + probe).hexdigest()[:8]
