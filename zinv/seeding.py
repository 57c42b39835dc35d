"""One random generator an image, seeded by (seed, image id), so that no draw depends on batch, order or device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

Rngs = Sequence[torch.Generator]


def image_rng(seed: int, image_id: str) -> torch.Generator:
    """The CPU generator of one image.

    >>> a, b = image_rng(0, "ada"), image_rng(0, "ada")
    >>> torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=b))
    True
    """
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def image_rngs(seed: int, image_ids: Sequence[str]) -> list[torch.Generator]:
    """`image_rng` of each image of a batch."""
    return [image_rng(seed, image_id) for image_id in image_ids]


def randn(shape: Sequence[int], rngs: Rngs) -> Tensor:
    """Standard normal `(N, *shape)` float32 on the CPU, row i from `rngs[i]`."""
    if not rngs:
        return torch.empty(0, *shape)
    return torch.stack([torch.randn(tuple(shape), generator=rng) for rng in rngs])
