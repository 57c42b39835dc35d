"""Which layer holds which part of a picture: from segments and invertibility maps to masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zinv.generators.base import Generator


@dataclass(frozen=True)
class Layers:
    """The layers of a batch.

    Attributes:
        masks: `(N, 1, h, w)` of each point.
        maps: what is stored of the choice: segments, predicted maps, chosen layers, and the masks under `mask/`.
        facts: shares of pixels by layer, and 1 in `degenerate` where one has all.
        notes: what the reader should know, by an image's index.
    """

    masks: Mapping[str, Tensor]
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)


CODE: Final = "code"
SHARE: Final = "share_"


def assign(labels: Tensor, maps: Tensor, threshold: float, points: Sequence[str], soft: bool = False) -> Layers:
    """The layers of a batch by its segments and predicted maps, on the CPU.

    Args:
        labels: `(N, H, W)`, from 0 on.
        maps: `(N, 1 + points, h, w)`, of the code and of each point.
        threshold: tau.
        points: lowest first.
        soft: masks as the released code shrinks them.
    """
    names = [CODE, *points]
    full = F.interpolate(maps, labels.shape[-2:], mode="bilinear", align_corners=False)
    means = [segment_means(*pair) for pair in zip(labels, full, strict=True)]
    chosen = torch.stack([choose(x, threshold)[label] for x, label in zip(means, labels, strict=True)])
    parts = torch.stack([shares(x, len(names)) for x in chosen])
    shrink = soft_masks if soft else binary_masks
    masks = {
        point: torch.stack([shrink(x, len(names), side_of(point))[i : i + 1] for x in chosen]).to(maps.dtype)
        for i, point in enumerate(points, 1)
    }
    stored = {"segments": labels.to(torch.int16), "invertibility": maps.half(), "layers": chosen.to(torch.uint8)}
    facts = {f"{SHARE}{name}": parts[:, i] for i, name in enumerate(names)}
    said = [choice_note(x, threshold, part, names) for x, part in zip(means, parts, strict=True)]
    return Layers(
        masks,
        stored | {f"mask/{point}": mask for point, mask in masks.items()},
        facts | {"degenerate": (parts == 1).any(1).float()},
        {i: note for i, note in enumerate(said) if note},
    )


def one_layer(num: int, points: Sequence[str], like: Tensor) -> Layers:
    """Masks of ones for `num` images: each point takes the whole picture, as in a single-space inversion."""
    masks = {point: like.new_ones(num, 1, side_of(point), side_of(point)) for point in points}
    return Layers(masks, {f"mask/{point}": mask for point, mask in masks.items()})


def default_points(generator: Generator) -> list[str]:
    """Block outputs from max(4, min(16, R / 8)) to min(128, R / 2) pixels: SAM's 16 to 128 from 256 pixels on."""
    first, last = max(4, min(16, generator.resolution // 8)), min(128, generator.resolution // 2)
    return [point for point in generator.points if point.endswith(".out") and first <= side_of(point) <= last]


def side_of(point: str) -> int:
    """Pixels a side of the features at a point.

    >>> side_of("b16.out")
    16
    """
    return int(point[1:].partition(".")[0])


def segment_means(labels: Tensor, maps: Tensor) -> Tensor:
    """Mean of maps `(C, H, W)` over each segment of labels `(H, W)`: `(segments, C)`."""
    flat = labels.flatten()
    sums = maps.new_zeros(int(flat.max()) + 1, len(maps)).index_add(0, flat, maps.flatten(1).mT)
    return sums / torch.bincount(flat)[:, None]


def choose(means: Tensor, threshold: float) -> Tensor:
    """The layer `(segments,)` of each segment: the first whose mean is at or below the threshold, or else the last.

    Args:
        means: `(segments, C)`, the most editable layer first.
        threshold: tau.

    >>> choose(torch.tensor([[0.1, 0.0], [0.3, 0.1], [0.3, 0.3]]), 0.2)
    tensor([0, 1, 1])
    """
    above = (means > threshold).long()
    return above.cumprod(1).sum(1).clamp(max=means.shape[1] - 1)


def binary_masks(layers: Tensor, num: int, size: int) -> Tensor:
    """Disjoint masks `(num, size, size)`: each place to the layer that most of its pixels have, the first of equals.

    Args:
        layers: `(H, W)`, from 0 to `num - 1`.
        num: layers.
        size: side of the masks.
    """
    area = F.adaptive_avg_pool2d(_each(layers, num), size)
    most = area == area.amax(0, keepdim=True)
    return (most & (most.cumsum(0) == 1)).float()


def soft_masks(layers: Tensor, num: int, size: int) -> Tensor:
    """Masks `(num, size, size)` as the released code shrinks them: by Lanczos, cut off at 0 and at their maximum."""
    shrunk = [
        np.asarray(Image.fromarray(mask.numpy()).resize((size, size), Image.Resampling.LANCZOS))
        for mask in _each(layers, num)
    ]
    highest = _each(layers, num).amax((1, 2))[:, None, None]
    return torch.from_numpy(np.stack(shrunk)).clamp(min=0).minimum(highest)


def shares(layers: Tensor, num: int) -> Tensor:
    """Share of the pixels `(num,)` that each layer has of `(H, W)`."""
    return torch.bincount(layers.flatten(), minlength=num) / layers.numel()


def choice_note(means: Tensor, threshold: float, part: Tensor, names: Sequence[str]) -> str:
    """What is to be said of one image's choice, or nothing.

    Args:
        means: `(segments, C)`.
        threshold: tau.
        part: share of the pixels by layer.
        names: of the layers.
    """
    if bool((part < 1).all()):
        return ""
    taken = f"degenerate: {names[int(part.argmax())]} takes all pixels"
    if bool((means <= threshold).any()):
        return taken
    lowest = float(means.min())
    return f"{taken}, as threshold {threshold:g} admits no layer in any segment (lowest mean {lowest:.3g})"


def _each(layers: Tensor, num: int) -> Tensor:
    return F.one_hot(layers, num).permute(2, 0, 1).float()
