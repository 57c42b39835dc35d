"""Training of SAM's invertibility predictor from single-space inversions (Parmar et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from zinv import weights
from zinv.data.base import DataSource
from zinv.data.reconstructions import Reconstructions
from zinv.errors import ConfigError, StoreError
from zinv.generators.base import Generator
from zinv.images import from_uint8, resize, to_uint8
from zinv.networks.invertibility import InvertibilityNet
from zinv.networks.perceptual import load_lpips
from zinv.networks.portraits import PerceptualNet
from zinv.seeding import image_rng
from zinv.training.base import Batch, Precision, Trainee
from zinv.training.schedule import adamw
from zinv.values import Count, Positive
from zinv.weights import Runs

ErrorNetwork = Annotated[str, "weights"] | Literal["pixel", "random/vgg16"]
"""LPIPS or the portraits' perceptual network by its weight file, or the squared difference of pixels."""

ErrorMap: TypeAlias = Callable[[Tensor, Tensor], Tensor]
CODE = "code"
SEEN = 256  # pixels at which differences of larger pictures are taken, as released
SHOWN = 6
HOW = "make each with `zinv evaluate method=sam method.only=LAYER`, LAYER code or a point such as b16.out"


class InvertibilityTraining(Trainee):
    """Maps of where each layer alone fails to reproduce a picture, learnt from inversions that zinv made.

    The target of a layer is the perceptual difference between a picture and its inversion in that layer, place by
    place. A share of the pictures is held out; the card has the correlation of predicted and true maps over all their
    pixels, and beside it that of the training pictures' mean map, which knows nothing of the picture.

    Args:
        generator: that the inversions are of.
        data: their targets; all of them must be finished, or failed, in every run.
        runs: folders of single-space runs, one for the code (`method=sam method.only=code`), one for each point.
        network: what differences are measured with, and so the unit of SAM's threshold.
        size: side of the maps, and of the pictures that the predictor sees.
        width: channels of its first stage.
        held_out: share of the pictures that is not trained on.
        num_steps: batches.
        batch_size: pictures a step; each is mirrored or not.
        lr: AdamW's.
        precision: Lightning's.
        seed: of weights, order and the held-out pictures.
    """

    name = "invertibility"
    max_gradient = 1.0

    def __init__(
        self,
        generator: Generator,
        data: DataSource,
        runs: Runs,
        network: ErrorNetwork = "lpips/vgg16",
        size: Count = 64,
        width: Count = 24,
        held_out: Positive = 0.2,
        num_steps: Count = 3000,
        batch_size: Count = 16,
        lr: Positive = 1e-3,
        precision: Precision = "32-true",
        seed: int = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed, precision=precision)
        data.match(generator.resolution)
        self.frozen, self.network, self.lr = (generator, error_map(network)), network, lr
        self.data, self.sources = data, _ordered([Reconstructions(run) for run in runs], generator)
        self.train_ids, self.held_out_ids = split(usable(data.ids, self.sources), held_out, seed)
        torch.manual_seed(seed)
        self.predictor = InvertibilityNet(_candidates(self.sources), size, width)

    def on_fit_start(self) -> None:
        """Take the differences, once for a folder."""
        file = self.folder / "maps.safetensors"
        if not file.is_file():
            weights.write(file, self._pairs([*self.train_ids, *self.held_out_ids]), {})
        tensors = weights.read(file)[0]
        self.targets, self.maps = tensors["pictures"], tensors["maps"]

    def batch(self, step: int) -> Batch:
        """Pictures and their maps, half of them mirrored."""
        chosen = self.indices(len(self.train_ids), step)
        mirrored = torch.rand(len(chosen), 1, 1, 1, generator=self.rng(step)) < 0.5
        pair = from_uint8(self.targets[chosen]), self.maps[chosen]
        return tuple(torch.where(mirrored, x.flip(3), x) for x in pair)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error of the maps."""
        pictures, maps = batch
        errors = (self.predictor(pictures) - maps).square().mean((0, 2, 3))
        self.log_dict({name: error for name, error in zip(self.predictor.candidates, errors, strict=True)})
        return errors.mean()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a warm cosine."""
        return adamw(self.predictor, self.lr, self.num_steps)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The predictor, tied to its generator and candidates."""
        return self.predictor.state_dict(), self.predictor.metadata(self.frozen[0].sha256, str(self.network))

    def measure(self) -> dict[str, float]:
        """Correlations of predicted and true maps on the held-out pictures."""
        predicted, true = self._predicted(self.held_out_ids), self.maps[len(self.train_ids) :]
        mean = self.maps[: len(self.train_ids)].mean(0).expand_as(true)
        values: dict[str, float] = {"held-out pictures": len(true), "pictures trained on": len(self.train_ids)}
        for i, name in enumerate(self.predictor.candidates):
            values[f"correlation, {name}"] = correlation(predicted[:, i], true[:, i])
            values[f"correlation of the mean map, {name}"] = correlation(mean[:, i], true[:, i])
        return values

    def samples(self) -> Tensor:
        """Held-out pictures; then, for each candidate, their true maps and the predicted ones."""
        shown = self.held_out_ids[:SHOWN]
        first = len(self.train_ids)
        true, predicted = self.maps[first : first + len(shown)], self._predicted(shown)
        pairs = torch.stack([true, predicted], 2) / self.maps.amax((0, 2, 3))[:, None, None, None]
        grey = pairs.permute(1, 2, 0, 3, 4).flatten(0, 2)[:, None].expand(-1, 3, -1, -1)
        pictures = from_uint8(self.targets[first : first + len(shown)])
        return torch.cat([pictures, 2 * grey.clamp(0, 1) - 1])

    @torch.no_grad()
    def _predicted(self, ids: Sequence[str]) -> Tensor:
        first = len(self.train_ids)
        pictures = from_uint8(self.targets[first : first + len(ids)])
        found = [self.predictor(x.to(self.device)).float().cpu() for x in pictures.split(self.batch_size)]
        return torch.cat(found)

    @torch.no_grad()
    def _pairs(self, ids: Sequence[str]) -> dict[str, Tensor]:
        """8-bit pictures `(n, size, size, 3)` and maps `(n, candidates, size, size)`."""
        size, (_, errors), place = self.predictor.size, self.frozen, {name: i for i, name in enumerate(self.data.ids)}
        pictures, maps = [], []
        for name in ids:
            target = self.data.image(place[name])
            made = torch.stack([source.image(name, target) for source in self.sources])
            side = min(SEEN, target.shape[-1])
            found = errors(resize(made, side), resize(target[None], side).expand(len(made), -1, -1, -1))
            maps.append(resize(found, size)[:, 0].half())
            pictures.append(to_uint8(resize(target[None], size))[0])
        return {"pictures": torch.stack(pictures), "maps": torch.stack(maps)}


def error_map(name: str) -> ErrorMap:
    """From images and targets `(N, 3, H, W)` to maps of their difference `(N, 1, h, w)`.

    Raises:
        WeightsError: there is no such network.
    """
    if name == "pixel":
        return lambda image, target: (image - target).square().mean(1, keepdim=True)
    if not name.startswith("random/") and weights.metadata(weights.find(name)).get("kind") == PerceptualNet.kind:
        return PerceptualNet.load(name).map
    return load_lpips(name).map


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, over all numbers.

    >>> round(correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])), 6)
    1.0
    """
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1])


