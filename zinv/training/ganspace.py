"""GANSpace (Härkönen et al. 2020): principal axes of W, and what moves along them in Z."""

from __future__ import annotations

from typing import Literal

import torch
from sklearn.decomposition import IncrementalPCA
from torch import Tensor

from zinv.editing.direction import Direction, to_tensors
from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.seeding import image_rng
from zinv.spaces.base import LatentSpace, require_one_w
from zinv.training.base import Batch, Trainee

FRESH = 5000  # draws that standard deviations are measured on
STATE = ("components_", "singular_values_", "mean_", "var_", "n_samples_seen_", "explained_variance_ratio_")


class GANSpaceTraining(Trainee):
    """Principal components of mapped draws by scikit-learn's incremental PCA; for Z, regressed back to z.

    A step is one standard deviation of the prior along its axis. The first pass finds the axes; the second measures
    deviations and, in Z, solves least squares from the scaled coordinates to z, whose rows are then of length one.

    Args:
        generator: whose prior.
        space: Z and Z+ get directions of z, W and its kin those of w.
        num: draws of each pass.
        num_components: axes.
        rows: those of the generator that the directions move, as `[0,1,2]`; all if not given.
        batch_size: draws at a time, at least three times as many as axes; 10,000 as GANSpace's buffers.
        seed: of the draws.
    """

    name = "ganspace"
    stored_half = False

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        num: int = 1_000_000,
        num_components: int = 80,
        rows: tuple[int, ...] | None = None,
        batch_size: int = 10_000,
        seed: int = 0,
    ) -> None:
        self.passes = -(-num // batch_size)
        super().__init__(2 * self.passes, batch_size, seed, precision="32-true")
        require_one_w(generator, "GANSpace")
        if space.coordinates == "s":
            raise ConfigError(f"model=ganspace: components are of w or z, not of {space.label}. Choose space=z or w.")
        if num_components > generator.w_dim or batch_size < num_components:
            least = min(batch_size, generator.w_dim)
            raise ConfigError(f"model.num_components={num_components}: not an int of 1 to {least}.")
        self.automatic_optimization = False
        self.name = f"ganspace_{space.coordinates}"
        self.coordinates: Literal["z", "w"] = "z" if space.coordinates == "z" else "w"
        self.num, self.num_components, self.rows = num, num_components, rows
        self.frozen = (generator,)
        k, d, z = num_components, generator.w_dim, generator.z_dim
        shapes = {"components_": (k, d), "singular_values_": (k,), "mean_": (d,), "var_": (d,)}
        shapes |= {"n_samples_seen_": (), "explained_variance_ratio_": (k,), "square": (k, k), "product": (k, z)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.components_: Tensor
        self.mean_: Tensor
        self.n_samples_seen_: Tensor
        self.explained_variance_ratio_: Tensor
        self.square: Tensor
        self.product: Tensor

    @property
    def generator(self) -> Generator:
        """Whose prior."""
        return self.frozen[0]

    def setup(self, stage: str) -> None:
        """Refuse several devices."""
        if self.trainer.world_size > 1:
            raise ConfigError(f"trainer.devices={self.trainer.world_size}: components are fitted on one device.")

    def batch(self, step: int) -> Batch:
        """Draws of z; the second pass has draws of its own."""
        place = step % self.passes
        num = min(self.batch_size, self.num - place * self.batch_size)
        num = max(num, self.num_components)  # scikit-learn's PCA needs as many as axes
        return (torch.randn(num, self.generator.z_dim, generator=image_rng(self.seed, f"ganspace {step}")),)

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch in."""
        z = batch[0].cpu()
        w = self.generator.cpu().mapping(z).double()
        if self.step < self.passes:
            self._fit(w)
        else:
            coordinates = (w - self.mean_.cpu()) @ self.components_.cpu().T
            self.square += (coordinates.T @ coordinates).to(self.square)
            self.product += (coordinates.T @ z.double()).to(self.product)

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def _fit(self, w: Tensor) -> None:
        """A partial fit; scikit-learn's state is kept in buffers, and so in checkpoints."""
        pca = IncrementalPCA(self.num_components)
        if self.n_samples_seen_ > 0:
            for name in STATE:
                setattr(pca, name, getattr(self, name).cpu().numpy())
            pca.n_samples_seen_ = int(self.n_samples_seen_)
            pca.n_components_ = self.num_components
        pca.partial_fit(w.numpy())
        for name in STATE:
            getattr(self, name).copy_(torch.as_tensor(getattr(pca, name), dtype=torch.float64))

    def directions(self) -> list[Direction]:
        """The components, the one of the largest variance first."""
        if self.coordinates == "z":
            steps, mean = self._regressed(), torch.zeros(self.generator.z_dim)
        else:
            steps, mean = self._deviations()[:, None] * self.components_, self.mean_.float()
        return [
            Direction(f"ganspace{i}", self.coordinates, step[None].float(), self.generator.sha256, self.rows, mean=mean)
            for i, step in enumerate(steps)
        ]

    def _regressed(self) -> Tensor:
        """Unit rows `(K, z_dim)` of the least squares from scaled coordinates to z."""
        deviations = self._deviations()
        square = self.square / torch.outer(deviations, deviations)
        rows = torch.linalg.solve(square, self.product / deviations[:, None])
        return rows / rows.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def _deviations(self) -> Tensor:
        """Standard deviation of each coordinate over fresh draws."""
        z = torch.randn(FRESH, self.generator.z_dim, generator=image_rng(self.seed, "ganspace fresh"))
        w = self.generator.cpu().mapping(z).double()
        return ((w - self.mean_.cpu()) @ self.components_.cpu().T).std(0).to(self.components_)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The components as directions."""
        return to_tensors(self.directions(), method="ganspace")

    def measure(self) -> dict[str, float]:
        """The share of the variance of w that the components have, and the largest and smallest deviation."""
        deviations = self._deviations()
        return {
            "variance_ratio": float(self.explained_variance_ratio_.sum()),
            "largest_deviation": float(deviations.max()),
            "smallest_deviation": float(deviations.min()),
        }
