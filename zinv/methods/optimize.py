"""Plain optimisation: descent on the code alone (Abdal et al. 2019; the rows Z, Z+, W, W+ of the paper's Table 1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zinv.generators.base import Generator
from zinv.losses.base import Loss, Prepared
from zinv.methods.base import Inverter, best_start, finished, keep_in_space
from zinv.methods.descent import Trace, descend, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace
from zinv.values import Positive, Whole


class Optimize(Inverter):
    """Adam on the code of any space, with fixed noise maps.

    Args:
        generator: frozen.
        space: where the code lives.
        loss: what is descended on; the space's own penalty is added.
        num_steps: updates; 1,200 as in BDInvert, whose loop without a base code the paper's rows are taken to be.
        lr: Adam's learning rate.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> from zinv.spaces.z import ZPlus
    >>> method = Optimize(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=2)
    >>> found = method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"]))
    >>> method.reconstruct(found).shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self, generator: Generator, space: LatentSpace, loss: Loss, num_steps: Whole = 1200, lr: Positive = 0.01
    ) -> None:
        super().__init__(generator, space, loss)
        self.num_steps, self.lr = num_steps, lr

    def invert(self, target: Tensor, rngs: Rngs) -> Inversion:
        prepared, weights = self.loss.prepare(target), {**self.loss.weights, "space": 1.0}
        start = best_start(self.space, self.generator, rngs, lambda x: weighted_sum(self._terms(x, prepared), weights))
        code = start.to(target.dtype).clone().requires_grad_(self.space.optimised)
        trace = Trace(self.trace_every)
        with torch.enable_grad():
            descend(
                [code],
                lambda: self._terms(code, prepared),
                weights,
                self.num_steps,
                self.lr,
                after_step=lambda: keep_in_space(self.space, code),
                trace=trace,
            )
        return finished(Inversion(code.detach()), lambda: self._terms(code, prepared), weights, trace)

    def reconstruct(self, inversion: Inversion) -> Tensor:
        return self._image(inversion.code)

    def _image(self, code: Tensor) -> Tensor:
        return self.generator.synthesis(self.space.to_styles(self.generator, code))

    def _terms(self, code: Tensor, prepared: Mapping[str, Prepared]) -> dict[str, Tensor]:
        values = self.loss(self._image(code), code, prepared)
        return values | {"space": self.space.penalty(self.generator, code)}
