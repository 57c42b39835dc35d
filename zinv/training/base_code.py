"""Training of BDInvert's base-code encoder on a generator's own pictures."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, optim

from zinv.generators.base import Generator, base_point
from zinv.losses.base import Loss
from zinv.networks.base_code import BaseCodeEncoder
from zinv.spaces.base import truncate
from zinv.training.base import Batch, Precision, Trainee, step_rng
from zinv.values import Count, Positive, Whole

MEASURED = 256
SHOWN = 8


class BaseCodeTraining(Trainee):
    """Base codes of a generator's own pictures: with the true ws above, they must bring the picture back.

    No loss compares features; synthesis drops the RGB below a base code, so the code has to hold that as well.

    Args:
        generator: draws the pictures, and decodes the base codes.
        loss: between a picture and its reconstruction; by the paper MSE + 10 LPIPS.
        size: side of the base code; by default an eighth of the resolution, at least 8 and at most 16.
        width: channels of the encoder's first stage.
        max_width: of a stage.
        truncation_psi: of the ws that pictures are drawn with.
        truncation_cutoff: rows that truncation acts on, counted from the first; all by default.
        num_steps: batches.
        batch_size: pictures a step.
        lr: Adam's.
        decay_steps: steps after which the rate falls to a tenth, again and again.
        precision: Lightning's.
        seed: of weights and draws.
    """

    name = "base_code"

    def __init__(
        self,
        generator: Generator,
        loss: Loss,
        size: Count | None = None,
        width: Count = 128,
        max_width: Count = 512,
        truncation_psi: float = 1.0,
        truncation_cutoff: Whole | None = None,
        num_steps: Count = 10_000,
        batch_size: Count = 16,
        lr: Positive = 1e-3,
        decay_steps: Count = 2000,
        precision: Precision = "32-true",
        seed: int = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed, precision=precision)
        self.frozen = (generator, loss)  # in a tuple, so that checkpoints leave them out
        self.point = base_point(generator, size, "model.size")
        self.truncation_psi, self.truncation_cutoff = truncation_psi, truncation_cutoff
        self.lr, self.decay_steps = lr, decay_steps
        channels, side = self._features(generator.w_avg[None]).shape[1:3]
        torch.manual_seed(seed)
        self.encoder = BaseCodeEncoder(side, channels, width, max_width)

    def on_fit_start(self) -> None:
        """Bring the frozen parts to the device."""
        for part in self.frozen:
            part.to(self.device)

    def batch(self, step: int) -> Batch:
        """Draws of z."""
        return (torch.randn(self.share, self.frozen[0].z_dim, generator=self.rng(step)),)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        ws, target = self._draw(batch[0])
        loss = self.frozen[1]
        prepared = loss.prepare(target)
        values = loss(self._reconstruct(ws, target), ws, prepared)
        self.log_dict({name: value.mean() for name, value in values.items()})
        return loss.total(values).mean()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam and StepLR."""
        optimizer = optim.Adam(self.encoder.parameters(), self.lr)
        schedule = optim.lr_scheduler.StepLR(optimizer, self.decay_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder, tied to its generator."""
        return self.encoder.state_dict(), self.encoder.metadata(self.frozen[0].sha256, self.point)

    def measure(self) -> dict[str, float]:
        """Mean squared error on fresh draws, beside that of the mean base code."""
        ws, target = self._draw(self._fresh(MEASURED))
        mean = self._features(ws).mean(0, keepdim=True).expand(len(ws), -1, -1, -1)
        encoded = (self._reconstruct(ws, target) - target).square().mean()
        ignorant = (self._decode(ws, mean) - target).square().mean()
        return {"mse": float(encoded), "mse_of_mean_base_code": float(ignorant)}

    def samples(self) -> Tensor:
        """Pictures, and below each its reconstruction."""
        ws, target = self._draw(self._fresh(SHOWN))
        return torch.cat([target, self._reconstruct(ws, target)])

    @torch.no_grad()
    def _draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes ws `(N, num_ws, w_dim)`, and pictures."""
        generator = self.frozen[0]
        with torch.autocast(self.device.type, enabled=False):
            w = generator.mapping(z.to(self.device))
        ws = generator.as_ws(w)
        ws = truncate(generator, ws, self.truncation_psi, self.truncation_cutoff)
        return ws, generator.synthesis(generator.affine(ws))

    def _reconstruct(self, ws: Tensor, target: Tensor) -> Tensor:
        return self._decode(ws, self.encoder(target))

    def _decode(self, ws: Tensor, code: Tensor) -> Tensor:
        generator = self.frozen[0]
        return generator.synthesis(generator.affine(ws), base=(self.point, code))

    @torch.no_grad()
    def _features(self, w: Tensor) -> Tensor:
        generator = self.frozen[0]
        ws = generator.as_ws(w)
        return generator.features(generator.affine(ws), [self.point])[self.point]

    def _fresh(self, num: int) -> Tensor:
        return torch.randn(num, self.frozen[0].z_dim, generator=step_rng(self.seed, -1))
