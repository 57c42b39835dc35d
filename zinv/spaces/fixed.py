"""A control: the code stays where it starts, so that a method's other variables can be seen alone."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zinv.generators.base import Generator
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace, prior_ws, truncate
from zinv.spaces.w import initial_w
from zinv.spaces.z import truncation_words
from zinv.values import Whole


class Fixed(LatentSpace):
    """One w for all rows, `(N, w_dim)`, or `(N, num_ws, w_dim)` where each has its own; never optimised.

    Args:
        start: w_avg, or one prior draw an image.
        truncation_psi: drawn towards w_avg by this factor; 1 is none.
        truncation_cutoff: rows below it are truncated; all if None.
    """

    label = "fixed"
    coordinates = "w"
    optimised = False

    def __init__(
        self,
        start: Literal["mean", "random"] = "mean",
        truncation_psi: float = 1.0,
        truncation_cutoff: Whole | None = None,
    ):
        super().__init__()
        self.start: Literal["mean", "random"] = start
        self.truncation_psi, self.truncation_cutoff = truncation_psi, truncation_cutoff

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return generator.w_shape

    def num_rows(self, generator: Generator) -> int:
        return generator.num_ws if generator.w_per_layer else 1

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return initial_w(generator, rngs, self.start)

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return rows.reshape(-1, *generator.w_shape)

    def encoder_spaces(self, generator: Generator) -> tuple[str, ...]:
        return ("W+",) if generator.w_per_layer else ("W",)

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return truncate(generator, generator.as_ws(code), self.truncation_psi, self.truncation_cutoff)

    def spread(self, generator: Generator) -> Tensor:
        return prior_ws(generator).std(0)

    def settings(self) -> dict[str, str]:
        return {"start": self.start, "truncation": truncation_words(self.truncation_psi, self.truncation_cutoff)}
