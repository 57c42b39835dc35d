"""The kernel distance of two sets of feature vectors (Bińkowski et al. 2018), as torch-fidelity computes it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUBSETS: Final = 100
LARGEST: Final = 1000
SEED: Final = 2020  # torch-fidelity's, so that its subsets are drawn


class KernelDistance(NamedTuple):
    """Mean and standard deviation over subsets of `size` vectors each."""

    mean: float
    std: float
    size: int


def kernel_distance(a: ArrayLike, b: ArrayLike, subsets: int = SUBSETS, largest: int = LARGEST) -> KernelDistance:
    """Unbiased squared maximum mean discrepancy under `(x · y / D + 1)³`.

    Args:
        a: `(N, D)`.
        b: `(M, D)`.
        subsets: draws without replacement, of both sets.
        largest: vectors of a subset, or as many as the smaller set has.

    Raises:
        ValueError: a set has fewer than two vectors.

    >>> kernel_distance([[0.0], [0.0]], [[1.0], [1.0]], subsets=1).mean
    7.0
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (a, b))
    size = min(largest, len(x), len(y))
    if size < 2:
        raise ValueError(f"a kernel distance needs two vectors of each set; there are {len(x)} and {len(y)}")
    rng = np.random.RandomState(SEED)
    drawn = [[rng.choice(len(each), size, replace=False) for each in (x, y)] for _ in range(subsets)]
    values = [_squared(x[first], y[second]) for first, second in drawn]
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)


def _squared(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    m = len(x)
    within = sum(float(kernel.sum() - np.trace(kernel)) for kernel in (_kernel(x, x), _kernel(y, y)))
    return within / (m * (m - 1)) - 2 * float(_kernel(x, y).mean())


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel: NDArray[np.float64] = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel
