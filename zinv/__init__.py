"""GAN inversion with StyleGAN priors: every method in every latent space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zinv.evaluation.store import Run

__version__ = "0.1.0"

# Large tensors of a CPU in huge pages, which torch decides at its first allocation: a step is made of tensors that come
# and go, and each would be paged in anew, 4 kB at a time (benchmarks/README.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def load(path: Path | str) -> Run:
    """Open a finished or unfinished run folder; `zinv.load("runs/…").records()` is a pandas table."""
    from zinv.evaluation.store import Run

    return Run.open(path)
