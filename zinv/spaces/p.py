"""W(P_N) and W+(P_N): W and W+ with a penalty on the whitened norm (Zhu et al. 2020; BDInvert).

Codes, starts and edits are those of W and W+ (Katsumata et al., section 2.1); what differs is the regulariser.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from zinv.generators.base import Generator
from zinv.seeding import Rngs
from zinv.spaces.base import LatentSpace, require_one_w
from zinv.spaces.statistics import PNStatistics
from zinv.spaces.w import Start, W, WPlus
from zinv.values import Count, NonNegative, Whole
from zinv.weights import Weights


class _Whitened(LatentSpace):
    """A space of w's with `penalty_weight * mean(P_N(w)^2)` over all entries.

    Args:
        penalty_weight: .01 in BDInvert.
        statistics: a file or folder of P_N statistics; "auto" finds those of the generator, or computes and keeps them.
        truncation_psi: drawn towards w_avg by this factor; 1 is none.
        truncation_cutoff: rows below it are truncated; all if None.
        start: w_avg, one prior draw, or the best of `num_candidates` draws by the method's loss.
        num_candidates: draws tried with start=best_of_k.
        mean_over: the mean of the penalty is over the rows that matter, or over all rows of the whole generator, also
            those below a base code, as the released code has it.
    """

    coordinates = "w"
    inside: type[W] | type[WPlus]

    def __init__(
        self,
        penalty_weight: NonNegative = 0.01,
        statistics: Weights = "auto",
        truncation_psi: float = 1.0,
        truncation_cutoff: Whole | None = None,
        start: Start = "mean",
        num_candidates: Count = 100,
        mean_over: Literal["rows", "all"] = "rows",
    ):
        super().__init__()
        self.penalty_weight, self.mean_over, self.source = penalty_weight, mean_over, statistics
        self.space = self.inside(truncation_psi, truncation_cutoff, start, num_candidates)
        self.num_starts = self.space.num_starts
        self.statistics: PNStatistics | None = None

    def check(self, generator: Generator) -> None:
        require_one_w(generator, self.label)

    def code_shape(self, generator: Generator) -> tuple[int, ...]:
        return self.space.code_shape(generator)

    def num_rows(self, generator: Generator) -> int:
        return self.space.num_rows(generator)

    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return self.space.initial(generator, rngs)

    def from_rows(self, generator: Generator, rows: Tensor) -> Tensor:
        return self.space.from_rows(generator, rows)

    def encoder_spaces(self, generator: Generator) -> tuple[str, ...]:
        return (self.label, self.space.label)

    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return self.space.to_ws(generator, code)

    def spread(self, generator: Generator) -> Tensor:
        return self.space.spread(generator)

    def settings(self) -> dict[str, str]:
        return self.space.settings()

    def penalty(self, generator: Generator, code: Tensor) -> Tensor:
        if self.statistics is None:
            self.statistics = PNStatistics.of(generator, self.source).to(code.device)
        whitened = self.statistics.to(code.dtype).whiten(code)
        return self.penalty_weight * self._share(generator) * whitened.square().flatten(1).mean(1)

    def _share(self, generator: Generator) -> float:
        rows = self.num_rows(generator)
        return 1.0 if self.mean_over == "rows" or rows == 1 else rows / (generator.first_ws + rows)


class PN(_Whitened):
    """W(P_N): one w for all rows, `(N, w_dim)`."""

    label = "W(P_N)"
    inside = W


class PNPlus(_Whitened):
    """W+(P_N): one w a row, `(N, num_ws, w_dim)`; the mean is over the rows that the generator (or its view) has."""

    label = "W+(P_N)"
    inside = WPlus