def usable(ids: Sequence[str], sources: Sequence[Reconstructions]) -> list[str]:
    """Those of the ids that are finished in every run.

    Raises:
        StoreError: some are neither finished nor failed in a run.
    """
    for source in sources:
        left = [name for name in ids if name not in source.finished | source.failed]
        if left:
            raise StoreError(
                f"{source.folder}: {len(left)} of {len(ids)} images are not finished, such as '{left[0]}'."
            )
    return [name for name in ids if all(name in source.finished for source in sources)]


def split(ids: Sequence[str], held_out: float, seed: int) -> tuple[list[str], list[str]]:
    """Ids to train on, and at least one that is held out.

    Raises:
        ConfigError: one of the two would be empty.
    """
    num = max(1, round(held_out * len(ids)))
    if num >= len(ids):
        raise ConfigError(f"model.held_out={held_out:g}: of {len(ids)} images none is left to train on.")
    order = torch.randperm(len(ids), generator=image_rng(seed, "held out")).tolist()
    return [ids[i] for i in sorted(order[num:])], [ids[i] for i in sorted(order[:num])]


def _candidates(sources: Sequence[Reconstructions]) -> list[str]:
    return [sources[0].settings["space"], *(source.settings["layer"] for source in sources[1:])]


def _ordered(sources: Sequence[Reconstructions], generator: Generator) -> list[Reconstructions]:
    """The runs, that of the code first, then by point.

    Raises:
        ConfigError: a run is not of one layer of this generator, two are of one layer or of different spaces, or that
            of the code is missing.
    """
    order, by_layer = [CODE, *generator.points], dict[str, Reconstructions]()
    for source in sources:
        layer = source.settings.get("layer", "")
        if layer not in order:
            raise ConfigError(f"model.runs: {source.folder} is not of one layer of this generator; {HOW}.")
        if layer in by_layer:
            raise ConfigError(f"model.runs: {by_layer[layer].folder} and {source.folder} are both of layer {layer}.")
        if source.generator != generator.sha256:
            theirs, ours = source.generator[:8] or "unknown", generator.sha256[:8]
            raise ConfigError(f"model.runs: {source.folder} is of generator {theirs}…, not of {ours}….")
        by_layer[layer] = source
    if CODE not in by_layer or len(by_layer) < 2:
        raise ConfigError(f"model.runs: one run of layer code and at least one of a point are needed; {HOW}.")
    spaces = dict.fromkeys(source.settings["space"] for source in sources)
    if len(spaces) > 1:
        raise ConfigError(f"model.runs: of several spaces, {', '.join(spaces)}; one predictor is for one.")
    return [by_layer[layer] for layer in order if layer in by_layer]
