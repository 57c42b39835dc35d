"""IDInvert (Zhu et al. 2020) with any space: a code from an in-domain encoder, kept where the encoder would put it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zinv import weights as weight_files
from zinv.generators.base import Generator
from zinv.losses.base import Loss, Prepared
from zinv.methods.base import Inverter, finished, first_code, keep_in_space
from zinv.methods.descent import Trace, descend, weighted_sum
from zinv.methods.encoders import load_encoder
from zinv.methods.inversion import Inversion
from zinv.networks.in_domain import InDomainEncoder
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace
from zinv.values import NonNegative, Positive, Whole
from zinv.weights import UNTRAINED, Weights


class IDInvert(Inverter):
    """Adam on the code, from the in-domain encoder's.

    Loss: the terms + `domain_weight * mean((code - E(G(code)))^2)` in the space's own coordinates + its own penalty.
    The gradient goes through the encoder, too.

    Args:
        generator: frozen.
        space: where the code lives.
        loss: what is descended on.
        num_steps: updates.
        lr: Adam's learning rate.
        domain_weight: weight of the distance between the code and what the encoder makes of its picture.
        from_encoder: start at E(x); else, as other methods, at the space's own start. One that is given comes first.
        encoder: weights of the in-domain encoder E; "auto" finds the one trained for this generator and space.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> from zinv.spaces.z import ZPlus
    >>> method = IDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=2)
    >>> method.label, method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"])).code.shape
    ('IDInvert Z+', torch.Size([1, 6, 16]))
    """

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        num_steps: Whole = 100,
        lr: Positive = 0.01,
        domain_weight: NonNegative = 2.0,
        from_encoder: bool = True,
        encoder: Weights = "auto",
    ) -> None:
        super().__init__(generator, space, loss)
        self.num_steps, self.lr, self.domain_weight, self.from_encoder = num_steps, lr, domain_weight, from_encoder
        self.encoder, self.encoder_name = load_encoder(InDomainEncoder, encoder, generator, space)

    @property
    def label(self) -> str:
        return f"IDInvert {self.space.label}"

    def settings(self) -> dict[str, str]:
        trained = "untrained" if self.encoder_name.startswith(UNTRAINED) else "trained"
        start = {"start": "in-domain encoder"} if self.from_encoder else {}
        return {**self.space.settings(), **start, "encoder": trained}

    def found(self) -> dict[str, str]:
        return {"encoder": weight_files.digest(self.encoder.state_dict())}

    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        prepared = self.loss.prepare(target)
        weights = {**self.loss.weights, "space": 1.0, "domain": self.domain_weight}

        def terms(code: Tensor) -> dict[str, Tensor]:
            return self._terms(code, prepared)

        if start is None and self.from_encoder:
            with torch.no_grad():
                start = Inversion(self._encoded(target))
        code = first_code(self.space, self.generator, rngs, lambda x: weighted_sum(terms(x), weights), start)
        code = code.to(target.dtype).clone().requires_grad_(self.space.optimised)
        trace = Trace(self.trace_every)
        with torch.enable_grad():
            descend(
                [code],
                lambda: terms(code),
                weights,
                self.num_steps,
                self.lr,
                after_step=lambda: keep_in_space(self.space, code),
                trace=trace,
                steady=True,
            )
        found = Inversion(code.detach())
        return finished(found, lambda: terms(found.code), weights, trace)

    def reconstruct(self, inversion: Inversion) -> Tensor:
        return self._image(inversion.code)

    def _image(self, code: Tensor) -> Tensor:
        return self.generator.synthesis(self.space.to_styles(self.generator, code))

    def _encoded(self, image: Tensor) -> Tensor:
        return self.space.from_rows(self.generator, self.encoder(image))

    def _terms(self, code: Tensor, prepared: Mapping[str, Prepared]) -> dict[str, Tensor]:
        image = self._image(code)
        domain = (code - self._encoded(image)).square().flatten(1).mean(1)
        return self.loss(image, code, prepared) | {"space": self.space.penalty(self.generator, code), "domain": domain}
