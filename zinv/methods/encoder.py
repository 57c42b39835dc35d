"""A latent encoder alone (Tov et al. 2021), in the space that it was trained for: one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv import weights as weight_files
from zinv.generators.base import Generator
from zinv.losses.base import Loss
from zinv.methods.acceleration import Terms
from zinv.methods.base import Inverter, finished
from zinv.methods.descent import Trace
from zinv.methods.encoders import load_encoder
from zinv.methods.inversion import Inversion
from zinv.networks.latent_encoder import LatentEncoder
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace
from zinv.weights import UNTRAINED, Weights


class Encoder(Inverter):
    """Pictures to codes; the loss is only told, and there is nothing to start from.

    Args:
        generator: frozen.
        space: of the codes.
        loss: whose values are stored.
        encoder: weights of the latent encoder; "auto" finds the one trained for this generator and space.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> from zinv.spaces.z import ZPlus
    >>> method = Encoder(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}))
    >>> method.label, method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"])).code.shape
    ('encoder Z+', torch.Size([1, 6, 16]))
    """

    num_steps = 0
    descends = False

    def __init__(self, generator: Generator, space: LatentSpace, loss: Loss, encoder: Weights = "auto") -> None:
        super().__init__(generator, space, loss)
        self.encoder, self.encoder_name = load_encoder(LatentEncoder, encoder, generator, space)

    @property
    def label(self) -> str:
        return f"encoder {self.space.label}"

    def num_scalars(self) -> int:
        return 0

    def settings(self) -> dict[str, str]:
        trained = "untrained" if self.encoder_name.startswith(UNTRAINED) else "trained"
        return {**self.space.settings(), "start": "encoder", "encoder": trained}

    def found(self) -> dict[str, str]:
        return {"encoder": weight_files.digest(self.encoder.state_dict())}

    @torch.no_grad()
    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        found = Inversion(self.space.from_rows(self.generator, self.encoder(target)))
        prepared = self.loss.prepare(target)

        def terms() -> Terms:
            penalty = {"space": self.space.penalty(self.generator, found.code)}
            return self.loss(self.reconstruct(found), found.code, prepared) | penalty

        return finished(found, terms, {**self.loss.weights, "space": 1.0}, Trace(0))

    def reconstruct(self, inversion: Inversion) -> Tensor:
        return self.generator.synthesis(self.space.to_styles(self.generator, inversion.code))
