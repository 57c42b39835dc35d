"""Training of the portraits' perceptual network."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from zinv.data.portraits.parameters import ATTRIBUTES, IDENTITY
from zinv.networks.portraits import RESOLUTION, PerceptualNet
from zinv.training.base import Batch, Trainee
from zinv.training.renders import Renders
from zinv.training.schedule import adamw

WEIGHED = 500


class PerceptualTraining(Trainee):
    """Features of portraits whose distance sees texture and parts, where a plain pixel error sees light and shade.

    Two tasks on noisy, softened, mottled renders. Each tap has a linear readout of the pixels of its own cell, as they
    are and as they were before the damage: every scale has to keep texture and to know it from damage, where a net
    trained on labels alone forgets it. The last tap has a readout of all identity and attribute parameters, so that
    parts and expression count as well. At the end each channel gets a weight: see `channel_weights`.

    Args:
        num_steps: batches.
        batch_size: images a step.
        lr: highest learning rate.
        num_images: images in the cache.
        truth_weight: weight of the parameters' squared error; the pixels' is 1 for each tap.
        renders: folder of cached renders; the run's own if none is given.
        processes: that draw renders.
        num_tune: images that quality is measured on.
        seed: of weights, order and damage.
    """

    name = "perceptual"
    max_gradient = 1.0  # without norm layers, one steep batch at the full rate can undo a training

    def __init__(
        self,
        num_steps: int = 3000,
        batch_size: int = 64,
        lr: float = 1e-3,
        num_images: int = 40000,
        truth_weight: float = 0.3,
        renders: str | None = None,
        processes: int = 1,
        num_tune: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__(num_steps, batch_size, seed)
        self.lr, self.truth_weight = lr, truth_weight
        self.num_images = num_images
        self.renders, self.processes, self.num_tune = renders, processes, num_tune
        torch.manual_seed(seed)
        self.network = PerceptualNet()
        cells = [6 * 4 ** (i + 1) for i in range(len(self.network.widths))]
        self.pixels = nn.ModuleList(nn.Conv2d(w, cell, 1) for w, cell in zip(self.network.widths, cells, strict=True))
        self.truth = nn.Linear(self.network.widths[-1] * 16, len(IDENTITY) + len(ATTRIBUTES))

    def prepare_data(self) -> None:
        """Draw what is missing in the caches."""
        for source in self._sources():
            source.make(self.processes)

    def setup(self, stage: str) -> None:
        """Open the caches."""
        self.source, self.tune = self._sources()

    def batch(self, step: int) -> Batch:
        """Damaged images, clean ones, and all parameters."""
        mine = self.indices(self.num_images, step)
        clean = self.source.images(mine)
        truth = torch.cat([self.source.identity[mine], self.source.attributes[mine]], 1)
        return damage(clean, self.rng(step)), clean, truth

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        damaged, clean, truth = batch
        maps = self.network.features(damaged.contiguous(memory_format=torch.channels_last))
        read = [F.pixel_shuffle(p(x), RESOLUTION // x.shape[-1]) for p, x in zip(self.pixels, maps, strict=True)]
        both = torch.cat([clean, damaged], 1)
        pixels = torch.stack([F.mse_loss(image.float(), both) for image in read])
        parameters = F.mse_loss(self.truth(maps[-1].flatten(1)).float(), truth)
        self.log_dict({"pixels": pixels.mean(), "parameters": parameters})
        return pixels.sum() + self.truth_weight * parameters

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a warm cosine."""
        return adamw(self, self.lr, self.num_steps)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The network, with the weights of its channels set."""
        images = self.source.images(torch.arange(min(WEIGHED, self.num_images))).to(self.device)
        self.network.scale.copy_(channel_weights(self.network, images, self.rng(0)))
        return self.network.state_dict(), self.network.metadata()

    def measure(self) -> dict[str, float]:
        """How often damage that the eye minds more is further away: see `perceptual_quality`."""
        images = self.tune.images(torch.arange(self.num_tune)).to(self.device)
        return perceptual_quality(self.network, images, self.rng(0))

    def _sources(self) -> tuple[Renders, Renders]:
        cache = Path(self.renders or self.folder)
        return Renders(cache, self.num_images), Renders(cache, self.num_tune, split="tune")


def damage(images: Tensor, rng: torch.Generator) -> Tensor:
    """Noise, softness, blocks and lost cells, each of its own strength in each image; `(N, 3, R, R)` in [-1, 1]."""
    num, _, size, _ = images.shape
    amount = torch.rand(num, 4, 1, 1, 1, generator=rng).unbind(1)
    soft = F.avg_pool2d(images, 5, 1, 2, count_include_pad=False)
    mixed = torch.lerp(images, soft, (1.5 * amount[0] - 0.5).clamp(min=0))
    noise = torch.randn(images.shape, generator=rng) * 0.4 * (amount[1] - 0.3).clamp(min=0)
    coarse = torch.randn(num, 3, size // 4, size // 4, generator=rng) * 0.4 * (amount[2] - 0.3).clamp(min=0)
    lost = torch.rand(num, 1, size // 4, size // 4, generator=rng) < 0.15 * (amount[3] - 0.3)
    spoilt = mixed + noise + F.interpolate(coarse, size=size)
    return spoilt.masked_fill(F.interpolate(lost.float(), size=size) > 0, 0.0).clamp(-1, 1)


@torch.no_grad()
def channel_weights(network: PerceptualNet, images: Tensor, rng: torch.Generator) -> Tensor:
    """A weight a channel, `(sum(widths),)`: how much more it answers to texture than to as much light.

    The geometric mean of its answers to lost and to false texture, over that to light; then each tap's distance of two
    random portraits is brought to 1 / taps.
    """
    target = network.features(images)

    def answer(changed: Tensor) -> Tensor:
        return network.differences(network.features(changed), target).mean(0)

    ratios = [answer(spoilt) / answer(lit) for spoilt, lit in texture_and_light(images, rng).values()]
    weights = torch.stack(ratios).log().mean(0).exp()
    shares = weights * network.differences(target, tuple(x.roll(1, 0) for x in target)).mean(0)
    taps = zip(weights.split(network.widths), shares.split(network.widths), strict=True)
    return torch.cat([weight / (share.sum() * len(network.widths)) for weight, share in taps])


def texture_and_light(images: Tensor, rng: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """By kind of damage, images that lost texture or got false one, and as many whose light changed by as much."""
    spoilt = {
        "blur": F.avg_pool2d(images, 3, 1, 1, count_include_pad=False),
        "noise": images + 0.05 * torch.randn(images.shape, generator=rng).to(images),
    }
    sizes = {name: (x - images).square().mean((1, 2, 3), keepdim=True).sqrt() for name, x in spoilt.items()}
    return {name: (x, images - sizes[name] * images.mean().sign()) for name, x in spoilt.items()}


def perceptual_quality(network: PerceptualNet, images: Tensor, rng: torch.Generator) -> dict[str, float]:
    """Shares of right orders; a plain squared error has .5 in the `_equal_mse` ones by construction.

    - `rank_blur`, `rank_noise`: of two images with more and less of it, the one with more is further away.
    - `blur_or_light_equal_mse`, `noise_or_light_equal_mse`: lost or false texture is further than a change of light of
      the same squared error.
    """
    target, pairs = network.features(images), texture_and_light(images, rng)

    def away(changed: Tensor) -> Tensor:
        return network.distance(network.features(changed), target)

    ranks = {
        f"rank_{name}": share_larger(away(spoilt), away(torch.lerp(images, spoilt, 0.7)))
        for name, (spoilt, _) in pairs.items()
    }
    for name, (spoilt, lit) in pairs.items():
        ranks[f"{name}_or_light_equal_mse"] = share_larger(away(spoilt), away(lit))
    return ranks


def share_larger(larger: Tensor, smaller: Tensor) -> float:
    """Share of images in which the first number is the larger."""
    return float((larger > smaller).float().mean())
