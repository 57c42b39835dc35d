"""PTI, pivotal tuning (Roich et al. 2022), with any space: a pivot code, then the generator's weights about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from zinv.data.sampler import Batch
from zinv.editing.moves import Move
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.generators.base import Generator
from zinv.losses.base import Loss, Prepared, rows_of
from zinv.methods.acceleration import Terms
from zinv.methods.base import Inverter, finished
from zinv.methods.descent import Trace, descend
from zinv.methods.inversion import Inversion
from zinv.methods.memory import free_memory
from zinv.methods.optimize import NoiseMaps, Optimize
from zinv.methods.stacked import Needs, Painter, Stack, probe
from zinv.methods.watch import Watch, thresholds
from zinv.seeding import Rngs, image_rngs, randn
from zinv.spaces.base import LatentSpace, prior_ws, truncate
from zinv.values import Count, NonNegative, Positive, Whole

PIVOT_STEPS: Final = 450
COPIES: Final = 6  # of an image's weights: themselves, the gradient, Adam's two moments, two of its temporary tensors


class PTI(Inverter):
    """A pivot by descent on the code, then Adam on all weights that the picture depends on, image by image.

    Tuning descends on the loss + `locality * loss(G'(w_r), G(w_r))`, w_r at a distance from the pivot towards a prior
    draw. In S, which has no w, that term is left out, and no affine layer is tuned. A start that is given is the pivot,
    with its base code, feature changes and noise maps, but without tuned weights. An image whose tuning ends at more
    than twice its pivot's loss has failed.

    Args:
        generator: left as it is.
        space: of the pivot.
        loss: of the tuning; its `pivot` weights, if any, are those of the first stage.
        num_steps: updates of the weights.
        lr: Adam's learning rate for them.
        pivot_steps: updates of the code; by default 450, and none from a start that is given.
        pivot_lr: the first stage's learning rate, under the projector's ramp.
        noise: in the first stage the generator's noise maps, or own ones, which the second keeps or drops.
        noise_weight: weight of their penalty.
        jitter: of the first stage, in units of the space's spread.
        locality: weight of the locality term; 0 leaves it out.
        locality_distance: in units of the prior's root mean square distance from its mean, over all rows.
        locality_psi: truncation of its draws.
        stop_at: an image stops once all these terms are at or below their values; terms that it lacks don't count.
        tune_mapping: tune the mapping network too, where the code goes through it.
        shared: one generator for several images, tuned on all of them at once: `all`, or the sign that ends what the
            names of one person's photographs have in common, `_` for ada_1 and ada_2; by default each has its own.
        keep_weights: store the tuned weights; without them there is no edit, and scores are of the stored picture.
        images_at_once: tuned together; by default as many of a batch as `memory` holds.
        memory: GiB for tuning; by default 80 % of what is free on a GPU, half of what is free on a CPU.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> from zinv.spaces.z import ZPlus
    >>> method = PTI(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=2, pivot_steps=2)
    >>> found = method.invert(torch.zeros(1, 3, 16, 16), image_rngs(0, ["ada"]))
    >>> method.label, found.weights["synthesis_network.b4.const"].shape
    ('PTI Z+', torch.Size([1, 16, 4, 4]))
    """

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss,
        num_steps: Whole = 350,
        lr: Positive = 3e-4,
        pivot_steps: Whole | None = None,
        pivot_lr: Positive = 5e-3,
        noise: NoiseMaps = "dropped",
        noise_weight: NonNegative = 1e5,
        jitter: NonNegative = 1.13,
        locality: NonNegative = 0.1,
        locality_distance: Positive = 0.75,
        locality_psi: float = 0.5,
        stop_at: dict[str, float] | None = None,
        tune_mapping: bool = False,
        shared: str | None = None,
        keep_weights: bool = True,
        images_at_once: Count | None = None,
        memory: Positive | None = None,
    ) -> None:
        super().__init__(generator, space, loss)
        self.num_steps, self.lr, self.pivot_steps = num_steps, lr, pivot_steps
        first, steps = loss.pivot or loss, PIVOT_STEPS if pivot_steps is None else pivot_steps
        self.projector = Optimize(generator, space, first, steps, pivot_lr, True, noise, noise_weight, jitter)
        self.locality, self.locality_distance, self.locality_psi = locality, locality_distance, locality_psi
        self.stop_at = thresholds(stop_at or {}, loss)
        self.tune_mapping, self.shared, self.keep_weights = tune_mapping, shared, keep_weights
        self._group: tuple[list[str], Inversion] | None = None
        self.images_at_once, self.memory = images_at_once, memory

    @classmethod
    def draws(cls, settings: Mapping[str, object]) -> bool:
        return Optimize.draws(settings) or settings["locality"] != 0

    @property
    def label(self) -> str:
        return f"PTI {self.space.label}"

    def num_scalars(self) -> int:
        sizes = {name: x.numel() for name, x in self.generator.named_parameters()}
        first = 0 if self._pivot_is_given(self.start) else self.projector.num_scalars()
        return first + sum(sizes[name] for name in self._needs.weights)

    def settings(self) -> dict[str, str]:
        without = self.locality > 0 and self._ws(self.generator, self._any_inversion().code) is None
        return {
            **self.space.settings(),
            "pivot steps": "none" if self._pivot_is_given(self.start) else str(self.projector.num_steps),
            "noise": self.projector.noise,
            "locality": "none: the space has no w" if without else f"{self.locality:g}",
            **({"shared": self.shared} if self.shared else {}),
            "stops at": ", ".join(f"{name} {value:g}" for name, value in self.stop_at.items()) or "its last step",
        }

    def found(self) -> dict[str, str]:
        """With shared generators, which images there are: each result depends on the others."""
        if not self.shared or self.images is None:
            return {}
        return {"shared_by": hashlib.sha256("\n".join(self.images.ids).encode()).hexdigest()}

    def invert_batch(self, batch: Batch) -> Inversion:
        """As `Inverter.invert_batch`; with shared generators, whatever other images each of them is tuned with."""
        if not self.shared or self.images is None:
            return super().invert_batch(batch)
        return Inversion.together([self._with_mates(name, batch.target) for name in batch.ids])

    def _with_mates(self, name: str, like: Tensor) -> Inversion:
        """An image's part of what was found for all that share its generator; the last group is kept."""
        assert self.images is not None and self.shared
        if self._group is None or name not in self._group[0]:
            mates = self.images([other for other in self.images.ids if self._person(other) == self._person(name)])
            batch = mates._replace(target=mates.target.to(like))
            start = self.start(batch) if self.start else None
            self._group = batch.ids, self.invert(batch.target, image_rngs(self.seed, batch.ids), start)
        ids, found = self._group
        return found.one(ids.index(name))

    def _person(self, name: str) -> str:
        assert self.shared
        return "" if self.shared == "all" else name.rpartition(self.shared)[0] or name

    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        """See `Inverter`; with shared generators, all images of the call share one."""
        first = start if start and self._pivot_is_given(start) else self.projector.invert(target, rngs, start)
        pivot = Inversion(first.code, first.base, first.edits, first.maps, first.noise)
        size = len(target) if self.shared else self.images_at_once or self._fitting()
        firsts = range(0, len(target), size)
        parts = [(target[i : i + size], pivot.part(i, i + size), rngs[i : i + size]) for i in firsts]
        return Inversion.together([self._tune(*part) for part in parts])

    def reconstruct(self, inversion: Inversion) -> Tensor:
        """Synthesise with the tuned weights, image by image, so that no picture depends on its neighbours.

        Raises:
            WeightsError: the weights are of another generator.
            StoreError: they were not kept.
        """
        own, differences = dict(self.generator.named_parameters()), self._differences(inversion)
        painter = Painter(self.generator, self.space, inversion)
        images = []
        for i in range(len(inversion)):
            weights = {name: own[name] + x[i : i + 1].to(own[name].dtype) for name, x in differences.items()}
            images.append(painter.stacked(weights, replace(inversion.part(i, i + 1), weights=None)))
        return torch.cat(images)

    def check_move(self, move: Move, view: Generator) -> None:
        if not self.keep_weights:
            raise ConfigError("method.keep_weights=false: edits are made with the tuned weights; keep them.")
        super().check_move(move, view)

    def edit(self, inversion: Inversion, move: Move) -> Inversion:
        """The moved pivot under the tuned weights (Roich et al. 2022, section 3.2).

        Raises:
            StoreError: they were not kept.
        """
        self._differences(inversion)
        return super().edit(inversion, move)

    def _differences(self, inversion: Inversion) -> Stack:
        if inversion.weights is None:
            raise StoreError("the tuned weights were not kept (method.keep_weights=false).")
        if inversion.generator != self.generator.sha256:
            theirs, ours = inversion.generator[:8], self.generator.sha256[:8]
            raise WeightsError(f"tuned weights: of generator {theirs}…, not of {ours}….")
        return inversion.weights

    def _tune(self, target: Tensor, pivot: Inversion, rngs: Rngs) -> Inversion:
        own = {name: x.detach() for name, x in self.generator.named_parameters() if name in self._needs.weights}
        num = 1 if self.shared else len(target)
        tuned = {name: x.expand(num, *x.shape).clone().requires_grad_(True) for name, x in own.items()}
        painter, prepared = Painter(self.generator, self.space, pivot), self.loss.prepare(target)
        ws = self._ws(painter.generator, pivot.code)
        watch, trace = Watch(self.stop_at, self.loss.weights, target, bool(self.shared)), Trace(self.trace_every)

        def each() -> dict[str, Tensor]:
            return {name: x.expand(len(target), *x.shape[1:]) for name, x in tuned.items()}

        def terms_of(places: Tensor, weights: Sequence[Tensor]) -> Callable[[], Terms]:
            some = Inversion.join([pivot.image(i) for i in places.tolist()])
            seen = {name: rows_of(x, places) for name, x in prepared.items()}
            own, rest = dict(zip(tuned, weights, strict=True)), [rngs[i] for i in places.tolist()]
            return self._tuning(painter, lambda: own, some, seen, None if ws is None else ws[places], rest)

        weights = {**self.loss.weights, "locality": self.locality}
        with torch.enable_grad():
            descend(
                [*tuned.values()],
                self._tuning(painter, each, pivot, prepared, ws, rngs),
                weights,
                self.num_steps,
                self.lr,
                stopped=watch,
                trace=trace,
                part=None if self.shared else terms_of,
                steady=not self.locality or ws is None,
            )
        differences = {name: (x.detach() - own[name]).half() for name, x in each().items()}
        found = replace(pivot, weights=differences, generator=self.generator.sha256, steps=watch.steps)
        found = finished(found, lambda: self.loss(self.reconstruct(found), found.code, prepared), weights, trace)
        return replace(found, keeps_weights=self.keep_weights, failures=watch.failures(found.losses["total"]))

    def _tuning(
        self,
        painter: Painter,
        each: Callable[[], Stack],
        pivot: Inversion,
        prepared: Mapping[str, Prepared],
        ws: Tensor | None,
        rngs: Rngs,
    ) -> Callable[[], Terms]:
        """What the weights of some images are tuned on."""
        local = self._locality(painter, pivot, ws, rngs) if self.locality and ws is not None else None

        def terms() -> dict[str, Tensor]:
            image = painter.stacked(each(), pivot, None if self.tune_mapping else ws)
            return self.loss(image, pivot.code, prepared) | ({"locality": local(each())} if local else {})

        return terms

    def _locality(self, painter: Painter, pivot: Inversion, ws: Tensor, rngs: Rngs) -> Callable[[Stack], Tensor]:
        """From tuned weights to the loss `(N,)` of new picture against old at `w_p + a (w - w_p) / |w - w_p|`."""
        generator = painter.generator
        spread = prior_ws(generator).std(0).expand_as(ws[0]).norm()

        def change(tuned: Stack) -> Tensor:
            with torch.no_grad():
                w = generator.mapping(randn((generator.z_dim,), rngs).to(ws))
                w = truncate(generator, w if w.dim() == 3 else w[:, None].expand_as(ws), self.locality_psi, None)
                there = ws + steps_towards(w - ws, self.locality_distance * spread)
                old = self.loss.prepare(painter(pivot, there, "none"))
            new = painter.stacked(tuned, pivot, there, "none")
            return self.loss.total(self.loss(new, pivot.code, old))

        return change

    def _pivot_is_given(self, start: object) -> bool:
        return start is not None and not self.pivot_steps

    @torch.no_grad()
    def _ws(self, generator: Generator, code: Tensor) -> Tensor | None:
        return self.space.to_ws(generator, code)

    @cached_property
    def _needs(self) -> Needs:
        pivot = self._any_inversion()
        ws = None if self.tune_mapping else self._ws(self.generator, pivot.code)
        return probe(Painter(self.generator, self.space, pivot), self.loss, pivot, ws)

    def _any_inversion(self) -> Inversion:
        return Inversion(self.space.initial(self.generator, image_rngs(0, ["probe"])))

    def _fitting(self) -> int:
        """Images whose tuning fits into memory."""
        like = self.generator.w_avg
        sizes = {name: x.numel() * x.element_size() for name, x in self.generator.named_parameters()}
        weights = sum(sizes[name] for name in self._needs.weights)
        passes = 2 if self.locality else 1
        limit = self.memory * 2**30 if self.memory else free_memory(like.device)
        return max(1, int(limit // (COPIES * weights + passes * self._needs.activations)))


def steps_towards(away: Tensor, distance: Tensor) -> Tensor:
    """Steps `(N, …)` of a length in the direction of others.

    >>> steps_towards(torch.tensor([[3.0, 4.0]]), torch.tensor(10.0))
    tensor([[6., 8.]])
    """
    return away * (distance / away.flatten(1).norm(dim=1)).view(-1, *[1] * (away.dim() - 1))
