"""What trainings of encoders share: the way from rows to a picture and its loss, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.networks.encoders import RowEncoder
from zinv.spaces.base import LatentSpace, truncation_of

SHOWN = 8
Encode = Callable[[Tensor], Tensor]


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
        """Mean squared errors of pictures: encoded, and of the picture of `w_avg`, the same for every space."""
        generator = self.generator
        mean = generator.synthesis(generator.affine(generator.as_ws(generator.w_avg[None])))
        errors: dict[str, list[Tensor]] = {"mse": [], "mse_of_w_avg": []}
        for part in pictures.to(mean.device).split(32):
            for name, image in (("mse", self.image(self.code(encode(part)))), ("mse_of_w_avg", mean)):
                errors[name].append((image - part).square().mean((1, 2, 3)))
        return {name: float(torch.cat(parts).mean()) for name, parts in errors.items()}

    @torch.no_grad()
    def sheet(self, encode: Encode, pictures: Tensor) -> Tensor:
        """Pictures, and below each its reconstruction."""
        pictures = pictures.to(self.generator.w_avg.device)
        return torch.cat([pictures, self.image(self.code(encode(pictures)))])
