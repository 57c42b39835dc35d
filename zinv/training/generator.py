"""StyleGAN2 training (Karras et al. 2020): `zinv train model=generator`."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from zinv.data.portraits.codes import known_codes
from zinv.networks.discriminator import Discriminator
from zinv.networks.stylegan2 import (
    MappingNetwork,
    StyledConv,
    StyleGAN2Architecture,
    SynthesisNetwork,
    styled_layers,
)
from zinv.training.base import Batch, Trainee, epoch_order
from zinv.training.quality import prior_quality
from zinv.training.renders import Renders
from zinv.weights import Weights, find, read


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

    Before it, a warm-up regresses renders from their known codes: every corner of the domain has a place in the prior
    from the start. The adversarial phase keeps that tie on 16-pixel means, with a weight that falls to zero. No
    mirroring: yaw and light have a side.

    Args:
        num_images: images of the adversarial phase.
        warmup_images: images of the regression before it.
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
        noise_from: images of the adversarial phase without noise maps: a short training otherwise draws its edges
            with them.
        style_mixing: share of images with two codes.
        anchor: first weight of the tie to known codes.
        anchor_images: images over which it falls to zero.
        ema_images: half-life of the moving average.
        num_renders: different pictures, drawn once.
        renders: folder of cached renders; the run's own if none is given.
        processes: that draw renders.
        initial: state of an earlier training to go on from, without optimiser moments.
        seed: of everything drawn.
        num_workers: processes that load batches.
    """

    name = "generator"

    def __init__(
        self,
        num_images: int = 300_000,
        warmup_images: int = 60_000,
        batch_size: int = 32,
        resolution: int = 64,
        channels: tuple[int, ...] = (128, 128, 128, 64, 32),
        z_dim: int = 128,
        w_dim: int = 128,
        mapping_layers: int = 4,
        lr: float = 0.002,
        r1: float = 0.1,
        r1_every: int = 16,
        path_length: float = 2.0,
        path_every: int = 16,
        noise_from: int = 150_000,
        style_mixing: float = 0.5,
        anchor: float = 2.0,
        anchor_images: int = 150_000,
        ema_images: int = 10_000,
        num_renders: int = 40_000,
        renders: str | None = None,
        processes: int = 1,
        initial: Weights | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ):
        self.warmup_steps = warmup_images // batch_size
        super().__init__(self.warmup_steps + num_images // batch_size, batch_size, seed, num_workers)
        self.automatic_optimization = False
        self.arch = StyleGAN2Architecture(resolution, tuple(channels), z_dim, w_dim, mapping_layers)
        self.lr, self.r1, self.r1_every = lr, r1, r1_every
        self.path_length, self.path_every, self.style_mixing = path_length, path_every, style_mixing
        self.anchor, self.anchor_images, self.noise_from = anchor, anchor_images, noise_from
        self.ema_decay = 0.5 ** (batch_size / max(ema_images, 1))
        self.num_renders, self.renders, self.processes = num_renders, renders, processes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.g, self.d = GeneratorNetworks(self.arch), Discriminator(channels)
        self.g_ema = copy.deepcopy(self.g).requires_grad_(False).eval()
        self.register_buffer("path_mean", torch.zeros(()))
        self.path_mean: Tensor
        self.to(memory_format=torch.channels_last)
        if initial:
            self.load_state(initial)

    def prepare_data(self) -> None:
        """Draw what is missing in the cache."""
        self._source().make(self.processes)

    def setup(self, stage: str) -> None:
        """Open the cache, and find each picture's code."""
        self.source = self._source()
        self.codes = known_codes(self.source.truth, self.arch.z_dim)

    def _source(self) -> Renders:
        cache = Path(self.renders) if self.renders else self.folder
        return Renders(cache, self.num_renders, resolution=self.arch.resolution)

    def batch(self, step: int) -> Batch:
        """Pictures, and their known codes."""
        mine = epoch_order(self.num_renders, step, self.batch_size, self.seed)[
            self.global_rank :: self.trainer.world_size
        ]
        return self.source.images(mine), self.codes[mine]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return [self._adam(self.g, self.path_every), self._adam(self.d, self.r1_every)], []

    def _adam(self, module: nn.Module, every: int) -> torch.optim.Optimizer:
        # lazy regularisation: betas and rate as if the extra steps were not there (Karras et al. 2020, appendix B)
        ratio = every / (every + 1) if every else 1.0
        mapping = [p for n, p in module.named_parameters() if n.startswith("mapping")]
        rest = [p for n, p in module.named_parameters() if not n.startswith("mapping")]
        return torch.optim.Adam([*mapping, *rest], lr=self.lr * ratio, betas=(0.0, 0.99**ratio), foreach=True)

    def training_step(self, batch: Batch, index: int) -> None:
        images, codes = batch
        images = images.contiguous(memory_format=torch.channels_last)
        step = self.step
        torch.manual_seed(hash((self.seed, step, self.global_rank)) % 2**63)
        if step < self.warmup_steps:
            self._regress(images, codes)
        else:
            self._adversarial(images, codes, step)
            self._regularise(images, step)
        self._average()

    def _regress(self, images: Tensor, codes: Tensor) -> None:
        w = self.g.mapping(codes)
        loss = _multiscale_l1(self.g(self._rows(w), "none"), images)
        self._update(0, loss)
        self.log("regression", loss.detach())

    def _adversarial(self, images: Tensor, codes: Tensor, step: int) -> None:
        """Both players' steps: one pass of G, and one of D on its pictures, from which both take their gradients."""
        ws, mixed = self._mixed(codes)
        fake = self.g(ws, self._noise(step))
        shown = fake.detach().requires_grad_(True)
        logits, real = self.d(shown).float(), self.d(images).float()
        g_loss = F.softplus(-logits).mean()
        (gradient,) = torch.autograd.grad(g_loss, shown, retain_graph=True)
        d_loss = F.softplus(logits).mean() + F.softplus(-real).mean()
        self._update(1, d_loss)
        anchor = self._anchor(step)
        tie = anchor * _coarse_l1(fake, images, ~mixed) if anchor else 0.0
        self._update(0, (fake * gradient).sum() + tie)
        self.log_dict({"g": g_loss.detach(), "d": d_loss.detach()})

    def _seen(self, step: int) -> int:
        return (step - self.warmup_steps) * self.batch_size

    def _anchor(self, step: int) -> float:
        return self.anchor * max(0.0, 1 - self._seen(step) / max(self.anchor_images, 1))

    def _noise(self, step: int) -> Literal["fresh", "none"]:
        return "none" if self._seen(step) < self.noise_from else "fresh"

    def _regularise(self, images: Tensor, step: int) -> None:
        if self.r1_every and step % self.r1_every == 0:
            self._update(1, self._r1(images) * self.r1_every)
        if self.path_every and step % self.path_every == 0:
            self._update(0, self._path_length(step) * self.path_every)

    def _r1(self, images: Tensor) -> Tensor:
        images = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.d(images).sum(), images, create_graph=True)
        penalty = gradient.square().sum((1, 2, 3)).mean()
        self.log("r1", penalty.detach())
        return penalty * (self.r1 / 2)

    def _path_length(self, step: int) -> Tensor:
        z = torch.randn(max(1, self.share // 2), self.arch.z_dim, device=self.device)
        ws = self._rows(self.g.mapping(z))
        image = self.g(ws, self._noise(step))
        noise = torch.randn_like(image) / self.arch.resolution
        (gradient,) = torch.autograd.grad((image * noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        self.path_mean.lerp_(lengths.mean().detach().float(), 0.01)
        self.log("path", lengths.mean().detach())
        return (lengths - self.path_mean).square().mean() * self.path_length

    def _rows(self, w: Tensor) -> Tensor:
        return w[:, None].expand(-1, self.arch.num_ws, -1)

    def _mixed(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Rows `(N, num_ws, w_dim)`, where a share of the images takes the upper rows from another code."""
        num = codes.shape[0]
        w, other = self.g.mapping(torch.cat([codes, torch.randn_like(codes)])).chunk(2)
        self.g.mapping.w_avg.lerp_(w.detach().float().mean(0), 0.005)
        mixed = torch.rand(num, device=w.device) < self.style_mixing
        crossing = torch.randint(1, self.arch.num_ws, (num,), device=w.device)
        upper = torch.arange(self.arch.num_ws, device=w.device) >= crossing[:, None]
        return torch.where((upper & mixed[:, None])[..., None], other[:, None], w[:, None]), mixed

    def _update(self, which: int, loss: Tensor) -> None:
        optimiser = self.optimizers()[which]  # type: ignore[index]
        optimiser.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        optimiser.step()

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
            "generator_state": (state, self._metadata("stylegan2_training_state")),
        }

    def load_state(self, weights: str) -> None:
        """Go on from a `generator_state` file."""
        self.load_state_dict(read(find(weights))[0], strict=True)

    def _metadata(self, kind: str) -> dict[str, str]:
        return {"kind": kind, "architecture": json.dumps(asdict(self.arch))}

    def measure(self) -> dict[str, float]:
        """Distance to the renderer, and how many persons and attributes the prior has."""
        return prior_quality(self._sample, self.arch.z_dim, self.arch.resolution)


def _multiscale_l1(fake: Tensor, real: Tensor) -> Tensor:
    loss = (fake - real).abs().mean()
    for factor in (2, 4):
        loss = loss + (F.avg_pool2d(fake, factor) - F.avg_pool2d(real, factor)).abs().mean()
    return loss


def _coarse_l1(fake: Tensor, real: Tensor, chosen: Tensor, size: int = 16) -> Tensor:
    difference = F.adaptive_avg_pool2d(fake, size) - F.adaptive_avg_pool2d(real, size)
    return (difference.abs().mean((1, 2, 3)) * chosen).mean()
