"""GAN inversion with StyleGAN priors: every method in every latent space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zinv.evaluation.store import Run

__version__ = "0.1.0"


def load(path: Path | str) -> Run:
    """Open a finished or unfinished run folder; `zinv.load("runs/…").records()` is a pandas table."""
    from zinv.evaluation.store import Run

    return Run.open(path)
