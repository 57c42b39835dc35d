"""P_N statistics as something that `zinv train` makes: one pass over the prior, resumable, with a card."""

from __future__ import annotations

from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.spaces.statistics import BATCH, NUM, Moments, PNStatistics, mapped
from zinv.training.base import Batch, Trainee


class PNormTraining(Trainee):
    """Mean and covariance of LeakyReLU_5(w) over the prior of a generator: what P_N and P_N+ whiten with.

    Args:
        generator: whose prior.
        num: draws of z.
        seed: of the draws.
    """

    name = "pnorm"
    stored_half = False

    def __init__(self, generator: Generator, num: int = NUM, seed: int = 0) -> None:
        super().__init__(-(-num // BATCH), BATCH, seed, precision="32-true")
        self.automatic_optimization = False
        self.num = num
        self.frozen = (generator,)  # in a tuple, so that checkpoints leave it out
        self.moments = Moments(generator.w_dim)

    def setup(self, stage: str) -> None:
        """Refuse several devices: the pass takes a minute on one."""
        if self.trainer.world_size > 1:
            raise ConfigError(f"trainer.devices={self.trainer.world_size}: P_N statistics are computed on one device.")

    @property
    def generator(self) -> Generator:
        """Whose prior."""
        return self.frozen[0]

    def batch(self, step: int) -> Batch:
        """Mapped draws, the same as `PNStatistics.compute` takes."""
        start = step * BATCH
        return (mapped(self.generator, min(BATCH, self.num - start), self.seed, start),)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a batch in."""
        self.moments.add(batch[0])

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The statistics."""
        statistics = self._statistics()
        return dict(statistics.state_dict()), statistics.metadata()

    def measure(self) -> dict[str, float]:
        """What must be 1, and the spread of the spectrum."""
        statistics = self._statistics()
        return {
            "whitened_mean_square": statistics.whitened_power(self.generator),
            "largest_eigenvalue": float(statistics.eigenvalues.max()),
            "smallest_eigenvalue": float(statistics.eigenvalues.min()),
        }

    def _statistics(self) -> PNStatistics:
        return PNStatistics(*self.moments.principal_axes(), self.generator.sha256)
