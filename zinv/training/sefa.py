"""SeFa (Shen and Zhou 2021): the directions of w that change a generator's styles most, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.editing.direction import Direction, to_tensors
from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.training.base import Batch, Trainee


class SeFaTraining(Trainee):
    """Eigenvectors of the Gram matrix of the affine layers' weights, the largest eigenvalue first.

    The weights `(C, w_dim)` of all chosen layers are put together, each channel's vector of length one. A step is of
    length one. Nothing is drawn.

    Args:
        generator: whose affine layers.
        num_components: directions.
        rows: of ws whose layers count, and which the directions then move: `[4,5,6]`; all if not given.
        to_rgb: count the layers to RGB; the authors count the last of them alone.
    """

    name = "sefa"
    stored_half = False

    def __init__(
        self,
        generator: Generator,
        num_components: int = 5,
        rows: tuple[int, ...] | None = None,
        to_rgb: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(1, 1, seed, precision="32-true")
        if not 1 <= num_components <= generator.w_dim:
            raise ConfigError(f"model.num_components={num_components}: not an int of 1 to {generator.w_dim}.")
        if rows is not None and not (rows and all(0 <= row < generator.num_ws for row in rows)):
            raise ConfigError(f"model.rows={list(rows)}: rows are 0 to {generator.num_ws - 1}.")
        self.automatic_optimization = False
        self.num_components, self.rows, self.to_rgb = num_components, rows, to_rgb
        self.frozen = (generator,)
        self.register_buffer("axes", torch.zeros(num_components, generator.w_dim))
        self.register_buffer("eigenvalues", torch.zeros(num_components))
        self.axes: Tensor
        self.eigenvalues: Tensor

    def batch(self, step: int) -> Batch:
        """Nothing."""
        return ()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Solve it."""
        axes, eigenvalues = factorise(affine_weights(self.frozen[0], self.rows, self.to_rgb), self.num_components)
        self.axes.copy_(axes)
        self.eigenvalues.copy_(eigenvalues)

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The directions."""
        digest = self.frozen[0].sha256
        named = enumerate(self.axes)
        return to_tensors(
            [Direction(f"sefa{i}", "w", axis[None], digest, self.rows) for i, axis in named], method="sefa"
        )

    def measure(self) -> dict[str, float]:
        """The eigenvalues."""
        return {f"eigenvalue_{i}": value for i, value in enumerate(self.eigenvalues.tolist())}


@torch.no_grad()
def affine_weights(generator: Generator, rows: tuple[int, ...] | None = None, to_rgb: bool = False) -> Tensor:
    """Weights `(w_dim, sum of C)` of the affine layers that read these rows, by what they make of unit vectors."""
    weights = []
    chosen = range(generator.num_ws) if rows is None else rows
    basis, like = torch.eye(generator.w_dim).to(generator.w_avg), generator.w_avg
    nothing = generator.affine(torch.zeros(1, generator.num_ws, generator.w_dim).to(like))
    last = generator.style_names[-1]
    for row in chosen:
        ws = torch.zeros(generator.w_dim, generator.num_ws, generator.w_dim).to(like)
        ws[:, row] = basis
        for name, style, bias in zip(generator.style_names, generator.affine(ws), nothing, strict=True):
            if (to_rgb or not name.endswith("torgb") or name == last) and (style != bias).any():
                weights.append(style - bias)
    return torch.cat(weights, 1)


def factorise(weight: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The first unit eigenvectors `(num, D)` of W W^T, columns of W `(D, C)` of length one, and their eigenvalues."""
    unit = weight.double() / weight.double().norm(dim=0, keepdim=True).clamp_min(1e-12)
    eigenvalues, eigenvectors = torch.linalg.eigh(unit @ unit.T)
    return eigenvectors.flip(1)[:, :num].T.float(), eigenvalues.flip(0)[:num].float()
