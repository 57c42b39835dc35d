"""P_N statistics: the whitening of W that makes the prior a standard normal (Zhu et al. 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv import weights
from zinv.errors import ConfigError, WeightsError
from zinv.generators.base import Generator
from zinv.seeding import image_rng
from zinv.weights import Weights

KIND = "pnorm"
NUM = 1_000_000
BATCH = 10_000
INVERSE_SLOPE = 5.0  # of the mapping network's last leaky ReLU, whose slope is 0.2
EIGENVALUE_FLOOR = 1e-12  # of the largest one; published statistics stay above 2e-9
CHECK_NUM = 2000
CHECK_RANGE = (0.9, 1.1)


class PNStatistics(nn.Module):
    """Mean and principal axes of v(w) = LeakyReLU_5(w) over the prior.

    Args:
        mean: `(w_dim,)`.
        eigenvalues: variances along the axes, `(w_dim,)`, in any order.
        eigenvectors: the axes as columns, `(w_dim, w_dim)`.
        generator: sha256 of the generator that they were computed on; empty if the file does not say.
    """

    def __init__(self, mean: Tensor, eigenvalues: Tensor, eigenvectors: Tensor, generator: str = "") -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("eigenvalues", eigenvalues)
        self.register_buffer("eigenvectors", eigenvectors)
        self.mean: Tensor
        self.eigenvalues: Tensor
        self.eigenvectors: Tensor
        self.generator = generator

    @property
    def deviations(self) -> Tensor:
        """Standard deviations along the axes, `(w_dim,)`."""
        return self.eigenvalues.clamp(min=EIGENVALUE_FLOOR * self.eigenvalues.max()).sqrt()

    def whiten(self, w: Tensor) -> Tensor:
        """`(..., w_dim)` of W to P_N: `(v(w) - mean) C / sqrt(eigenvalues)`.

        >>> statistics = PNStatistics(torch.zeros(2), torch.tensor([4.0, 25.0]), torch.eye(2))
        >>> statistics.whiten(torch.tensor([2.0, -1.0]))
        tensor([ 1., -1.])
        """
        return (F.leaky_relu(w, INVERSE_SLOPE) - self.mean) @ self.eigenvectors / self.deviations

    def unwhiten(self, p: Tensor) -> Tensor:
        """`(..., w_dim)` of P_N to W; the inverse of `whiten`."""
        return F.leaky_relu((p * self.deviations) @ self.eigenvectors.T + self.mean, 1 / INVERSE_SLOPE)

    @classmethod
    @torch.no_grad()
    def compute(cls, generator: Generator, num: int | None = None, seed: int = 0) -> Self:
        """Statistics of `num` (a million) mapped draws of z, untruncated; unbiased covariance, float64 sums."""
        num = num or NUM
        moments = Moments(generator.w_dim)
        for start in range(0, num, BATCH):
            moments.add(mapped(generator, min(BATCH, num - start), seed, start))
        return cls(*moments.principal_axes(), generator.sha256).to(generator.w_avg.device)

    @classmethod
    def load(cls, name: Weights) -> Self:
        """Statistics of zinv's safetensors file, or of a folder with the three published `.npy` arrays.

        Raises:
            WeightsError: it is neither.
        """
        path = Path(name) if Path(name).is_dir() else weights.find(name)
        if path.is_dir():
            return cls(*_read_arrays(path))
        tensors, metadata = weights.read(path)
        if metadata.get("kind") != KIND:
            raise WeightsError(f"{path}: holds {metadata.get('kind', 'something else')}, not P_N statistics.")
        return cls(tensors["mean"], tensors["eigenvalues"], tensors["eigenvectors"], metadata["generator"])

    @classmethod
    def of(cls, generator: Generator, name: str = "auto") -> Self:
        """The named statistics, checked; `auto` finds those of the generator by its sha256, or computes and keeps them.

        Raises:
            WeightsError: the named ones belong to another generator.
        """
        path = _find(generator.sha256) if name == "auto" else name
        if path is None:
            statistics = cls.compute(generator)
            _keep(statistics)
            return statistics
        statistics = cls.load(str(path))
        statistics.check(generator, str(path))
        return statistics

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        weights.write(path, dict(self.state_dict()), self.metadata())

    def metadata(self) -> dict[str, str]:
        """What a file says beside the tensors."""
        return {"kind": KIND, "generator": self.generator}

    @torch.no_grad()
    def check(self, generator: Generator, name: str = "P_N statistics") -> None:
        """Raise WeightsError if they belong to another generator.

        Known by the sha256; where the file names none, 2,000 mapped samples must whiten to a mean square of 0.9 to 1.1.
        """
        if self.generator and self.generator != generator.sha256:
            raise WeightsError(f"{name}: of generator {self.generator[:8]}…, not of {generator.sha256[:8]}….")
        if self.generator:
            return
        if len(self.mean) != generator.w_dim:
            raise WeightsError(f"{name}: of width {len(self.mean)}; the generator's w has {generator.w_dim}.")
        power = self.whitened_power(generator)
        if not CHECK_RANGE[0] <= power <= CHECK_RANGE[1]:
            raise WeightsError(
                f"{name}: of another generator: samples of {generator.sha256[:8]}… whiten to a mean square of "
                f"{power:.3g}, not {CHECK_RANGE[0]} to {CHECK_RANGE[1]}."
            )

    def whitened_power(self, generator: Generator, num: int = CHECK_NUM) -> float:
        """Mean square of whitened mapped samples; 1 for the generator's own statistics."""
        return float(self.whiten(mapped(generator, num, seed=0, start=-1).to(self.mean)).square().mean())


