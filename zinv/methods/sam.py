"""SAM, spatially-adaptive multilayer inversion (Parmar et al. 2022), with any space.

Each segment of the picture goes to the most editable layer that can still reproduce it: the code, or a change of the
features at a point, under its mask. No code for Z+ was published; this is ours: the sphere stands in for the Gaussian
prior of w, deltas are off, rates and weights are those of W+.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal

import torch
from torch import Tensor

from zinv import weights as weight_files
from zinv.data.sampler import Batch
from zinv.errors import ConfigError, DataError, suggest
from zinv.generators.base import FeatureEdit, Generator, Noise
from zinv.images import resize
from zinv.losses.base import Loss, Prepared
from zinv.losses.near_w import GaussianPrior, delta_penalty
from zinv.methods.base import Inverter, finished, first_code, keep_in_space
from zinv.methods.descent import Trace, descend, ramp, weighted_sum
from zinv.methods.inversion import Inversion
from zinv.methods.invertibility import load_predictor
from zinv.methods.layers import CODE, Layers, assign, default_points, one_layer
from zinv.seeding import Rngs, image_rngs, randn
from zinv.segmentation.base import Segmentation
from zinv.spaces.base import LatentSpace
from zinv.values import Count, NonNegative, Positive, Whole
from zinv.weights import Weights

GAUSSIAN: Final = 1e-8
DELTA: Final = 1e-3
"""The released weights, for codes of w."""


class SAM(Inverter):
    """One Adam on the code and on a feature change at each point, which is added under the point's mask.

    Loss: the terms + the space's own penalty + `feature_weight` times the sum of the changes' mean squares, and on rows
    of w, where the space has some, `gaussian` times their squared Mahalanobis distance from the prior and `delta` times
    their distances from the first. A start that is given is gone on from, with its feature changes.

    Args:
        generator: frozen.
        space: of the code.
        loss: what is descended on.
        segmentation: what each goes to one layer.
        num_steps: updates.
        lr: Adam's learning rate, under the projector's ramp.
        threshold: a layer takes a segment if the map predicted for it has at most this mean there; in the units of the
            predictor's distance, LPIPS-vgg for the paper's .225.
        points: block outputs whose features may change, lowest first; by default SAM's for this resolution.
        only: "code" or one of the points, for a single-space inversion, without predictor and segments.
        feature_weight: of the changes' penalty.
        gaussian: weight of the rows' distance from the prior; by default 1e-8 for codes of w, else 0.
        delta: weight of the rows' distances from the first; by default 1e-3 for codes of w, else 0.
        predictor: weights of the invertibility predictor; "auto" finds the one trained for this generator and space.
        masks: binary, so that each place has one layer; soft as the released code shrinks them.
        size: the loss sees larger pictures at this side, by area, its targets by Lanczos; by default at their own.
        clamp: the loss sees pictures cut off at -1 and 1.
        noise: the generator's maps, or new ones each step; the result is rendered with the generator's.

    Raises:
        ConfigError: the generator has no such point.
        WeightsError: there is no predictor, or it was trained for something else.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.segmentation.whole import WholeImage
    >>> from zinv.spaces.z import ZPlus
    >>> method = SAM(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), WholeImage(), num_steps=2)
    >>> found = method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"]))
    >>> method.label, {point: edit.value.shape[1:] for point, edit in found.edits.items()}
    ('SAM Z+', {'b4.out': torch.Size([16, 4, 4]), 'b8.out': torch.Size([16, 8, 8])})
    """

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        segmentation: Segmentation,
        num_steps: Whole = 1001,
        lr: Positive = 0.05,
        threshold: Positive = 0.225,
        points: list[str] | None = None,
        only: str | None = None,
        feature_weight: NonNegative = 5.0,
        gaussian: NonNegative | None = None,
        delta: NonNegative | None = None,
        predictor: Weights = "auto",
        masks: Literal["binary", "soft"] = "binary",
        size: Count | None = None,
        clamp: bool = False,
        noise: Literal["fixed", "random"] = "fixed",
    ) -> None:
        super().__init__(generator, space, loss)
        self.segmentation, self.threshold = segmentation, threshold
        self.num_steps, self.lr, self.feature_weight = num_steps, lr, feature_weight
        self.only, self.points = only, _points(generator, points, only)
        is_w = space.coordinates == "w"
        self.gaussian = (GAUSSIAN if is_w else 0.0) if gaussian is None else gaussian
        self.delta = (DELTA if is_w else 0.0) if delta is None else delta
        if not only:
            self.predictor, self.origin = load_predictor(predictor, generator, space.label, self.points)
        self.masks, self.clamp, self.noise = masks, clamp, noise
        self.size = size if size and size < generator.resolution else None

    @property
    def label(self) -> str:
        if self.only:
            return self.space.label + (f" + {self.only}" if self.points else "")
        return f"SAM {self.space.label}"

    def num_scalars(self) -> int:
        return self.space.num_scalars(self.generator) + sum(map(math.prod, self._feature_shapes.values()))

    def settings(self) -> dict[str, str]:
        shared = {**self.space.settings(), "near W": self._near_w_words(), "points": ", ".join(self.points)}
        if self.only:
            return shared | {"layer": self.only}
        own = {"threshold": f"{self.threshold:g}", "segments": self.segmentation.label, "masks": self.masks}
        return shared | own | {"predictor": self.origin}

    def found(self) -> dict[str, str]:
        return {} if self.only else {"predictor": weight_files.digest(self.predictor.state_dict())}

    def invert_batch(self, batch: Batch) -> Inversion:
        """As `Inverter.invert_batch`; segmentations may go by an image's id."""
        start = self.start(batch) if self.start else None
        return self.invert(batch.target, image_rngs(self.seed, batch.ids), start, batch.ids)

    def invert(
        self, target: Tensor, rngs: Rngs, start: Inversion | None = None, ids: Sequence[str] | None = None
    ) -> Inversion:
        """As `Inverter.invert`; `ids` are for segmentations that go by them."""
        layers, failures = self._layers(target, ids or [""] * len(target))
        prepared = self.loss.prepare(target if self.size is None else resize(target, self.size, "lanczos"))
        weights = {**self.loss.weights, "space": 1.0, "features": self.feature_weight}
        weights |= {"gaussian": self.gaussian, "delta": self.delta}
        changes = [x.requires_grad_(True) for x in self._first_changes(target, start)]

        def terms(code: Tensor, noise: Noise = "const") -> dict[str, Tensor]:
            return self._terms(code, changes, layers.masks, prepared, noise)

        code = first_code(self.space, self.generator, rngs, lambda x: weighted_sum(terms(x), weights), start)
        code = code.to(target.dtype).clone().requires_grad_(self.space.optimised)
        trace = Trace(self.trace_every)
        with torch.enable_grad():
            descend(
                [code, *changes],
                lambda: terms(code, self._noise(rngs, target)),
                weights,
                self.num_steps,
                lambda step: self.lr * ramp(step, self.num_steps),
                after_step=lambda: keep_in_space(self.space, code),
                trace=trace,
                steady=self.noise == "fixed",
            )
        edits = self._edits([x.detach() for x in changes], layers.masks)
        found = Inversion(
            code.detach(),
            edits=edits or None,
            maps=layers.maps or None,
            generator=self.generator.sha256,
            facts=layers.facts,
            notes=layers.notes,
            failures=failures,
        )
        return finished(found, lambda: terms(code), weights, trace)

    def reconstruct(self, inversion: Inversion) -> Tensor:
        return self._image(inversion.code, inversion.edits, "const")

    def moved(self, inversion: Inversion, code: Tensor) -> Inversion:
        """With another code; under a point's mask features stay those of the reconstruction.

        `x (1 - m) + F m` at each point, F with the change and x without, as in the released code; under soft masks
        x's difference from what it was is blended instead, so that an edit by nothing still changes nothing.
        """
        edits, maps = dict(inversion.edits or {}), inversion.maps or {}
        moves = (code != inversion.code).flatten(1).any(1)[:, None, None, None]
        before = self.generator.features(self.space.to_styles(self.generator, inversion.code), [*edits], edits)
        kept = {}
        for point, edit in edits.items():
            mask = torch.where(moves, maps[f"mask/{point}"].to(code), 0)  # a picture that stays keeps its bits
            kept[point] = FeatureEdit(edit.value + mask * before[point], 1 - mask)
        return replace(inversion, code=code, edits=kept or None)

    def _layers(self, target: Tensor, ids: Sequence[str]) -> tuple[Layers, dict[int, str]]:
        """The layers of a batch, and why an image has none after all."""
        if self.only:
            return one_layer(len(target), self.points, target), {}
        labels, failures = [], {}
        for i, name in enumerate(ids):
            try:
                labels.append(self.segmentation(target[i], name))
            except DataError as error:
                failures[i] = str(error)
                labels.append(torch.zeros(target.shape[-2:], dtype=torch.int64))
        with torch.no_grad():  # one by one, and on the CPU: a mean at the threshold must not hang on batch or device
            maps = torch.cat([self.predictor(image[None]).cpu() for image in target])
        layers = assign(torch.stack(labels), maps, self.threshold, self.points, self.masks == "soft")
        return replace(layers, masks={point: mask.to(target) for point, mask in layers.masks.items()}), failures

    def _image(self, code: Tensor, edits: Mapping[str, FeatureEdit] | None, noise: Noise) -> Tensor:
        return self.generator.synthesis(self.space.to_styles(self.generator, code), edits=edits, noise=noise)

    def _edits(self, changes: Sequence[Tensor], masks: Mapping[str, Tensor]) -> dict[str, FeatureEdit]:
        return {p: FeatureEdit(x * masks[p], keep=1.0) for p, x in zip(self.points, changes, strict=True)}

    def _terms(
        self,
        code: Tensor,
        changes: Sequence[Tensor],
        masks: Mapping[str, Tensor],
        prepared: Mapping[str, Prepared],
        noise: Noise,
    ) -> dict[str, Tensor]:
        image = self._image(code, self._edits(changes, masks), noise)
        image = image if self.size is None else resize(image, self.size)
        values = self.loss(image.clamp(-1, 1) if self.clamp else image, code, prepared)
        held = torch.stack([image.new_zeros(len(code)), *(x.square().flatten(1).mean(1) for x in changes)]).sum(0)
        return values | {"space": self.space.penalty(self.generator, code), "features": held} | self._near_w(code)

    def _near_w(self, code: Tensor) -> dict[str, Tensor]:
        ws = self.space.to_ws(self.generator, code) if self.gaussian or self.delta else None
        if ws is None:
            return {}
        gaussian = {"gaussian": self._prior.penalty(ws)} if self.gaussian else {}
        return gaussian | ({"delta": delta_penalty(ws)} if self.delta else {})

    def _near_w_words(self) -> str:
        if not self.gaussian and not self.delta:
            return "none"
        code = self.space.initial(self.generator, image_rngs(0, ["probe"]))
        weights = f"gaussian {self.gaussian:g}, delta {self.delta:g}"
        return "none: the space has no w" if self.space.to_ws(self.generator, code) is None else weights

    @cached_property
    def _prior(self) -> GaussianPrior:
        return GaussianPrior(self.generator)

    def _noise(self, rngs: Rngs, like: Tensor) -> Noise:
        if self.noise == "fixed":
            return "const"
        return [randn((1, *shape), rngs).to(like) for shape in self.generator.noise_shapes]

    def _first_changes(self, target: Tensor, start: Inversion | None) -> list[Tensor]:
        """The start's feature changes where it has some, or zeros."""
        before = (start.edits if start else None) or {}
        shapes = {point: (len(target), *shape) for point, shape in self._feature_shapes.items()}
        found = {point: edit.value for point, edit in before.items() if edit.value.shape == shapes.get(point)}
        return [(found[p].to(target) if p in found else target.new_zeros(shapes[p])).clone() for p in self.points]

    @cached_property
    def _feature_shapes(self) -> dict[str, tuple[int, ...]]:
        with torch.no_grad():
            ws = self.generator.w_avg.expand(1, self.generator.num_ws, -1)
            features = self.generator.features(self.generator.affine(ws), self.points)
        return {point: tuple(features[point].shape[1:]) for point in self.points}


def _points(generator: Generator, points: Sequence[str] | None, only: str | None) -> list[str]:
    """The points whose features change, lowest first."""
    if only == CODE:
        return []
    chosen = [only] if only else list(points or default_points(generator))
    for point in chosen:
        if point not in generator.points:
            key = "only" if only else "points"
            known = [*generator.points, CODE] if only else generator.points
            raise ConfigError(f"method.{key}={point}: this generator has no such point. {suggest(point, known)}")
    return [point for point in generator.points if point in chosen]
