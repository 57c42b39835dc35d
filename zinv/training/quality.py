"""How good a prior is: against pictures; and of portraits, with the domain's own networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.data.portraits.parameters import ATTRIBUTES, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.data.sources import FIRST_SEED
from zinv.images import round_8bit
from zinv.networks.portraits import RESOLUTION, load_attributes, load_identity

NUM_WASSERSTEIN = 2048  # of 64 pixels; as much memory of larger ones
NUM_SAMPLES = 1000
PATCHES, PATCH, PROJECTIONS = 16, 7, 128

Sample: TypeAlias = Callable[[Tensor], Tensor]
"""z `(N, z_dim)` to images `(N, 3, R, R)`."""


def num_compared(resolution: int) -> int:
    """How many samples are compared with as many pictures.

    >>> num_compared(64), num_compared(256)
    (2048, 128)
    """
    return max(1, min(NUM_WASSERSTEIN, NUM_WASSERSTEIN * RESOLUTION**2 // resolution**2))


@torch.no_grad()
def picture_quality(sample: Sample, z_dim: int, real: Tensor) -> dict[str, float]:
    """Sliced Wasserstein distance of samples to half of the pictures, over that of the other half to it.

    Args:
        sample: the prior.
        z_dim: of its z.
        real: pictures `(N, 3, R, R)`.
    """
    num = max(1, len(real) // 2)
    fake, first, second = _drawn(sample, z_dim, num), real[:num], real[-num:]
    split_half = max(sliced_wasserstein(first, second), 1e-6)
    return {"swd_ratio": sliced_wasserstein(fake, first) / split_half, "swd_split_half": split_half}


@torch.no_grad()
def portrait_quality(sample: Sample, z_dim: int) -> dict[str, float]:
    """`picture_quality` on renders of the tune split, and how many persons and attributes the prior has."""
    real = tune_renders(2 * NUM_WASSERSTEIN, 0, RESOLUTION)
    fake, first = _drawn(sample, z_dim, NUM_SAMPLES), real[:NUM_SAMPLES]
    return picture_quality(sample, z_dim, real) | identity_figures(fake, first) | attribute_figures(fake, first)


def _drawn(sample: Sample, z_dim: int, num: int) -> Tensor:
    z = torch.randn(num, z_dim, generator=torch.Generator().manual_seed(2))
    return round_8bit(sample(z).float().cpu())


def tune_renders(num: int, start: int, resolution: int) -> Tensor:
    """Renders of the split on which settings are chosen, 8-bit rounded."""
    seeds = range(FIRST_SEED["tune"] + start, FIRST_SEED["tune"] + start + num)
    return round_8bit(render(sample_portraits(seeds), resolution))


def identity_figures(fake: Tensor, real: Tensor) -> dict[str, float]:
    """Mean pairwise cosine of identity vectors: higher than the renders' means fewer persons."""
    network = load_identity()
    cosines = {}
    for name, images in (("samples", fake), ("renders", real)):
        vectors = torch.cat([network(part) for part in images.split(100)])
        cosines[f"identity_cosine_{name}"] = float(
            (vectors.sum(0).square().sum() - len(vectors)) / (len(vectors) * (len(vectors) - 1))
        )
    return cosines


def attribute_figures(fake: Tensor, real: Tensor) -> dict[str, float]:
    """Standard deviation of each attribute over samples, as a share of the renders'."""
    network = load_attributes()
    a, b = (torch.cat([network(part) for part in images.split(100)]) for images in (fake, real))
    return {f"spread_{name}": float(a[:, i].std() / b[:, i].std()) for i, name in enumerate(ATTRIBUTES)}


def sliced_wasserstein(a: Tensor, b: Tensor, seed: int = 0) -> float:
    """Sliced Wasserstein distance of Laplacian-pyramid patches, averaged over levels (Karras et al. 2018, section 5).

    Args:
        a: `(N, 3, R, R)`.
        b: as many images.
        seed: of patches and projections.
    """
    levels = zip(_pyramid(a), _pyramid(b), strict=True)
    values = [_level_distance(x, y, seed + i) for i, (x, y) in enumerate(levels)]
    return sum(values) / len(values)


def _pyramid(images: Tensor) -> list[Tensor]:
    """Differences between an image and what half the resolution keeps of it, down to 16 pixels, and what is left."""
    scales = [images]
    while scales[-1].shape[-1] > 16:
        scales.append(F.avg_pool2d(scales[-1], 2))
    return [x - F.interpolate(y, scale_factor=2, mode="bilinear") for x, y in pairwise(scales)] + scales[-1:]


def _level_distance(a: Tensor, b: Tensor, seed: int) -> float:
    rng = torch.Generator().manual_seed(seed)
    directions = torch.randn(3 * PATCH**2, PROJECTIONS, generator=rng)
    directions = directions / directions.norm(dim=0)
    x, y = (_projected(images, directions, torch.Generator().manual_seed(seed)) for images in (a, b))
    return float((x - y).abs().mean()) * 1000


def _projected(images: Tensor, directions: Tensor, rng: torch.Generator) -> Tensor:
    """Sorted projections `(N * PATCHES, PROJECTIONS)` of random patches, each channel standardised."""
    num, _, side, _ = images.shape
    corners = torch.randint(0, side - PATCH + 1, (2, num, PATCHES), generator=rng)
    offsets = torch.arange(PATCH)
    rows = corners[0][..., None, None] + offsets[:, None]
    columns = corners[1][..., None, None] + offsets
    which = torch.arange(num)[:, None, None, None]
    patches = images.permute(0, 2, 3, 1)[which, rows, columns].reshape(-1, PATCH**2, 3)
    patches = (patches - patches.mean((0, 1))) / patches.std((0, 1))
    return (patches.flatten(1) @ directions).sort(0).values
