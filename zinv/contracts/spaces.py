"""What a LatentSpace promises."""

from __future__ import annotations

import math

import torch

from zinv.contracts.base import IDS, Contract, normal, require, require_equal, require_shape, state_of
from zinv.generators.base import BaseCode, Generator
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace


class SpaceContract(Contract):
    """A LatentSpace on one generator, or on a view of one with its base code."""

    def __init__(self, space: LatentSpace, generator: Generator, base: BaseCode | None = None) -> None:
        self._space, self._generator, self._base = space, generator, base
        self._before = state_of(generator)
        self._start = space.initial(generator, image_rngs(0, IDS))
        self._noise = normal(self._start.shape).to(self._start)
        self._code = space.retract(self._start + 0.3 * self._noise)

    def shapes(self) -> None:
        """Label, coordinates and shapes are told."""
        space, shape = self._space, self._space.code_shape(self._generator)
        require(bool(space.label), "label is empty")
        require(space.coordinates in ("z", "w", "s"), f"coordinates is {space.coordinates!r}, not 'z', 'w' or 's'")
        require_shape("initial", self._start, (len(IDS), *shape))
        require_shape("retract", space.retract(self._start), (len(IDS), *shape))
        require_shape("after_step", space.after_step(self._start), (len(IDS), *shape))
        scalars = math.prod(shape) if space.optimised else 0
        require(space.num_scalars(self._generator) == scalars, f"num_scalars is not {scalars}")

    def styles(self) -> None:
        """A code gives the generator's styles."""
        generator = self._generator
        styles = self._space.to_styles(generator, self._code)
        require(len(styles) == len(generator.style_dims), f"{len(styles)} styles, not {len(generator.style_dims)}")
        for i, (style, width) in enumerate(zip(styles, generator.style_dims, strict=True)):
            require_shape(f"style {i}", style, (len(IDS), width))
        ws = self._space.to_ws(generator, self._code)
        require(ws is not None or self._space.coordinates == "s", "to_ws is None, which is for S alone")
        if ws is not None:
            require_shape("to_ws", ws, (len(IDS), generator.num_ws, generator.w_dim))

    def per_image(self) -> None:
        """Each image is for itself."""
        styles = torch.cat(self._space.to_styles(self._generator, self._code), 1)
        penalty = self._space.penalty(self._generator, self._code)
        for i, name in enumerate(IDS):
            alone, code = self._space.initial(self._generator, image_rngs(0, [name])), self._code[i : i + 1]
            require_equal(f"initial of image {i} alone", alone, self._start[i : i + 1])
            one = torch.cat(self._space.to_styles(self._generator, code), 1)
            require_equal(f"styles of image {i} alone", one, styles[i : i + 1])
            require_equal(f"penalty of image {i}", self._space.penalty(self._generator, code), penalty[i : i + 1])

    def rows(self) -> None:
        """An encoder's rows become a code of the space."""
        num, generator = self._space.num_rows(self._generator), self._generator
        require(num in (1, generator.num_ws), f"num_rows is {num}, neither 1 nor {generator.num_ws}")
        width = generator.z_dim if self._space.coordinates == "z" else generator.w_dim
        code = self._space.from_rows(generator, normal((len(IDS), num, width)).to(generator.w_avg))
        require_shape("from_rows", code, self._start.shape)
        require_equal("from_rows, retracted", self._space.retract(code), code)

    def retraction(self) -> None:
        """Starts lie in the space, and retracting twice is retracting once."""
        require_equal("the start, retracted", self._space.retract(self._start), self._start)
        once = self._space.retract(self._start + self._noise)
        require_equal("retracted twice", self._space.retract(once), once)

    def move(self) -> None:
        """A move by nothing is a retraction."""
        moved = self._space.move(self._generator, self._start + self._noise, torch.zeros_like(self._start))
        require_equal("move by 0", moved, self._space.retract(self._start + self._noise))
        moved = self._space.move(self._generator, self._code, self._noise, rows=[self._generator.first_ws])
        require_shape("move on a row", moved, self._start.shape)

    def interpolation(self) -> None:
        """Interpolation begins and ends at its ends, and stays in the space."""
        other = self._space.retract(self._start - 0.3 * self._noise)
        first, middle, last = (self._space.interpolate(self._code, other, t) for t in (0.0, 0.5, 1.0))
        require_equal("interpolate at 0", first, self._code)
        require_equal("interpolate at 1", last, other)
        require_equal("interpolate at .5, retracted", self._space.retract(middle), middle)

    def spread(self) -> None:
        """Spread is positive and has a code's shape."""
        spread = self._space.spread(self._generator)
        require_shape("spread", spread, self._space.code_shape(self._generator))
        require(bool((spread > 0).all()), "spread is not positive everywhere")

    def penalty(self) -> None:
        """The penalty is one number an image."""
        require_shape("penalty", self._space.penalty(self._generator, self._code), (len(IDS),))

    def gradient(self) -> None:
        """A gradient reaches every image's code."""
        code = self._code.clone().requires_grad_(True)
        image = self._generator.synthesis(self._space.to_styles(self._generator, code), base=self._base)
        (gradient,) = torch.autograd.grad(image.square().sum(), code)
        require_shape("the gradient", gradient, code.shape)
        require(bool((gradient.flatten(1).abs().amax(1) > 0).all()), "no gradient reaches some image's code")

    def generator_kept(self) -> None:
        """The generator is left as it was found, and is not held."""
        require(state_of(self._generator) == self._before, "the generator was changed")
        held = any(isinstance(part, Generator) for part in self._space.modules())
        require(not held, "the space holds a generator; it is given one at each call")