class Moments(nn.Module):
    """Streaming mean and covariance of v(w) in float64, about the mean of the first batch; `dim` is w_dim."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("num", torch.zeros((), dtype=torch.int64))
        self.register_buffer("shift", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("total", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(dim, dim, dtype=torch.float64))
        self.num: Tensor
        self.shift: Tensor
        self.total: Tensor
        self.square: Tensor

    def add(self, w: Tensor) -> None:
        """Count a batch `(N, w_dim)` in."""
        v = F.leaky_relu(w, INVERSE_SLOPE).to(self.shift)
        if self.num == 0:
            self.shift.copy_(v.mean(0))
        v = v - self.shift
        self.num += len(v)
        self.total += v.sum(0)
        self.square += v.T @ v

    def principal_axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, eigenvalues (largest first) and eigenvectors of the unbiased covariance, float32."""
        num = int(self.num)
        mean = self.total / num
        covariance = (self.square - num * torch.outer(mean, mean)) / (num - 1)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
        return (mean + self.shift).float(), eigenvalues.flip(0).float(), eigenvectors.flip(1).float()


@torch.no_grad()
def mapped(generator: Generator, num: int, seed: int, start: int) -> Tensor:
    """`(num, w_dim)` mapped normal draws.

    Raises:
        ConfigError: the generator has a w of its own for each layer, so there is no one prior over w.
    """
    z = torch.randn(num, generator.z_dim, generator=image_rng(seed, f"pnorm {start}"))
    w = generator.mapping(z.to(generator.w_avg))
    if w.dim() != 2:
        raise ConfigError("space: P_N needs one w for all layers; this generator maps z to a w a layer.")
    return w


def _read_arrays(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    names = ("mean_latent", "eigen_values", "eigen_vectors")
    try:
        mean, values, vectors = (torch.from_numpy(np.load(folder / f"{name}.npy")).float() for name in names)
        square = vectors.reshape(len(mean.flatten()), values.numel())
    except (OSError, EOFError, ValueError, TypeError, RuntimeError) as error:
        files = ", ".join(f"{name}.npy" for name in names)
        raise WeightsError(f"{folder}: needs {files} ({error}).") from error
    return mean.flatten(), values.flatten(), square


def _find(generator: str) -> Path | None:
    """A file of P_N statistics of a generator in the weight folders."""
    paths = [weights.find(name) for name in weights.names() if KIND in name]
    fitting = {"kind": KIND, "generator": generator}
    return next((path for path in paths if fitting.items() <= weights.metadata(path).items()), None)


def _keep(statistics: PNStatistics) -> None:
    """Into the first weight folder that can be written to, if any: they can be computed again."""
    for folder in weights.folders()[:-1]:
        try:
            statistics.save(folder / KIND / f"{statistics.generator[:16]}.safetensors")
            return
        except OSError:
            continue
