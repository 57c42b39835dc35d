"""What trainings of encoders share: pictures, some held out, and the way from rows to a picture and its loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.networks.encoders import RowEncoder
from zinv.spaces.base import LatentSpace, truncation_of
from zinv.training.cache import Cache

HELD_OUT = 256
SHOWN = 8
Encode = Callable[[Tensor], Tensor]


class Pictures:
    """Pictures in a cache; the last tenth of them, at most 256, are not trained on.

    Args:
        data: resized to `resolution` where they have none of their own.
        resolution: of the generator.
        batch_size: images a step.
        mirror: show each picture turned left to right half the time.
        processes: that draw the cache.

    Raises:
        DataError: pictures of another resolution, or fewer than a batch.
    """

    def __init__(self, data: DataSource, resolution: int, batch_size: int, mirror: bool, processes: int) -> None:
        data.match(resolution)
        self.data, self.mirror, self.processes = data, mirror, processes
        self.num = len(data) - min(HELD_OUT, len(data) // 10)
        if self.num < batch_size:
            raise DataError(f"model.batch_size={batch_size}: more than the data have pictures to train on, {self.num}.")

    def make(self, folder: Path) -> None:
        """Draw what is missing in the cache of a folder."""
        Cache(self.data, folder).make(self.processes)

    def open(self, folder: Path) -> None:
        """Read from that cache."""
        self.cache = Cache(self.data, folder)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Tensor:
        """Pictures to train on."""
        images = self.cache.images(indices)
        if not self.mirror:
            return images
        turned = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
        return torch.where(turned, images.flip(3), images)

    def held_out(self, num: int = HELD_OUT) -> Tensor:
        """Pictures that are not trained on, or, where there are so few, that are."""
        last = len(self.data)
        return self.cache.images(torch.arange(self.num if self.num < last else 0, last)[:num])


class Decoder:
    """Rows to codes, w's, pictures and losses; no module, so that checkpoints leave the frozen parts out.

    Raises:
        ConfigError: the generator cannot have the space, or a term of the loss needs a part that is not there.
    """

    def __init__(self, generator: Generator, space: LatentSpace, loss: Loss) -> None:
        space.check(generator)
        self.generator, self.space, self.loss = generator, space, loss.over(generator, space)

    def to(self, device: torch.device) -> None:
        """Bring the frozen parts to a device."""
        for part in (self.generator, self.space, self.loss):
            part.to(device)

    @cached_property
    def prior(self) -> Tensor:
        """The space's prior rows."""
        return self.space.prior_rows(self.generator)

    def metadata(self, encoder: RowEncoder) -> dict[str, str]:
        """What an encoder's file says: what it was trained for."""
        generator, space = self.generator, self.space
        label = space.encoder_spaces(generator)[0]
        return encoder.metadata(generator.sha256, generator.resolution, label, truncation_of(space))

    def code(self, rows: Tensor) -> Tensor:
        """The code of an encoder's rows, whatever the precision of the rest."""
        with torch.autocast(rows.device.type, enabled=False):
            return self.space.from_rows(self.generator, rows.float())

    def ws(self, code: Tensor) -> Tensor | None:
        """`(N, num_ws, w_dim)`; None where codes have no w."""
        with torch.autocast(code.device.type, enabled=False):
            return self.space.to_ws(self.generator, code)

    def image(self, code: Tensor) -> Tensor:
        """`(N, 3, R, R)`."""
        with torch.autocast(code.device.type, enabled=False):
            styles = self.space.to_styles(self.generator, code)
        return self.generator.synthesis(styles).float()

    def losses(self, code: Tensor, image: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss with the space's penalty, and each term, as means over images."""
        values = self.loss(image, code, self.loss.prepare(target))
        penalty = self.space.penalty(self.generator, code).mean()
        return self.loss.total(values).mean() + penalty, {name: x.detach().mean() for name, x in values.items()}

    @torch.no_grad()
    def measure(self, encode: Encode, pictures: Tensor) -> dict[str, float]:
        """Mean squared errors of pictures: encoded, and of the prior's mean row for all."""
        mean = self.prior.mean(0, keepdim=True)
        errors: dict[str, list[Tensor]] = {"mse": [], "mse_of_mean_code": []}
        for part in pictures.to(mean.device).split(32):
            for name, rows in (("mse", encode(part)), ("mse_of_mean_code", mean.expand(len(part), -1, -1))):
                image = self.image(self.code(rows))
                errors[name].append((image - part).square().mean((1, 2, 3)))
        return {name: float(torch.cat(parts).mean()) for name, parts in errors.items()}

    @torch.no_grad()
    def sheet(self, encode: Encode, pictures: Tensor) -> Tensor:
        """Pictures, and below each its reconstruction."""
        pictures = pictures.to(self.generator.w_avg.device)
        return torch.cat([pictures, self.image(self.code(encode(pictures)))])


def r1(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean squared length of the gradient of a discriminator at real samples (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
