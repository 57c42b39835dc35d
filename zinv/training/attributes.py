"""Training of the portraits' attribute networks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from zinv.data.portraits.parameters import ATTRIBUTES, BINARY
from zinv.networks.portraits import AttributeNet
from zinv.training.base import Batch, Trainee
from zinv.training.renders import Renders, degrade
from zinv.training.schedule import adamw


class AttributeTraining(Trainee):
    """How a portrait looks: smile, age, pose, glasses and the others, regressed from the pixels.

    Loss: squared error; binary cross-entropy for glasses.

    Args:
        name: of the weight file.
        style: kind of layers.
        width: channels of the first map.
        num_steps: batches.
        batch_size: images a step.
        lr: highest learning rate.
        num_images: images in the cache.
        per_identity: images of each person.
        start: first image of the cache; another start is other data.
        renders: folder of cached renders; the run's own if none is given.
        processes: that draw renders.
        num_tune: images that quality is measured on.
        seed: of weights and order.
    """

    def __init__(
        self,
        name: str = "attributes",
        style: Literal["plain", "residual"] = "plain",
        width: int = 32,
        num_steps: int = 6000,
        batch_size: int = 64,
        lr: float = 2e-3,
        num_images: int = 40000,
        per_identity: int = 1,
        start: int = 0,
        renders: str | None = None,
        processes: int = 1,
        num_tune: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed)
        self.name = name
        self.lr, self.num_images, self.per_identity, self.start = lr, num_images, per_identity, start
        self.renders, self.processes, self.num_tune = renders, processes, num_tune
        torch.manual_seed(seed)
        self.network = AttributeNet(ATTRIBUTES, BINARY, style, width)

    def prepare_data(self) -> None:
        """Draw what is missing in the caches."""
        for source in self._sources():
            source.make(self.processes)

    def setup(self, stage: str) -> None:
        """Open the caches."""
        self.source, self.tune = self._sources()

    def batch(self, step: int) -> Batch:
        """Images and attribute values."""
        mine = self.indices(self.num_images, step)
        return degrade(self.source.images(mine), self.rng(step)), self.source.attributes[mine]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        images, truth = batch
        logits = self.network.logits(images.contiguous(memory_format=torch.channels_last))
        loss = attribute_loss(logits, truth, self.network.is_binary)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a warm cosine."""
        return adamw(self, self.lr, self.num_steps)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The network."""
        return self.network.state_dict(), self.network.metadata()

    def measure(self) -> dict[str, float]:
        """R2 of each attribute on the tune split; accuracy for a binary one."""
        parts = torch.split(torch.arange(self.num_tune), 200)
        predicted = torch.cat([self.network(self.tune.images(part).to(self.device)).cpu() for part in parts])
        return attribute_quality(predicted, self.tune.attributes)

    def _sources(self) -> tuple[Renders, Renders]:
        cache = Path(self.renders or self.folder)
        train = Renders(cache, self.num_images, self.per_identity, start=self.start)
        return train, Renders(cache, self.num_tune, split="tune")


def attribute_loss(logits: Tensor, truth: Tensor, is_binary: Tensor) -> Tensor:
    """Mean over images and attributes: squared error, or cross-entropy of log odds where binary."""
    error = (logits - truth).square()
    entropy = F.binary_cross_entropy_with_logits(logits, truth.clamp(0, 1), reduction="none")
    return torch.where(is_binary, entropy, error).mean()


def attribute_quality(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """`r2_NAME` of each attribute, `accuracy_NAME` of each binary one, from `(N, A)` values."""
    r2 = 1 - (predicted - truth).square().mean(0) / truth.var(0, correction=0)
    right = ((predicted > 0.5) == (truth > 0.5)).float().mean(0)
    named = zip(ATTRIBUTES, r2.tolist(), right.tolist(), strict=True)
    return {f"accuracy_{n}" if n in BINARY else f"r2_{n}": hit if n in BINARY else value for n, value, hit in named}
