"""Files that zinv writes and named tensors that it reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from zinv.weights import read, write


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_may_be_read_by_those_whom_the_umask_lets(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "sub" / "x.safetensors", {"x": torch.ones(2)}, {"kind": "test"})
    finally:
        os.umask(before)
    assert (tmp_path / "sub" / "x.safetensors").stat().st_mode & 0o777 == mode
    assert os.listdir(tmp_path / "sub") == ["x.safetensors"]
    tensors, metadata = read(tmp_path / "sub" / "x.safetensors")
    assert torch.equal(tensors["x"], torch.ones(2)) and metadata == {"kind": "test"}
