"""The manifest of published files: found, checked, documented."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zinv import weights
from zinv.errors import WeightsError
from zinv.published import PUBLISHED

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "weights.md"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_file_is_documented(name: str) -> None:
    text, file = DOCUMENTATION.read_text(encoding="utf-8"), PUBLISHED[name]
    for part in (f"`{name}`", file.files[0], file.source, file.sha256, file.licence):
        assert part in text


def test_torchs_own_cache_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert weights.find("lpips/vgg16") == cached


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2).half(), "steps": torch.tensor(3)}, tmp_path / "half.pt")
    state = weights.read_state(str(tmp_path / "half.pt"))
    assert state["a"].dtype == torch.float32 and state["steps"].dtype == torch.int64


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": "text"}])
def test_files_of_anything_else_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="other.pt: not a file of named tensors."):
        weights.read_state(str(tmp_path / "other.pt"))


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Linear(1, 1)}, tmp_path / "module.pt")
    with pytest.raises(WeightsError, match="module.pt: not a readable file of tensors"):
        weights.read_state(str(tmp_path / "module.pt"))
