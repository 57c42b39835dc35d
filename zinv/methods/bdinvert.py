"""BDInvert (Kang et al. 2021) with any space: a base code from an encoder, and detail codes above it.

F/W+(P_N) is `space=pnplus`, the paper's F/Z+ is `space=zplus`, F alone is `space=fixed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from zinv import weights as weight_files
from zinv.errors import WeightsError
from zinv.generators.base import Generator, base_point
from zinv.losses.base import Loss, Prepared
from zinv.methods.base import Inverter, finished, first_code, keep_in_space
from zinv.methods.descent import Trace, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.methods.steps import Optimiser, Precondition, Steps, by_image, by_spread, check_precondition
from zinv.networks.base_code import KIND, BaseCodeEncoder
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace
from zinv.values import Count, NonNegative, Positive, Whole
from zinv.weights import Weights


class BDInvert(Inverter):
    """One Adam on the base code f and the code of the rows above it.

    Loss: the terms + `base_weight * mean((f - E(x))^2)` + the space's own penalty. f replaces the first convolution's
    output at its resolution, and RGB starts from zero there; nothing below is computed.

    Args:
        generator: frozen.
        space: of the detail codes, the rows above the base code.
        loss: what is descended on.
        num_steps: updates.
        lr: Adam's learning rate, for base code and detail codes alike.
        base_weight: weight of the base code's distance from its start.
        size: side of the base code; by default max(8, min(16, R / 8)).
        encoder: weights of the base-code encoder E; "auto" finds the one trained for this generator.
        schedule: of the rate: `constant`, or `cosine` with a warm-up of 5 %.
        optimiser: `adam`, or `lbfgs` with a history and a line search an image.
        precondition: what a variable's steps are multiplied by: `none`; the prior's `spread` of each coordinate; or
            what lets unit moves of all rows and the base code change the `image` alike at the start.

    Raises:
        ConfigError: settings that exclude each other.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.seeding import image_rngs
    >>> from zinv.spaces.z import ZPlus
    >>> method = BDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=2)
    >>> method.label, method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"])).base[1].shape
    ('F/Z+', torch.Size([1, 16, 8, 8]))
    """

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        num_steps: Whole = 1200,
        lr: Positive = 0.01,
        base_weight: NonNegative = 10.0,
        size: Count | None = None,
        encoder: Weights = "auto",
        schedule: Literal["constant", "cosine"] = "constant",
        optimiser: Optimiser = "adam",
        precondition: Precondition = "none",
    ) -> None:
        super().__init__(generator, space, loss)
        check_precondition(precondition, optimiser)
        self.num_steps, self.base_weight, self.precondition = num_steps, base_weight, precondition
        self.steps = Steps(num_steps, lr, schedule, optimiser)
        self.point = base_point(generator, size, "method.size")
        self.above = generator.above(self.point)
        self.loss = loss.over(self.above, space)
        self.encoder, self.encoder_name = self._encoder(encoder)

    @classmethod
    def draws(cls, settings: Mapping[str, object]) -> bool:
        return settings.get("precondition") == "image"

    @property
    def label(self) -> str:
        return f"F/{self.space.label}" if self.space.optimised else "F alone"

    def num_scalars(self) -> int:
        return self._feature_shape().numel() + self.space.num_scalars(self.above)

    def settings(self) -> dict[str, str]:
        encoder = "untrained" if self.encoder_name.startswith(weight_files.UNTRAINED) else "trained"
        return {**self.space.settings(), "base code": self.point, "encoder": encoder}

    def found(self) -> dict[str, str]:
        return {"encoder": weight_files.digest(self.encoder.state_dict())}

    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        prepared = self.loss.prepare(target)
        weights = {**self.loss.weights, "space": 1.0, "base": self.base_weight}
        with torch.no_grad():
            first = self.encoder(target)

        def terms(code: Tensor, feature: Tensor) -> dict[str, Tensor]:
            return self._terms(code, feature, first, prepared)

        code = first_code(self.space, self.above, rngs, lambda x: weighted_sum(terms(x, first), weights), start)
        code = code.to(target.dtype).clone().requires_grad_(self.space.optimised)
        feature = self._first_feature(first, start).clone().requires_grad_(True)
        trace = Trace(self.trace_every)
        self.steps(
            [code, feature],
            lambda: terms(code, feature),
            weights,
            lambda: keep_in_space(self.space, code),
            trace,
            self._scales(code, feature, rngs),
            steady=True,
        )
        found = Inversion(code.detach(), base=(self.point, feature.detach()))
        return finished(found, lambda: terms(code, feature), weights, trace)

    def view(self, inversion: Inversion | None = None) -> Generator:
        return self.above

    def reconstruct(self, inversion: Inversion) -> Tensor:
        assert inversion.base is not None
        return self._image(inversion.code, inversion.base[1])

    def _image(self, code: Tensor, feature: Tensor) -> Tensor:
        return self.above.synthesis(self.space.to_styles(self.above, code), base=(self.point, feature))

    def _terms(
        self, code: Tensor, feature: Tensor, first: Tensor, prepared: Mapping[str, Prepared]
    ) -> dict[str, Tensor]:
        values = self.loss(self._image(code, feature), code, prepared)
        distance = (feature - first).square().flatten(1).mean(1)
        return values | {"space": self.space.penalty(self.above, code), "base": distance}

    def _scales(self, code: Tensor, feature: Tensor, rngs: Rngs) -> list[Tensor] | None:
        if self.precondition == "none":
            return None
        if self.precondition == "image":
            return by_image([code, feature], lambda: self._image(code, feature), rngs)
        return [by_spread(self.space.spread(self.above)).to(code), feature.new_ones(1)]

    def _first_feature(self, encoded: Tensor, start: Inversion | None) -> Tensor:
        """The start's base code, if it has one at this point, or the encoder's."""
        return start.base[1] if start and start.base and start.base[0] == self.point else encoded

    def _feature_shape(self) -> torch.Size:
        with torch.no_grad():
            ws = self.generator.w_avg.expand(1, self.generator.num_ws, -1)
            return self.generator.features(self.generator.affine(ws), [self.point])[self.point].shape[1:]

    def _encoder(self, name: str) -> tuple[BaseCodeEncoder, str]:
        if name == "auto":
            name = find_encoder(self.generator, self.point)
        channels = self._feature_shape()[0]
        return BaseCodeEncoder.load(name, self.generator.sha256, self.point, channels), name


def find_encoder(generator: Generator, point: str) -> str:
    """The name of the base-code encoder that was trained for a generator and point; an untrained one for the toys.

    Raises:
        WeightsError: there is none; says how to train it.
    """
    fitting = {"kind": KIND, "generator": generator.sha256, "point": point}
    for name in weight_files.names():
        if fitting.items() <= weight_files.metadata(weight_files.find(name)).items():
            return name
    if not generator.trained:
        return f"{weight_files.UNTRAINED}0"
    raise WeightsError(
        f"method.encoder=auto: no base-code encoder was trained for generator {generator.sha256[:8]}… at {point}. "
        "Train one with `zinv train model=base_code`, or name its file."
    )
