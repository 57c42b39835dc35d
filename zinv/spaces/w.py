"""W and W+ (Karras et al. 2019; Abdal et al. 2019): the mapping network's output, once or once a row."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zinv.generators.base import Generator
from zinv.seeding import Rngs, randn
from zinv.spaces.base import LatentSpace, prior_ws, require_one_w, truncate
from zinv.spaces.z import truncation_words
from zinv.values import Count, Whole

Start = Literal["mean", "random", "best_of_k"]


def initial_w(generator: Generator, rngs: Rngs, start: Start) -> Tensor:
    """`(N, *w_shape)`: w_avg, or one prior draw an image."""
    if start == "mean":
        return generator.w_avg.repeat(len(rngs), *generator.w_shape[:-1], 1)
    with torch.no_grad():
        return generator.mapping(randn((generator.z_dim,), rngs).to(generator.w_avg))


class _Unbounded(LatentSpace):
    """What W and W+ share.

    Args:
        truncation_psi: drawn towards w_avg by this factor; 1 is none.
        truncation_cutoff: rows below it are truncated; all if None.
        start: w_avg, one prior draw, or the best of `num_candidates` draws by the method's loss.
        num_candidates: draws tried with start=best_of_k.
    """

    coordinates = "w"

    def __init__(
        self,
        truncation_psi: float = 1.0,
        truncation_cutoff: Whole | None = None,
        start: Start = "mean",
        num_candidates: Count = 100,
    ):
        super().__init__()
        self.truncation_psi, self.truncation_cutoff = truncation_psi, truncation_cutoff
        self.start: Start = start
        self.num_starts = num_candidates if start == "best_of_k" else 1

    def settings(self) -> dict[str, str]:
        return {"start": self.start, "truncation": truncation_words(self.truncation_psi, self.truncation_cutoff)}


class W(_Unbounded):
    """W: one w for all rows, `(N, w_dim)`.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> W().to_ws(toy_stylegan2(), torch.zeros(2, 16)).shape
    torch.Size([2, 6, 16])
    """

    label = "W"

    def check(self, generator: Generator) -> None:
        require_one_w(generator, self.label)

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return (generator.w_dim,)

    def num_rows(self, generator: Generator) -> int:
        return 1

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return initial_w(generator, rngs, self.start)

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return rows[:, 0]

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return truncate(generator, generator.as_ws(code), self.truncation_psi, self.truncation_cutoff)

    def spread(self, generator: Generator) -> Tensor:
        return prior_ws(generator).std(0)


class WPlus(_Unbounded):
    """W+: one w a row, `(N, num_ws, w_dim)`; it starts with the same w in each."""

    label = "W+"

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return (generator.num_ws, generator.w_dim)

    def num_rows(self, generator: Generator) -> int:
        return generator.num_ws

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return generator.as_ws(initial_w(generator, rngs, self.start)).contiguous()

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return rows

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return truncate(generator, code, self.truncation_psi, self.truncation_cutoff)

    def spread(self, generator: Generator) -> Tensor:
        return generator.as_ws(prior_ws(generator).std(0, keepdim=True))[0]
