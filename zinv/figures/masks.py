"""What SAM's stored maps show: how much each layer is predicted to lose where, and which pixels it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Plane = NDArray[np.float64]
MASK: Final = "maps/mask/"
LAYERS: Final = "maps/layers"
PREDICTED: Final = "maps/invertibility"


def planes(images: Sequence[Mapping[str, Tensor]], space: str) -> dict[str, list[Plane]]:
    """Planes `(h, w)` in [0, 1] by the line that they stand in, one an image; none where there are no layers.

    Args:
        images: stored tensors of each image of a run.
        space: label of the code's space, which is the first of the layers.

    >>> import torch
    >>> stored = {LAYERS: torch.tensor([[0, 1]]), PREDICTED: torch.tensor([[[0.1, 0.4]], [[0.2, 0.1]]])}
    >>> found = planes([stored | {"maps/mask/b8.out": torch.tensor([[[0.0, 1.0]]])}], "W+")
    >>> list(found), found["in b8.out"][0].tolist(), found["map of W+"][0].tolist()
    (['map of W+', 'in W+', 'map of b8.out', 'in b8.out'], [[0.0, 1.0]], [[0.25, 1.0]])
    """
    if not images or any(LAYERS not in tensors for tensors in images):
        return {}
    points = [name.removeprefix(MASK) for name in images[0] if name.startswith(MASK)]
    layers = [space, *sorted(points, key=lambda point: int(point[1:].partition(".")[0]))]
    largest = max(float(tensors[PREDICTED].max()) for tensors in images)
    found: dict[str, list[Plane]] = {}
    for i, layer in enumerate(layers):
        found[f"map of {layer}"] = [_plane(tensors[PREDICTED][i] / max(largest, 1e-12)) for tensors in images]
        found[f"in {layer}"] = [_plane(tensors[LAYERS] == i) for tensors in images]
    return found


def _plane(values: Tensor) -> Plane:
    return values.double().reshape(values.shape[-2:]).numpy().round(6)
