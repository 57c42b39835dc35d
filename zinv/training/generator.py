"""StyleGAN2 training (Karras et al. 2020): `zinv train model=generator`."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from zinv.data.base import DataSource
from zinv.data.sources import Portraits
from zinv.errors import ConfigError, WeightsError
from zinv.networks.discriminator import Discriminator
from zinv.networks.portraits import RESOLUTION, load_attributes
from zinv.networks.stylegan2 import (
    MappingNetwork,
    StyledConv,
    StyleGAN2Architecture,
    SynthesisNetwork,
    styled_layers,
)
from zinv.training.base import Batch, Trainee
from zinv.training.pictures import Pictures
from zinv.training.players import judged, r1, told_apart, update
from zinv.training.quality import num_compared, picture_quality, portrait_quality
from zinv.values import Count, NonNegative, Positive, Whole, show
from zinv.weights import Weights, find, read

STATE = "stylegan2_training_state"


class GeneratorNetworks(nn.Module):
    """Mapping and synthesis of one generator in training."""

    def __init__(self, arch: StyleGAN2Architecture):
        super().__init__()
        self.mapping, self.synthesis = MappingNetwork(arch), SynthesisNetwork(arch)
        self.layers = styled_layers(arch)

    def forward(self, ws: Tensor, noise: Literal["fresh", "const", "none"] = "fresh") -> Tensor:
        """`(N, num_ws, w_dim)` to images."""
        styles, maps = {}, {}
        for layer in self.layers:
            module = self.synthesis.layer(layer.name)
            styles[layer.name] = module.affine(ws[:, layer.row])
            if isinstance(module, StyledConv) and noise != "none":
                const = module.noise_const[None, None]
                maps[layer.name] = const if noise == "const" else torch.randn_like(const.expand(len(ws), -1, -1, -1))
        return self.synthesis(styles, maps)[0]


class GeneratorTraining(Trainee):
    """Non-saturating logistic loss, lazy R1 and path length, style mixing, a moving average of the weights.

    Args:
        data: pictures to learn, resized to `resolution` where they have none of their own.
        num_images: images that D sees, repeats included.
        batch_size: images a step.
        resolution: of the pictures.
        channels: widths at 4, 8, … pixels.
        z_dim: of z.
        w_dim: of w.
        mapping_layers: depth of the mapping network.
        lr: Adam's, for both networks; betas (0, .99).
        r1: weight of R1, divided by 2.
        r1_every: steps between two R1 penalties.
        path_length: weight of the path length penalty.
        path_every: steps between two of them.
        noise_from: images without noise maps at first: a short training otherwise draws its edges with them.
        style_mixing: share of images with two codes.
        guide: weight of `attribute_pull`, with which a short training keeps poses and expressions that it would
            otherwise drop; for portraits alone.
        mirror: learn each picture turned left to right as well, which stretches a small set. Off, since what has a
            side (the light, a parting, a pose that a direction must find) would be learnt on both.
        ema_images: half-life of the moving average.
        renders: folder of cached pictures; the run's own if none is given.
        processes: that draw them.
        initial: state of an earlier training to go on from, without optimiser moments.
        seed: of everything drawn.
        num_workers: processes that load batches.

    Raises:
        DataError: pictures of another resolution, or fewer than a batch.
        ConfigError: `channels` that end at another resolution.
        WeightsError: `initial` of another architecture.
    """

    name = "generator"
    pictures: Pictures

    def __init__(
        self,
        data: DataSource,
        num_images: Count = 300_000,
        batch_size: Count = 32,
        resolution: Count = 64,
        channels: tuple[int, ...] = (128, 128, 128, 64, 32),
        z_dim: Count = 128,
        w_dim: Count = 128,
        mapping_layers: Count = 4,
        lr: Positive = 0.002,
        r1: NonNegative = 0.1,
        r1_every: Whole = 16,
        path_length: NonNegative = 2.0,
        path_every: Whole = 16,
        noise_from: Whole = 150_000,
        style_mixing: NonNegative = 0.5,
        guide: NonNegative = 0.0,
        mirror: bool = False,
        ema_images: Whole = 10_000,
        renders: str | None = None,
        processes: Count = 1,
        initial: Weights | None = None,
        seed: int = 0,
        num_workers: Whole = 0,
    ):
        super().__init__(max(1, num_images // batch_size), batch_size, seed, num_workers)
        self.automatic_optimization = False
        _check(resolution, channels)
        self.arch = StyleGAN2Architecture(resolution, tuple(channels), z_dim, w_dim, mapping_layers)
        self.data = data
        self.pictures = Pictures(data, resolution, batch_size, mirror, renders, processes, held_out=0)
        self.lr, self.r1, self.r1_every = lr, r1, r1_every
        self.path_length, self.path_every, self.style_mixing = path_length, path_every, style_mixing
        self.noise_from = noise_from
        self.guide = guide if isinstance(data, Portraits) else 0.0
        self.judge = (load_attributes(),) if self.guide else ()  # in a tuple, so that checkpoints leave it out
        self.ema_decay = 0.5 ** (batch_size / max(ema_images, 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.g, self.d = GeneratorNetworks(self.arch), Discriminator(channels)
        self.g_ema = copy.deepcopy(self.g).requires_grad_(False).eval()
        self.register_buffer("path_mean", torch.zeros(()))
        self.path_mean: Tensor
        self.to(memory_format=torch.channels_last)
        if initial:
            self.load_state(initial)

    def batch(self, step: int) -> Batch:
        """Pictures."""
        return (self.pictures.batch(self.indices(self.pictures.num, step), self.rng(step)),)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return [self._adam(self.g, self.path_every), self._adam(self.d, self.r1_every)], []

    def _adam(self, module: nn.Module, every: int) -> torch.optim.Optimizer:
        # lazy regularisation: betas and rate as if the extra steps were not there (Karras et al. 2020, appendix B)
        ratio = every / (every + 1) if every else 1.0
        mapping = [p for n, p in module.named_parameters() if n.startswith("mapping")]
        rest = [p for n, p in module.named_parameters() if not n.startswith("mapping")]
        return torch.optim.Adam([*mapping, *rest], lr=self.lr * ratio, betas=(0.0, 0.99**ratio), foreach=True)

    def training_step(self, batch: Batch, index: int) -> None:
        images, step = batch[0], self.step
        torch.manual_seed(self.rng(step).initial_seed())
        self._adversarial(images, step)
        self._regularise(images, step)
        self._average()

    def _adversarial(self, images: Tensor, step: int) -> None:
        """Both players' steps: one pass of G, and one of D on its pictures, from which both take their gradients."""
        ws, z, mixed = self._mixed(len(images))
        fake = self.g(ws, self._noise(step))
        logits, fooled, pull = judged(self.d, fake)
        d_loss = told_apart(logits, self.d(images))
        update(self, 1, d_loss)
        update(self, 0, pull + self._guided(fake[~mixed], z[~mixed]))
        self.log_dict({"g": fooled, "d": d_loss.detach()})

    def _guided(self, fake: Tensor, z: Tensor) -> Tensor | float:
        if not self.judge or not len(fake):
            return 0.0
        judge = self.judge[0].to(fake.device)
        pull = attribute_pull(judge.logits(fake)[:, ~judge.is_binary], z)
        self.log("guide", pull.detach())
        return self.guide * pull

    def _noise(self, step: int) -> Literal["fresh", "none"]:
        return "none" if step * self.batch_size < self.noise_from else "fresh"

    def _regularise(self, images: Tensor, step: int) -> None:
        if self.r1_every and step % self.r1_every == 0:
            update(self, 1, self._r1(images) * self.r1_every)
        if self.path_every and step % self.path_every == 0:
            update(self, 0, self._path_length(step) * self.path_every)

    def _r1(self, images: Tensor) -> Tensor:
        penalty = r1(self.d, images)
        self.log("r1", penalty.detach())
        return penalty * (self.r1 / 2)

    def _path_length(self, step: int) -> Tensor:
        z = torch.randn(max(1, self.share // 2), self.arch.z_dim, device=self.device)
        ws = self._rows(self.g.mapping(z))
        image = self.g(ws, self._noise(step))
        noise = torch.randn_like(image) / self.arch.resolution
        (gradient,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        mean = self._over_ranks(lengths.mean().detach().float())
        self.path_mean.lerp_(mean, 0.01)
        self.log("path", mean)
        return (lengths - self.path_mean).square().mean() * self.path_length

    def _over_ranks(self, value: Tensor) -> Tensor:
        """Its mean over all ranks: Lightning leaves buffers to each of them."""
        return cast(Tensor, self.trainer.strategy.reduce(value, reduce_op="mean"))

    def _rows(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, self.arch.num_ws, -1)

    def _mixed(self, num: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows `(num, num_ws, w_dim)`, their z, and which of them `(num,)` take the upper rows from another code."""
        z = torch.randn(2 * num, self.arch.z_dim, device=self.device)
        w, other = self.g.mapping(z).chunk(2)
        self.g.mapping.w_avg.lerp_(w.detach().float().mean(0), 0.005)
        mixed = torch.rand(num, device=w.device) < self.style_mixing
        crossing = torch.randint(1, self.arch.num_ws, (num, 1), device=w.device)
        upper = torch.arange(self.arch.num_ws, device=w.device) >= crossing
        return torch.where((upper & mixed[:, None])[..., None], other[:, None], w[:, None]), z[:num], mixed

    @torch.no_grad()
    def _average(self) -> None:
        for ours, theirs in zip(self.g_ema.parameters(), self.g.parameters(), strict=True):
            ours.lerp_(theirs, 1 - self.ema_decay)
        self.g_ema.mapping.w_avg.copy_(self.g.mapping.w_avg)

    def samples(self) -> Tensor:
        """A sheet of 64 fixed codes."""
        return self._sample(torch.randn(64, self.arch.z_dim, generator=torch.Generator().manual_seed(0)))

    @torch.no_grad()
    def _sample(self, z: Tensor) -> Tensor:
        """Images of z `(N, z_dim)`, from the averaged weights with the checkpoint's noise."""
        w = self.g_ema.mapping(z.to(self.device))
        return torch.cat([self.g_ema(self._rows(part), noise="const") for part in w.split(64)])

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The averaged generator, w_avg taken from 100,000 fresh samples."""
        with torch.no_grad():
            z = torch.randn(100_000, self.arch.z_dim, generator=torch.Generator().manual_seed(1))
            mean = torch.stack([self.g_ema.mapping(part.to(self.device)).sum(0) for part in z.split(5000)]).sum(0)
            self.g_ema.mapping.w_avg.copy_(mean / len(z))
        return dict(self.g_ema.state_dict()), self._metadata("stylegan2")

    def side_exports(self) -> dict[str, tuple[dict[str, Tensor], dict[str, str]]]:
        """The discriminator; and G, its average and D, to go on from elsewhere with `initial`."""
        kept = ("g.", "g_ema.", "d.", "path_mean")
        state = {k: v for k, v in self.state_dict().items() if k.startswith(kept)}
        return {
            "discriminator": (dict(self.d.state_dict()), self._metadata("stylegan2_discriminator")),
            "generator_state": (state, self._metadata(STATE)),
        }

    def load_state(self, weights: str) -> None:
        """Go on from a `generator_state` file.

        Raises:
            WeightsError: it is none, or of another architecture.
        """
        state, facts = read(find(weights))
        if facts.get("kind") != STATE:
            raise WeightsError(f"model.initial={weights}: not a generator_state file that zinv train wrote.")
        ours, theirs = (json.loads(text) for text in (self._metadata(STATE)["architecture"], facts["architecture"]))
        if ours != theirs:
            others = [f"model.{key}={show(value)}" for key, value in theirs.items() if value != ours.get(key)]
            raise WeightsError(f"model.initial={weights}: of another architecture: {' '.join(others)}.")
        self.load_state_dict(state)

    def _metadata(self, kind: str) -> dict[str, str]:
        return {"kind": kind, "architecture": json.dumps(asdict(self.arch))}

    def measure(self) -> dict[str, float]:
        """Distance to the pictures; for portraits to those of the tune split, with what their networks see."""
        if isinstance(self.data, Portraits) and self.arch.resolution == RESOLUTION:
            return portrait_quality(self._sample, self.arch.z_dim)
        num = min(2 * num_compared(self.arch.resolution), len(self.data))
        return picture_quality(self._sample, self.arch.z_dim, self.pictures.first(num))


def attribute_pull(values: Tensor, z: Tensor) -> Tensor:
    """Minus the covariance of each attribute with a coordinate of z, and a wall at the ends of the attributes' range.

    Nothing pulls an attribute towards its mean, as a squared error would while the two are not yet correlated.

    Args:
        values: attributes of samples `(N, A)`, from -1 to 1 in the domain.
        z: their codes `(N, z_dim)`; the first A coordinates count.

    >>> attribute_pull(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 9.0], [-1.0, 9.0]]))
    tensor(-1.)
    """
    wall = F.relu(values.abs() - 1.1).square()
    return (2 * wall - values * z[:, : values.shape[1]]).mean()


def _check(resolution: int, channels: Sequence[int]) -> None:
    side = 4 * 2 ** (len(channels) - 1)
    if side != resolution:
        given = f"model.channels={show(tuple(channels))}"
        raise ConfigError(f"{given}: widths at 4 to {side} pixels, but model.resolution={resolution}.")
