"""Draws of a prior and what is seen in their pictures: what directions with a meaning are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from zinv.editing.direction import Direction, to_tensors
from zinv.editing.moves import Move
from zinv.errors import ConfigError, suggest
from zinv.generators.base import Generator
from zinv.images import write_png
from zinv.networks.portraits import load_attributes
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.training.base import Batch, Trainee
from zinv.weights import Weights, find

STEADY = 0.9  # Spearman's correlation of strength and attribute over the calibrated range


class Scored(Trainee):
    """What trainings on scored draws share: draws, their scores, and how far a direction may go.

    Args:
        generator: whose prior.
        space: that codes are drawn in, each row for itself.
        attributes: those that get a direction; by default all that the network or the file knows.
        network: that scores pictures, one of the portraits' attribute networks.
        scores: a CSV of your own instead, with a column `draw` and one for each attribute; `model=draws` writes the
            pictures.
        num: draws.
        ratio: share of them that is taken from either end of an attribute.
        limit: strengths that are tried when the range of a direction is measured.
        num_calibrated: draws that it is measured on.
        conditions: attributes that a direction is made orthogonal to, by its own: `{smile: [age]}`.
        batch_size: pictures at a time.
        seed: of the draws.
    """

    stored_half = False
    method: ClassVar[str]

    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        attributes: Sequence[str] | None = None,
        network: Weights = "portraits/attributes",
        scores: Weights | None = None,
        num: int = 20_000,
        ratio: float = 0.02,
        limit: float = 6.0,
        num_calibrated: int = 16,
        conditions: dict[str, list[str]] | None = None,
        batch_size: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(-(-num // batch_size), batch_size, seed, precision="32-true")
        space.check(generator)
        self.name = f"{self.method}_{space.label.lower().replace('+', 'plus').replace('(p_n)', '')}"
        self.automatic_optimization = False
        self.num, self.ratio, self.limit, self.num_calibrated = num, ratio, limit, num_calibrated
        self.given = None if scores is None else read_scores(find(scores), num)
        self.network = load_attributes(network) if self.given is None else None
        known = [*self.given] if self.given else list(self.network.names if self.network else ())
        self.attributes = check_attributes(attributes or known, known)
        self.known, self.conditions = known, conditions or {}
        for attribute, others in self.conditions.items():
            check_attributes([attribute, *others], known, f"model.conditions.{attribute}")
        self.frozen = (generator, space)  # in a tuple, so that checkpoints leave them out
        self.register_buffer("scores", torch.full((num, len(known)), torch.nan))
        self.scores: Tensor
        self.quality: dict[str, float] = {}

    @property
    def generator(self) -> Generator:
        """Whose prior."""
        return self.frozen[0]

    @property
    def space(self) -> LatentSpace:
        """That codes are drawn in."""
        return self.frozen[1]

    def setup(self, stage: str) -> None:
        """Refuse several devices: the draws take minutes on one."""
        if self.trainer.world_size > 1:
            raise ConfigError(f"trainer.devices={self.trainer.world_size}: directions are fitted on one device.")

    def on_fit_start(self) -> None:
        """Bring the generator to the device."""
        self.generator.to(self.device)

    def batch(self, step: int) -> Batch:
        """Places of draws."""
        return (torch.arange(step * self.batch_size, min((step + 1) * self.batch_size, self.num)),)

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Score the pictures of a batch of draws."""
        (places,) = batch
        if self.given is None:
            self.scores[places] = self.score(self.render(self.draws(places.tolist())))
        else:
            self.scores[places] = torch.stack([self.given[name][places.cpu()] for name in self.known], 1).to(
                self.scores
            )

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def draws(self, places: Sequence[int], kind: str = "draw") -> Tensor:
        """Codes `(N, *K)` by their places, the same in any batch."""
        return self.space.draw(self.generator, image_rngs(self.seed, [f"{kind} {place}" for place in places]))

    def render(self, codes: Tensor) -> Tensor:
        """Their pictures."""
        return self.generator.synthesis(self.space.to_styles(self.generator, codes))

    def score(self, images: Tensor) -> Tensor:
        """Attributes `(N, A)` as they are fitted: of a binary one the log odds, so that its extremes have an order."""
        assert self.network is not None
        return self.network.logits(images)

    def extremes(self, attribute: str) -> tuple[Tensor, Tensor]:
        """Places of the draws that have least and most of an attribute, the extreme ones first.

        Raises:
            ConfigError: they all have as much of it.
        """
        values = self.scores[:, self.known.index(attribute)].cpu()
        order = values.argsort(stable=True)
        num = max(2, min(self.num // 2, round(self.ratio * self.num)))
        if not values[order[-1]] > values[order[0]]:
            raise ConfigError(f"model.attributes={attribute}: all {self.num} draws have the same score.")
        return order[:num], order.flip(0)[:num]

    def codes(self, places: Tensor) -> Tensor:
        """Codes of many draws, on the CPU."""
        parts = places.tolist()
        chunks = (parts[i : i + self.batch_size] for i in range(0, len(parts), self.batch_size))
        return torch.cat([self.draws(chunk).cpu() for chunk in chunks])

    def direction(self, attribute: str, step: Tensor) -> Direction:
        """A direction of a code's shape `K`, with the range over which it does what it says."""
        rows = step.reshape(-1, step.shape[-1])
        coordinates = self.space.coordinates
        found = Direction(attribute, coordinates, rows, self.generator.sha256, attribute=attribute)
        return replace(found, range=self._calibrated(found)) if self.network else found

    @torch.no_grad()
    def _calibrated(self, direction: Direction) -> tuple[float, float] | None:
        """The longest range about 0 in which the attribute's mean rises with every step of a half."""
        strengths = torch.arange(-2 * self.limit, 2 * self.limit + 1) / 2
        codes = self.draws(range(self.num_calibrated), "calibration")
        column = self.known.index(direction.attribute)
        values = torch.stack([self._moved(direction, codes, d)[:, column] for d in strengths.tolist()])
        rising = values.mean(1).diff() > 0
        zero = len(strengths) // 2
        low = next((i + 1 for i in range(zero - 1, -1, -1) if not rising[i]), 0)
        high = next((i for i in range(zero, len(rising)) if not rising[i]), len(rising))
        if low == zero or high == zero:
            return None
        inside = values[low : high + 1].T.numpy()
        order = strengths[low : high + 1].numpy()
        steady = np.mean([spearmanr(order, row).statistic >= STEADY for row in inside])
        self.quality[f"steady_{direction.name}"] = float(steady)
        self.quality[f"change_{direction.name}"] = float(values[high].mean() - values[low].mean())
        return float(strengths[low]), float(strengths[high])

    def _moved(self, direction: Direction, codes: Tensor, strength: float) -> Tensor:
        move = Move.along(direction, [strength] * len(codes))
        parts = move(self.space, self.generator, codes).split(self.batch_size)
        return torch.cat([self.score(self.render(part)).cpu() for part in parts])

    def directions(self) -> list[Direction]:
        """What was fitted, one for each attribute."""
        raise NotImplementedError

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The directions."""
        return to_tensors(self.directions(), space=self.space.label, method=self.name)

    def measure(self) -> dict[str, float]:
        """Of each direction: accuracy on draws left out; share of calibration draws changed steadily; how far."""
        return self.quality


class Draws(Trainee):
    """Pictures of a prior, to be scored by whatever you have; their scores are the `model.scores` of other trainings.

    Args:
        generator: whose prior.
        space: that codes are drawn in.
        num: draws.
        batch_size: pictures at a time.
        seed: of the draws; the other training must have the same.
    """

    name = "draws"
    stored_half = False

    def __init__(
        self, generator: Generator, space: LatentSpace, num: int = 20_000, batch_size: int = 100, seed: int = 0
    ) -> None:
        super().__init__(-(-num // batch_size), batch_size, seed, precision="32-true")
        space.check(generator)
        self.automatic_optimization = False
        self.num, self.frozen = num, (generator, space)
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))
        self.written: Tensor

    def on_fit_start(self) -> None:
        """Bring the generator to the device."""
        self.frozen[0].to(self.device)

    def batch(self, step: int) -> Batch:
        """Places of draws."""
        return (torch.arange(step * self.batch_size, min((step + 1) * self.batch_size, self.num)),)

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Write pictures `pictures/00000.png` into the run folder."""
        generator, space = self.frozen
        places, folder = batch[0].tolist(), self.folder / "pictures"
        folder.mkdir(exist_ok=True)
        codes = space.draw(generator, image_rngs(self.seed, [f"draw {place}" for place in places]))
        for place, image in zip(places, generator.synthesis(space.to_styles(generator, codes)), strict=True):
            write_png(image, folder / f"{place:05d}.png")
        self.written += len(places)

    def configure_optimizers(self) -> None:
        """Nothing is optimised."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """How many there are, and of what."""
        generator, space = self.frozen
        return {"num": self.written}, {"kind": "draws", "generator": generator.sha256, "space": space.label}

    def measure(self) -> dict[str, float]:
        """Pictures written."""
        return {"pictures": float(self.written)}


def read_scores(path: Path, num: int) -> dict[str, Tensor]:
    """Scores by attribute of the draws 0 to `num - 1`.

    Raises:
        ConfigError: there is no such file, or it does not have one row a draw with numbers.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"model.scores={path}: not a readable CSV ({reason}).") from error
    if "draw" not in frame or len(frame.columns) < 2:
        raise ConfigError(f"model.scores={path}: wants columns draw and attributes; it has {', '.join(frame.columns)}.")
    if sorted(frame["draw"]) != list(range(num)):
        raise ConfigError(f"model.scores={path}: wants one row for each draw from 0 to {num - 1}; it has {len(frame)}.")
    frame = frame.sort_values("draw").drop(columns="draw")
    wrong = [str(name) for name in frame if not np.isfinite(pd.to_numeric(frame[name], errors="coerce")).all()]
    if wrong:
        raise ConfigError(f"model.scores={path}: column {wrong[0]} is not a number in every row.")
    return {str(name): torch.tensor(frame[name].to_numpy(), dtype=torch.float32) for name in frame}


def check_attributes(asked: Sequence[str], known: Sequence[str], key: str = "model.attributes") -> list[str]:
    """The attributes that are asked for.

    Raises:
        ConfigError: one is not known.
    """
    for name in asked:
        if name not in known:
            raise ConfigError(f"{key}={name}: there is no such attribute. {suggest(name, known)}")
    return list(asked)
