"""Plain optimisation: descent on the code alone (Abdal et al. 2019; the rows Z, Z+, W, W+ of the paper's Table 1)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import Generator
from zinv.losses.base import Loss, Prepared
from zinv.losses.penalties import noise_penalty, whitened
from zinv.methods.base import Inverter, finished, first_code, keep_in_space
from zinv.methods.descent import Trace, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.methods.steps import Optimiser, Precondition, Steps, by_image, by_spread, check_precondition
from zinv.seeding import Rngs, randn
from zinv.spaces.base import LatentSpace
from zinv.values import NonNegative, Positive, Whole

NoiseMaps = Literal["fixed", "kept", "dropped"]


class Optimize(Inverter):
    """Adam on the code of any space, by default with fixed noise maps; the rest is what StyleGAN2's projector does.

    Args:
        generator: frozen.
        space: where the code lives.
        loss: what is descended on; the space's own penalty is added.
        num_steps: updates; 1,200 as in BDInvert, whose loop without a base code the paper's rows are taken to be.
        lr: Adam's learning rate.
        ramp: raise it over the first 5 % and lower it over the last quarter.
        noise: the generator's maps, or own ones that are optimised with the code, and then kept or dropped.
        noise_weight: weight of their penalty.
        jitter: noise that each step adds to the code, in units of the space's spread; it fades over three quarters of
            the steps.
        schedule: of the rate: `constant`, or `cosine` with a warm-up of 5 %.
        optimiser: `adam`, or `lbfgs` with a history and a line search an image.
        precondition: what a variable's steps are multiplied by: `none`; the prior's `spread` of each coordinate; or
            what lets unit moves of all rows change the `image` alike at the start.

    Raises:
        ConfigError: settings that exclude each other.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> from zinv.spaces.z import ZPlus
    >>> method = Optimize(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=2)
    >>> found = method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"]))
    >>> method.reconstruct(found).shape
    torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        num_steps: Whole = 1200,
        lr: Positive = 0.01,
        ramp: bool = False,
        noise: NoiseMaps = "fixed",
        noise_weight: NonNegative = 1e5,
        jitter: NonNegative = 0.0,
        schedule: Literal["constant", "cosine"] = "constant",
        optimiser: Optimiser = "adam",
        precondition: Precondition = "none",
    ) -> None:
        super().__init__(generator, space, loss)
        if ramp and schedule != "constant":
            raise ConfigError(f"method.schedule={schedule}: method.ramp=true is a schedule of its own. Leave one out.")
        check_precondition(precondition, optimiser)
        self.num_steps, self.precondition = num_steps, precondition
        self.steps = Steps(num_steps, lr, "ramp" if ramp else schedule, optimiser)
        if optimiser == "lbfgs" and (jitter or noise != "fixed"):
            raise ConfigError("method.optimiser=lbfgs: it needs a loss that stays the same; no jitter, no noise maps.")
        self.noise, self.noise_weight = noise, noise_weight
        self.jitter = jitter if space.optimised else 0.0

    @classmethod
    def draws(cls, settings: Mapping[str, object]) -> bool:
        return settings["noise"] != "fixed" or settings["jitter"] != 0 or settings.get("precondition") == "image"

    def num_scalars(self) -> int:
        sides = self.generator.noise_shapes if self.noise != "fixed" else ()
        return super().num_scalars() + sum(height * width for height, width in sides)

    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        prepared = self.loss.prepare(target)
        weights = {**self.loss.weights, "space": 1.0, "noise": self.noise_weight}

        def terms(code: Tensor, maps: Sequence[Tensor]) -> dict[str, Tensor]:
            return self._terms(code, maps, prepared)

        code = first_code(self.space, self.generator, rngs, lambda x: weighted_sum(terms(x, ()), weights), start)
        code = code.to(target.dtype).clone().requires_grad_(self.space.optimised)
        maps, spread = self._draw_maps(rngs, target), self.space.spread(self.generator) if self.jitter else code
        trace, step = Trace(self.trace_every), itertools.count()
        self.steps(
            [code, *maps],
            lambda: terms(self._jittered(code, spread, next(step), rngs), maps),
            weights,
            lambda: self._after_step(code, maps),
            trace,
            self._scales(code, maps, rngs),
            steady=not self.jitter,
        )
        kept = tuple(x.detach() for x in maps) if self.noise == "kept" else ()
        found = Inversion(code.detach(), noise=kept or None)
        return finished(found, lambda: terms(found.code, kept), weights, trace)

    def reconstruct(self, inversion: Inversion) -> Tensor:
        return self._image(inversion.code, inversion.noise or ())

    def _image(self, code: Tensor, maps: Sequence[Tensor]) -> Tensor:
        return self.generator.synthesis(self.space.to_styles(self.generator, code), noise=maps or "const")

    def _terms(self, code: Tensor, maps: Sequence[Tensor], prepared: Mapping[str, Prepared]) -> dict[str, Tensor]:
        values = self.loss(self._image(code, maps), code, prepared)
        noise = {"noise": noise_penalty(maps)} if maps else {}
        return values | {"space": self.space.penalty(self.generator, code)} | noise

    def _scales(self, code: Tensor, maps: Sequence[Tensor], rngs: Rngs) -> list[Tensor] | None:
        if self.precondition == "none":
            return None
        if self.precondition == "image":
            return by_image([code, *maps], lambda: self._image(code, maps), rngs)
        return [by_spread(self.space.spread(self.generator)).to(code), *(code.new_ones(1) for _ in maps)]

    def _draw_maps(self, rngs: Rngs, like: Tensor) -> list[Tensor]:
        shapes = self.generator.noise_shapes if self.noise != "fixed" else ()
        return [randn((1, *shape), rngs).to(like).requires_grad_(True) for shape in shapes]

    def _jittered(self, code: Tensor, spread: Tensor, step: int, rngs: Rngs) -> Tensor:
        """The code with noise of `jitter max(0, 1 - t / .75)^2` spreads, t from 0 to 1, back in its space."""
        width = self.jitter * max(0.0, 1 - step / (0.75 * self.num_steps)) ** 2
        return self.space.retract(code + width * spread * randn(code.shape[1:], rngs).to(code)) if width else code

    def _after_step(self, code: Tensor, maps: Sequence[Tensor]) -> None:
        keep_in_space(self.space, code)
        with torch.no_grad():
            for x in maps:
                x.copy_(whitened(x))
