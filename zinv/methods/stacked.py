"""Generators with weights of their own for each image: stacked, and rendered in one vectorised pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, vmap

from zinv.generators.base import Generator, Noise
from zinv.losses.base import Loss
from zinv.methods.inversion import Inversion
from zinv.spaces.base import LatentSpace

Stack = Mapping[str, Tensor]
"""Weights `(N, …)` of N images, by parameter of the generator."""


class Painter(nn.Module):
    """Inversions to pictures, as a module whose weights can be replaced.

    Args:
        generator: whole; pictures with a base code are rendered by its view above that.
        space: of the codes.
        inversion: one of those that will be rendered: all have their base code at its point.
    """

    def __init__(self, generator: Generator, space: LatentSpace, inversion: Inversion) -> None:
        super().__init__()
        self.generator = generator.above(inversion.base[0]) if inversion.base else generator
        self.space = space

    def forward(self, inversion: Inversion, ws: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Pictures `(N, 3, R, R)`; `ws` and `noise` stand in for those of the code and of the inversion."""
        code = inversion.code
        styles = self.space.to_styles(self.generator, code) if ws is None else self.generator.affine(ws)
        return self.generator.synthesis(styles, inversion.base, inversion.edits, noise or inversion.noise or "const")

    def stacked(
        self, weights: Stack, inversion: Inversion, ws: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """As `forward`, image i with the weights `weights[…][i]`; those that are not named are the generator's."""
        given = inversion.tensors() | ({} if ws is None else {"ws": ws})
        metadata = inversion.metadata()

        def one(own: Stack, tensors: Mapping[str, Tensor]) -> Tensor:
            single = Inversion.join([(tensors, metadata)])
            named = {f"generator.{name}": x for name, x in own.items()}
            image: Tensor = functional_call(self, named, (single, None if ws is None else tensors["ws"][None], noise))
            return image[0]

        if len(inversion) == 1:  # the same without the cost of vectorising
            return one({name: x[0] for name, x in weights.items()}, {name: x[0] for name, x in given.items()})[None]
        images: Tensor = vmap(one)(dict(weights), given)
        return images


@dataclass(frozen=True)
class Needs:
    """What a picture depends on, and what its backward pass takes.

    Attributes:
        weights: parameters that a gradient reaches.
        activations: bytes that are kept for the backward pass.
    """

    weights: frozenset[str]
    activations: int


def probe(painter: Painter, loss: Loss, inversion: Inversion, ws: Tensor | None) -> Needs:
    """Try the backward pass of one image's loss.

    Args:
        painter: whose parameters are asked about.
        loss: of the picture, against a grey one.
        inversion: of one image.
        ws: stand in for those of its code, and so leave out what made them.
    """
    names = [name for name, _ in painter.generator.named_parameters()]
    own = {name: x.detach().clone()[None].requires_grad_(True) for name, x in painter.generator.named_parameters()}
    side, kept = painter.generator.resolution, _Kept()
    prepared = loss.prepare(inversion.code.new_zeros(1, 3, side, side))
    with torch.enable_grad(), saved_tensors_hooks(kept, lambda x: x):
        image = painter.stacked(own, inversion, ws)
        value = loss.total(loss(image, inversion.code, prepared)).sum()
    gradients = torch.autograd.grad(value, [own[name] for name in names], allow_unused=True)
    reached = [name for name, gradient in zip(names, gradients, strict=True) if gradient is not None]
    return Needs(frozenset(reached), sum(kept.sizes.values()))


@dataclass
class _Kept:
    """Counts what autograd keeps, each storage once."""

    sizes: dict[int, int] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return x
