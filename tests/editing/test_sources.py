"""Directions from files that others publish."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from zinv.editing.sources import read_directions
from zinv.errors import ConfigError, WeightsError
from zinv.generators import Generator

FFHQ: Any = SimpleNamespace(w_dim=512)


def test_a_boundary_alike_in_all_rows_is_one_row(tmp_path: Path, toy: Generator):
    """e4e's pose has the same vector 18 times; in Z+ each row has its own."""
    same, own = torch.ones(6, 16), torch.randn(6, 16)
    for name, rows in (("same", same), ("own", own)):
        np.save(tmp_path / f"{name}.npy", rows.numpy())
    (pose,) = read_directions(str(tmp_path / "same.npy"), toy, "w")
    assert (pose.name, pose.fits, len(pose.source)) == ("same", ("w", "wplus", "pn", "pnplus"), 64)
    assert torch.equal(pose.step, torch.ones(1, 16))
    (smile,) = read_directions(str(tmp_path / "own.npy"), toy, "z")
    assert smile.fits == ("zplus",) and torch.equal(smile.step, own)
    with pytest.raises(ConfigError, match=r"own.npy does not say whether it moves z or w. Give one of z, w."):
        read_directions(str(tmp_path / "own.npy"), toy)


def test_a_file_of_something_else(tmp_path: Path, toy: Generator):
    np.savez(tmp_path / "x.npz", a=np.ones(3), b=np.ones(3))
    with pytest.raises(WeightsError, match="x.npz: no components; they are lat_mean, lat_comp, lat_stdev or"):
        read_directions(str(tmp_path / "x.npz"), toy)


def test_the_published_components(real: Path):
    """A step of d is d standard deviations of w: components 10 to 14, which the paper's study takes."""
    found = read_directions(str(real / "stylegan2_ffhq1024" / "ganspace_w" / "ffhq_pca.pt"), FFHQ)
    assert len(found) == 80 and found[10].name == "ganspace10" and found[10].coordinates == "w"
    lengths = [float(direction.step.norm()) for direction in found[10:15]]
    assert lengths == pytest.approx([1.447, 1.276, 1.190, 1.126, 1.076], abs=2e-3)


def test_the_published_boundaries(real: Path):
    for name in ("age", "smile", "pose"):
        (found,) = read_directions(str(real / "stylegan2_ffhq1024" / "interfacegan_w" / f"{name}.pt"), FFHQ, "w")
        assert (found.name, found.step.shape) == (name, (1, 512))
        assert float(found.step.norm()) == pytest.approx(1, abs=1e-4)
