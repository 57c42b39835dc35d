"""Training of IDInvert's encoder (Zhu et al. 2020) for any space: `zinv train model=in_domain_encoder`."""

from __future__ import annotations

import json

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, optim

from zinv.data.base import DataSource
from zinv.errors import ConfigError, WeightsError
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.networks.discriminator import Discriminator
from zinv.networks.in_domain import InDomainEncoder
from zinv.spaces.base import LatentSpace
from zinv.training.base import Batch, Precision, Trainee
from zinv.training.encoding import SHOWN, Decoder
from zinv.training.pictures import Pictures
from zinv.training.players import judged, r1, told_apart, update
from zinv.values import Count, NonNegative, Positive, Whole, show
from zinv.weights import Weights, find, read

LEAST_SIZE = 8
DISCRIMINATOR = "stylegan2_discriminator"


class InDomainEncoderTraining(Trainee):
    """Real pictures to codes whose pictures bring them back, and pass for real.

    Loss of E: the terms + `adversarial softplus(-D(G(E(x))))` + the space's penalty. Loss of D, which goes on from the
    generator's own: `softplus(D(G(E(x)))) + softplus(-D(x)) + r1 / 2 |grad D(x)|^2`.

    Args:
        generator: frozen.
        space: that codes are of.
        loss: between a picture and its reconstruction.
        data: pictures to learn, resized to the generator's resolution.
        size: side of the pictures that the encoder sees; by default the generator's resolution, at most 256.
        width: channels of the encoder's first block.
        max_width: of a block.
        discriminator: weights that D begins with, as `zinv train model=generator` exports them; null: none.
        channels: then, widths of D at 4, 8, … pixels; by default StyleGAN2's.
        adversarial: weight of D in the loss of E.
        adversarial_every: steps between two in which D takes part, which count as many times.
        r1: weight of R1, divided by 2.
        r1_every: steps of D between two R1 penalties, which count as many times.
        num_steps: batches.
        batch_size: images a step.
        lr: Adam's for both networks; betas (.9, .99).
        decay: factor of the rate over each quarter of the steps.
        mirror: learn each picture turned left to right as well.
        renders: folder of cached pictures; the run's own if none is given.
        processes: that draw them.
        precision: Lightning's.
        seed: of weights, order and draws.
        num_workers: processes that load batches.

    Raises:
        ConfigError: the generator cannot have this space, a size that cannot be halved down to 4, or other widths.
        DataError: pictures of another resolution, or fewer than a batch.
        WeightsError: a discriminator of another resolution, or none.
    """

    name = "in_domain_encoder"
    pictures: Pictures

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        data: DataSource,
        size: Count | None = None,
        width: Count = 64,
        max_width: Count = 1024,
        discriminator: Weights | None = None,
        channels: tuple[int, ...] | None = None,
        adversarial: NonNegative = 0.08,
        adversarial_every: Count = 1,
        r1: NonNegative = 10.0,
        r1_every: Count = 1,
        num_steps: Count = 109_375,
        batch_size: Count = 16,
        lr: Positive = 1e-4,
        decay: Positive = 0.8,
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
        self.adversarial, self.adversarial_every = adversarial, adversarial_every
        self.r1, self.r1_every, self.lr, self.decay = r1, r1_every, lr, decay
        size = size or min(256, generator.resolution)
        if size < LEAST_SIZE or size & (size - 1):
            raise ConfigError(f"model.size={size}: not a power of two from {LEAST_SIZE} on.")
        prior = self.decoder.prior
        num_rows, dim = prior.shape[1:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = InDomainEncoder(size, num_rows, dim, width, max_width)
            self.discriminator = _discriminator(discriminator, generator.resolution, channels)
        self.encoder.centre(prior)

    def on_fit_start(self) -> None:
        """Bring the frozen parts to the device."""
        self.decoder.to(self.device)

    def batch(self, step: int) -> Batch:
        """Pictures."""
        return (self.pictures.batch(self.indices(self.pictures.num, step), self.rng(step)),)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the encoder, and for the discriminator."""
        return [self._adam(self.encoder), self._adam(self.discriminator)], []

    def _adam(self, network: torch.nn.Module) -> optim.Optimizer:
        return optim.Adam([x for x in network.parameters() if x.requires_grad], self.lr, betas=(0.9, 0.99))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """A step of the encoder, and one of the discriminator if it is its turn."""
        images = batch[0]
        code = self.decoder.code(self.encoder(images))
        image = self.decoder.image(code)
        loss, values = self.decoder.losses(code, image, images)
        if self.adversarial and self.step % self.adversarial_every == 0:
            logits, fooled, pull = judged(self.discriminator, image)
            loss = loss + self.adversarial * self.adversarial_every * pull
            values |= {"adversarial": fooled, "discriminator": self._discriminate(logits, images)}
        self._update(0, loss)
        self.log_dict(values)

    def _discriminate(self, fake: Tensor, real: Tensor) -> Tensor:
        """A step of the discriminator: pictures against the logits of their reconstructions."""
        loss = told_apart(fake, self.discriminator(real))
        due = self.step // self.adversarial_every % self.r1_every == 0
        penalty = self.r1 / 2 * self.r1_every * r1(self.discriminator, real) if due else 0.0
        self._update(1, loss + penalty)
        return loss.detach()

    def _update(self, which: int, loss: Tensor) -> None:
        update(self, which, loss, self.lr * self.decay ** (4 * self.step / self.num_steps))

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder, tied to its generator and space."""
        return self.encoder.state_dict(), self.decoder.metadata(self.encoder)

    def measure(self) -> dict[str, float]:
        """Mean squared error on pictures that were not trained on, beside that of `w_avg`."""
        return self.decoder.measure(self.encoder, self.pictures.held_out())

    def samples(self) -> Tensor:
        """Pictures that were not trained on, and below each its reconstruction."""
        return self.decoder.sheet(self.encoder, self.pictures.held_out(SHOWN))


def _discriminator(name: str | None, resolution: int, channels: tuple[int, ...] | None) -> Discriminator:
    """A trainable discriminator: a file's, or a new one."""
    if name is None:
        sides = [4 << i for i in range(resolution.bit_length() - 2)]
        widths = tuple(channels or (min(512, 32_768 // side) for side in sides))
        if len(widths) != len(sides):
            raise ConfigError(
                f"model.channels={show(list(widths))}: not {len(sides)} widths, at 4 to {resolution} pixels."
            )
        return Discriminator(widths)
    path = find(name)
    tensors, facts = read(path)
    if facts.get("kind") != DISCRIMINATOR:
        raise WeightsError(f"model.discriminator={name}: it holds {facts.get('kind', 'something else')}.")
    arch = json.loads(facts["architecture"])
    if arch["resolution"] != resolution:
        sides_differ = f"of pictures of {arch['resolution']} pixels, not {resolution}"
        raise WeightsError(f"model.discriminator={name}: {sides_differ}; null begins anew.")
    discriminator = Discriminator(arch["channels"])
    discriminator.load_state_dict(tensors)
    return discriminator
