"""Training of a feature-pyramid encoder for any space (e4e, Tov et al. 2021): `zinv train model=latent_encoder`."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, optim

from zinv.data.base import DataSource
from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.losses.near_w import delta_penalty
from zinv.networks.discriminator import LatentDiscriminator
from zinv.networks.latent_encoder import LatentEncoder
from zinv.spaces.base import LatentSpace
from zinv.training.base import Batch, Precision, Trainee
from zinv.training.encoding import SHOWN, Decoder
from zinv.training.pictures import Pictures
from zinv.training.players import r1, told_apart, update
from zinv.training.schedule import warm_cosine
from zinv.values import Count, NonNegative, Positive, Whole, show

LEAST_SIZE = 16


class LatentEncoderTraining(Trainee):
    """Pictures to codes that bring them back, near to one w for all rows, and to w's that the mapping network makes.

    Loss: the terms + `delta sum_i |w_i - w_0|` + `adversarial mean_i softplus(-D(w_i))` + the space's penalty, i over
    the rows that have an offset so far. In S, which has no w, the delta and D are left out.

    Args:
        generator: frozen.
        space: that codes are of.
        loss: between a picture and its reconstruction.
        data: pictures to learn, resized to the generator's resolution.
        size: side of the pictures that the encoder sees; by default the generator's resolution, at most 256.
        widths: channels of the encoder's four stages.
        units: residual units of each.
        head: channels of its style blocks.
        delta: weight of the delta term.
        adversarial: weight of the latent discriminator's; 0 leaves that out.
        progressive_from: steps with one row for all.
        progressive_every: steps from then on until the next row has an offset; 0: all at once.
        num_steps: batches.
        batch_size: images a step.
        lr: Adam's.
        schedule: constant, or a rise over 5 % of the steps and then a cosine to 0.
        latent_lr: Adam's of the latent discriminator.
        r1: weight of R1 in it, divided by 2.
        r1_every: steps between two R1 penalties, which count as many times.
        mirror: learn each picture turned left to right as well.
        renders: folder of cached pictures; the run's own if none is given.
        processes: that draw them.
        precision: Lightning's.
        seed: of weights, order and draws.
        num_workers: processes that load batches.

    Raises:
        ConfigError: the generator cannot have this space, or a size that four stages cannot halve.
        DataError: pictures of another resolution, or fewer than a batch.
    """

    name = "latent_encoder"
    pictures: Pictures

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        data: DataSource,
        size: Count | None = None,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        units: tuple[int, ...] = (3, 4, 14, 3),
        head: Count = 512,
        delta: NonNegative = 2e-4,
        adversarial: NonNegative = 0.1,
        progressive_from: Whole = 20_000,
        progressive_every: Whole = 2000,
        num_steps: Count = 200_000,
        batch_size: Count = 8,
        lr: Positive = 1e-4,
        schedule: Literal["constant", "cosine"] = "constant",
        latent_lr: Positive = 2e-5,
        r1: NonNegative = 10.0,
        r1_every: Count = 16,
        mirror: bool = False,
        renders: str | None = None,
        processes: Count = 1,
        precision: Precision = "32-true",
        seed: int = 0,
        num_workers: Whole = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed, num_workers, precision)
        self.automatic_optimization = False
        self.decoder = Decoder(generator, space, loss)
        self.pictures = Pictures(data, generator.resolution, batch_size, mirror, renders, processes)
        self.delta, self.adversarial = delta, adversarial
        self.progressive_from, self.progressive_every = progressive_from, progressive_every
        self.lr, self.schedule, self.latent_lr, self.r1, self.r1_every = lr, schedule, latent_lr, r1, r1_every
        size = _checked(size or min(256, generator.resolution), widths, units)
        prior = self.decoder.prior
        num_rows, dim = prior.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = LatentEncoder(size, num_rows, dim, tuple(widths), tuple(units), head)
            self.discriminator = LatentDiscriminator(generator.w_dim)
        self.encoder.centre(prior)

    def on_fit_start(self) -> None:
        """Bring the frozen parts to the device."""
        self.decoder.to(self.device)

    def batch(self, step: int) -> Batch:
        """Pictures, and draws of z for the discriminator."""
        rng, indices = self.rng(step), self.indices(self.pictures.num, step)
        images = self.pictures.batch(indices, rng)
        return images, torch.randn(len(images), self.decoder.generator.z_dim, generator=rng)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the encoder, and for the discriminator."""
        encoder = optim.Adam(self.encoder.parameters(), self.lr)
        return [encoder, optim.Adam(self.discriminator.parameters(), self.latent_lr)], []

    def stage(self, step: int) -> int:
        """The last row that has an offset of its own."""
        last, since = self.encoder.num_rows - 1, step - self.progressive_from
        if since < 0:
            return 0
        return min(last, 1 + since // self.progressive_every) if self.progressive_every else last

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """A step of the encoder, and one of the discriminator."""
        images, z = batch
        stage = self.stage(self.step)
        code = self.decoder.code(self.encoder(images, stage))
        loss, values = self.decoder.losses(code, self.decoder.image(code), images)
        ws = self.decoder.ws(code)
        if ws is not None:
            deltas = delta_penalty(ws[:, : stage + 1]).mean()
            loss, values = loss + self.delta * deltas, {**values, "delta": deltas.detach()}
            if self.adversarial:
                fooled = F.softplus(-self._judged(ws[:, : stage + 1])).mean()
                loss, values = loss + self.adversarial * fooled, {**values, "adversarial": fooled.detach()}
        self._update(0, loss)
        if ws is not None and self.adversarial:
            values["discriminator"] = self._discriminate(ws[:, : stage + 1].detach(), z)
        self.log_dict(values)

    def _discriminate(self, fake: Tensor, z: Tensor) -> Tensor:
        """A step of the latent discriminator: w's of the mapping network against the encoder's."""
        with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
            real = self.decoder.generator.mapping(z).flatten(0, -2)
        loss = told_apart(self._judged(fake), self._judged(real))
        self._update(1, loss)
        if self.step % self.r1_every == 0:
            self._update(1, self.r1 / 2 * self.r1_every * r1(self._judged, real))
        return loss.detach()

    def _judged(self, w: Tensor) -> Tensor:
        with torch.autocast(w.device.type, enabled=False):
            return self.discriminator(w.flatten(0, -2))

    def _update(self, which: int, loss: Tensor) -> None:
        share = warm_cosine((self.step + 1) / self.num_steps) if self.schedule == "cosine" else 1.0
        update(self, which, loss, share * (self.lr, self.latent_lr)[which])

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder, tied to its generator and space."""
        return self.encoder.state_dict(), self.decoder.metadata(self.encoder)

    def measure(self) -> dict[str, float]:
        """Mean squared error on pictures that were not trained on, beside that of `w_avg`."""
        return self.decoder.measure(self.encoder, self.pictures.held_out())

    def samples(self) -> Tensor:
        """Pictures that were not trained on, and below each its reconstruction."""
        return self.decoder.sheet(self.encoder, self.pictures.held_out(SHOWN))


def _checked(size: int, widths: tuple[int, ...], units: tuple[int, ...]) -> int:
    if size < LEAST_SIZE or size & (size - 1):
        raise ConfigError(f"model.size={size}: not a power of two from {LEAST_SIZE} on.")
    for name, values in (("widths", widths), ("units", units)):
        if len(values) != 4 or min(values) < 1:
            raise ConfigError(f"model.{name}={show(list(values))}: not four numbers of 1 or more.")
    return size
