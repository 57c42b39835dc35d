"""S, StyleSpace (Wu et al. 2021): the style vectors of all modulated layers, concatenated."""

from __future__ import annotations

import torch
from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import Generator, Styles
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace, prior_ws
from zinv.spaces.w import Start, initial_w
from zinv.values import Count


class S(LatentSpace):
    """S: `(N, sum of style_dims)`, lowest layer first.

    In StyleGAN2 toRGB styles are taken before the factor 1 / sqrt(in); in StyleGAN1 a layer has scales, then shifts.

    Args:
        start: the styles of w_avg, of one prior draw, or of the best of `num_candidates` draws by the method's loss.
        num_candidates: draws tried with start=best_of_k.
        truncation_psi: only 1: there is no mean style that a code would be drawn to.

    Raises:
        ConfigError: another psi.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> S().code_shape(toy_stylegan2())
    (128,)
    """

    label = "S"
    coordinates = "s"

    def __init__(self, start: Start = "mean", num_candidates: Count = 100, truncation_psi: float = 1.0):
        super().__init__()
        if truncation_psi != 1:
            raise ConfigError(f"space.truncation_psi={truncation_psi}: S has no truncation, only 1 is accepted.")
        self.start: Start = start
        self.num_starts = num_candidates if start == "best_of_k" else 1

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return (sum(generator.style_dims),)

    def num_rows(self, generator: Generator) -> int:
        return generator.num_ws

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return self.from_rows(generator, generator.as_ws(initial_w(generator, rngs, self.start)))

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return torch.cat(generator.affine(rows), 1)

    def encoder_spaces(self, generator: Generator) -> tuple[str, ...]:
        return (self.label, "W+")

    def to_ws(self, generator: Generator, code: Tensor) -> None:
        return None

    def to_styles(self, generator: Generator, code: Tensor) -> Styles:
        return code.split(list(generator.style_dims), 1)

    def spread(self, generator: Generator) -> Tensor:
        return self.from_rows(generator, generator.as_ws(prior_ws(generator, 2000))).std(0)

    def settings(self) -> dict[str, str]:
        return {"start": self.start, "truncation": "none"}
