"""Training of the portraits' identity network: an additive angular margin over rendered persons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from zinv.data.portraits.parameters import ATTRIBUTES, IDENTITY, Portraits, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.data.sources import FIRST_SEED
from zinv.images import round_8bit
from zinv.networks.portraits import IdentityNet
from zinv.training.base import Batch, Trainee
from zinv.training.renders import Renders, degrade
from zinv.training.schedule import adamw

COLOURS = ("melanin", "redness", "blush", "hair_darkness", "hair_redness", "dye_amount", "dye_hue")
"""Identity parameters of skin and hair colour; persons that share them are hard to tell apart."""

Embed = Callable[[Tensor], Tensor]


class IdentityTraining(Trainee):
    """Who a portrait shows: a 128-d unit vector, trained to tell rendered persons apart whatever their attributes.

    Loss: CosFace over the persons, `cross_entropy(s (cos - m [own person]))`, plus the squared error of a linear
    readout of the identity parameters, which a few thousand persons alone leave badly covered.

    Args:
        num_steps: batches.
        batch_size: images a step.
        lr: highest learning rate.
        num_images: images in the cache.
        per_identity: images of each person.
        start: first image and first person; the other networks train on the first ones of the split.
        margin: m.
        sharpness: s.
        truth_weight: weight of the readout.
        renders: folder of cached renders; the run's own if none is given.
        processes: that draw renders.
        num_pairs: pairs of each kind that quality is measured on.
        seed: of weights and order.
    """

    name = "identity"
    max_gradient = 1.0  # without norm layers, one steep batch at the full rate can undo a training

    def __init__(
        self,
        num_steps: int = 6000,
        batch_size: int = 64,
        lr: float = 2e-3,
        num_images: int = 40000,
        per_identity: int = 10,
        start: int = 1_000_000,
        margin: float = 0.2,
        sharpness: float = 16.0,
        truth_weight: float = 10.0,
        renders: str | None = None,
        processes: int = 1,
        num_pairs: int = 500,
        seed: int = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed)
        self.lr, self.margin, self.sharpness, self.truth_weight = lr, margin, sharpness, truth_weight
        self.num_images, self.per_identity, self.start, self.num_pairs = num_images, per_identity, start, num_pairs
        self.renders, self.processes = renders, processes
        torch.manual_seed(seed)
        self.network = IdentityNet()
        self.readout = nn.Linear(self.network.dim, len(IDENTITY))
        self.persons = nn.Parameter(torch.randn(num_images // per_identity, self.network.dim))

    def prepare_data(self) -> None:
        """Draw what is missing in the cache."""
        self._source().make(self.processes)

    def setup(self, stage: str) -> None:
        """Open the cache."""
        self.source = self._source()

    def batch(self, step: int) -> Batch:
        """Images, persons' numbers and identity parameters."""
        rng = self.rng(step)
        mine = self.indices(self.num_images, step)
        images = degrade(self.source.images(mine), rng)
        return images, mine // self.per_identity, self.source.identity[mine]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        images, persons, truth = batch
        vectors = self.network(images.contiguous(memory_format=torch.channels_last))
        angular = cosface(vectors, self.persons, persons, self.margin, self.sharpness)
        # unit vectors have entries of size 1/sqrt(dim)
        readout = F.mse_loss(self.readout(vectors * self.network.dim**0.5).float(), truth)
        self.log_dict({"angular": angular, "truth": readout})
        return angular + self.truth_weight * readout

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a warm cosine."""
        return adamw(self, self.lr, self.num_steps)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The network without the persons' vectors."""
        return self.network.state_dict(), self.network.metadata()

    def measure(self) -> dict[str, float]:
        """Verification of persons never trained on, with a colour histogram's beside it."""
        return {**self._verify("auc", self.network.to("cpu")), **self._verify("histogram_auc", histogram)}

    def _source(self) -> Renders:
        return Renders(Path(self.renders or self.folder), self.num_images, self.per_identity, start=self.start)

    def _verify(self, name: str, embed: Embed) -> dict[str, float]:
        easy, hard = (verification_auc(embed, self.num_pairs, hard) for hard in (False, True))
        return {name: easy, f"{name}_hard": hard}


def cosface(vectors: Tensor, persons: Tensor, labels: Tensor, margin: float, sharpness: float) -> Tensor:
    """Large-margin cosine loss (Wang et al. 2018, eq. 4), mean over the batch.

    Args:
        vectors: unit vectors `(N, D)`.
        persons: one vector a person `(P, D)`, of any length.
        labels: each image's person `(N,)`.
        margin: what is taken off the own person's cosine.
        sharpness: factor of all cosines.
    """
    cosines = vectors @ F.normalize(persons, dim=1).T.to(vectors.dtype)
    return F.cross_entropy(sharpness * (cosines.float() - margin * F.one_hot(labels, len(persons))), labels)


def verification_auc(embed: Embed, num: int, hard: bool) -> float:
    """Area under the ROC of "same person?" over `num` pairs of each answer, all from the tune split.

    The two pictures of a pair differ in every attribute and all detail. In hard pairs, the other person has been given
    the hair and skin colours of the first.
    """
    first, same, other = _trios(num)
    if hard:
        columns = [IDENTITY.index(name) for name in COLOURS]
        identity = other.identity.clone()
        identity[:, columns] = first.identity[:, columns]
        other = replace(other, identity=identity)
    a, b, c = (_embed(embed, portraits) for portraits in (first, same, other))
    return auc((a * b).sum(1), (a * c).sum(1))


def _trios(num: int) -> tuple[Portraits, Portraits, Portraits]:
    """Pictures of a person, of the same one, and of another."""
    start = FIRST_SEED["tune"]
    pictures = [list(range(start + k * num, start + (k + 1) * num)) for k in range(3)]
    first = sample_portraits(pictures[0])
    glasses = 1 - first.attributes[:, ATTRIBUTES.index("glasses")]
    others = [sample_portraits(pictures[1], identity_seeds=pictures[0]), sample_portraits(pictures[2])]
    for portraits in others:
        portraits.attributes[:, ATTRIBUTES.index("glasses")] = glasses
    return first, others[0], others[1]


def _embed(embed: Embed, portraits: Portraits) -> Tensor:
    parts = [portraits[start : start + 100] for start in range(0, len(portraits), 100)]
    return torch.cat([F.normalize(embed(round_8bit(render(part))), dim=1) for part in parts])


def histogram(images: Tensor, bins: int = 8) -> Tensor:
    """Square roots of the RGB histogram `(N, bins**3)`, whose inner product is Bhattacharyya's coefficient."""
    levels = ((images + 1) / 2 * bins).long().clamp(0, bins - 1)
    cells = (levels[:, 0] * bins + levels[:, 1]) * bins + levels[:, 2]
    flat = cells.flatten(1)
    counts = torch.zeros(len(images), bins**3).scatter_add_(1, flat, torch.ones(flat.shape))
    return (counts / flat.shape[1]).sqrt()


def auc(positives: Tensor, negatives: Tensor) -> float:
    """Share of (positive, negative) pairs in the right order, ties as half.

    >>> auc(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
    0.875
    """
    difference = positives[:, None] - negatives[None]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())
