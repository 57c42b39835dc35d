"""Renders of the portraits domain, drawn once into 8-bit files, since drawing costs more than a training step."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zinv.data.portraits.parameters import Portraits, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.data.sources import FIRST_SEED, Split
from zinv.images import from_uint8, to_uint8

CHUNK = 500


class Renders:
    """`num` portraits of `num // per_identity` persons, in files of 500 under a folder.

    Image i shows person `i // per_identity` and has seed `first + i`. The folder is named by what decides its pixels,
    a render of the first seed included, so another renderer's files are never read; a file that is there is never
    drawn again, so a kill costs at most one.

    Args:
        cache: where such folders lie.
        num: images.
        per_identity: images of each person.
        split: whose seeds.
        start: first image of the split, and first person.
        resolution: side of the pictures.
    """

    def __init__(
        self,
        cache: Path,
        num: int,
        per_identity: int = 1,
        split: Split = "train",
        start: int = 0,
        resolution: int = 64,
    ) -> None:
        self.num, self.per_identity, self.resolution = num, per_identity, resolution
        self.first = FIRST_SEED[split] + start
        self.folder = cache / f"renders-{self._digest()}"

    def __len__(self) -> int:
        """Number of images."""
        return self.num

    def make(self, processes: int = 1) -> None:
        """Draw the files that are missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [start for start in range(0, self.num, CHUNK) if not self._file(start).is_file()]
        if processes > 1 and len(missing) > 1:
            with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
                list(pool.map(self._draw, missing))
        else:
            for start in missing:
                self._draw(start)

    def images(self, indices: Tensor) -> Tensor:
        """Images `(n, 3, R, R)` in [-1, 1]."""
        return from_uint8(torch.from_numpy(np.stack([self._chunks[i // CHUNK][i % CHUNK] for i in indices.tolist()])))

    @cached_property
    def identity(self) -> Tensor:
        """Identity parameters `(num, I)`."""
        return self.truth.identity

    @cached_property
    def attributes(self) -> Tensor:
        """Attribute parameters `(num, A)`."""
        return self.truth.attributes

    @cached_property
    def truth(self) -> Portraits:
        """Parameters of all portraits."""
        return self._portraits(0, self.num)

    @cached_property
    def _chunks(self) -> list[np.ndarray]:
        return [np.load(self._file(start), mmap_mode="r") for start in range(0, self.num, CHUNK)]

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:08d}.npy"

    def _portraits(self, start: int, stop: int) -> Portraits:
        places = range(start, stop)
        return sample_portraits([self.first + i for i in places], [self.first + i // self.per_identity for i in places])

    def _draw(self, start: int) -> None:
        pixels = to_uint8(render(self._portraits(start, min(start + CHUNK, self.num)), self.resolution)).numpy()
        temporary = self.folder / f".{start:08d}.{os.getpid()}.npy"
        np.save(temporary, pixels)
        temporary.replace(self._file(start))

    def _digest(self) -> str:
        probe = to_uint8(render(self._portraits(0, 4), self.resolution)).numpy().tobytes()
        words = json.dumps([self.first, self.per_identity, self.resolution])
        return hashlib.sha256(words.encode() + probe).hexdigest()[:8]


def degrade(images: Tensor, rng: torch.Generator) -> Tensor:
    """Half of the images softened or noisy, as reconstructions are; `(N, 3, R, R)` in [-1, 1]."""
    num = len(images)
    soft = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    amount = torch.rand(num, 3, 1, 1, 1, generator=rng).unbind(1)
    mixed = torch.lerp(images, soft, (2 * amount[0] - 1).clamp(min=0))
    noise = torch.randn(images.shape, generator=rng) * 0.1 * (2 * amount[1] - 1).clamp(min=0)
    return (mixed * (0.9 + 0.2 * amount[2]) + noise).clamp(-1, 1)
