"""The manifest of published files: found, checked, documented."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch

from zinv import weights
from zinv.download import size_text
from zinv.errors import WeightsError
from zinv.published import PUBLISHED, PublishedFile
from zinv.spaces.statistics import PNStatistics

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "weights.md"


FILES = [(name, file) for name, published in PUBLISHED.items() for file in published.files]


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{name}: {file.name}" for name, file in FILES])
def test_every_file_is_documented(name: str, file: PublishedFile) -> None:
    text, published = DOCUMENTATION.read_text(encoding="utf-8"), PUBLISHED[name]
    (row,) = (line for line in text.splitlines() if f"| `{file.name}`" in line and f"<{file.url}>" in line)
    assert (f"`{file.sha256}`" in row) if file.sha256 else ("| unknown |" in row)
    assert size_text(file.size) in row or file.size is None
    assert ("by hand" in row) is file.by_hand
    assert f"| `{name}` |" in text and f"| {published.licence} |" in text


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{name}: {file.name}" for name, file in FILES])
def test_facts_have_the_form_of_facts(name: str, file: PublishedFile) -> None:
    assert file.url.startswith("https://")
    assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert (file.sha256 is None) == (file.size is None)
    assert re.fullmatch(r"[\w.-]+", file.name)
    short = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    assert short is None or file.sha256 is None or file.sha256.startswith(short[1])


def test_no_two_files_share_a_digest_or_a_name() -> None:
    known = [file.sha256 for _, file in FILES if file.sha256]
    assert len(known) == len(set(known))
    assert len({file.name for _, file in FILES}) == len(FILES)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("pnorm/stylegan2_ffhq1024", "stylegan2_ffhq1024/pnorm"),
        ("interfacegan/stylegan2_ffhq1024", "stylegan2_ffhq1024/interfacegan_w"),
        ("ganspace/stylegan2_ffhq1024", "stylegan2_ffhq1024/ganspace_w"),
        ("interfacegan/stylegan1_ffhq1024", "stylegan1_ffhq1024"),
    ],
)
def test_published_side_files_are_the_real_ones(real: Path, name: str, folder: str) -> None:
    for file in PUBLISHED[name].files:
        path = real / folder / file.name
        assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) == (file.sha256, file.size)


def test_a_folder_of_published_arrays_is_found_by_its_name(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    shutil.copytree(real / "stylegan2_ffhq1024" / "pnorm", tmp_path / "pnorm" / "stylegan2_ffhq1024")
    statistics = PNStatistics.load("pnorm/stylegan2_ffhq1024")
    assert statistics.eigenvectors.shape == (512, 512)
    assert weights.content_sha256("pnorm/stylegan2_ffhq1024") == weights.content_sha256(
        str(real / "stylegan2_ffhq1024" / "pnorm")
    )
    mean = tmp_path / "pnorm" / "stylegan2_ffhq1024" / "mean_latent.npy"
    mean.chmod(0o644)
    mean.write_bytes(mean.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match="mean_latent.npy: truncated or another file: sha256 .*, not aeb6f280…"):
        weights.find("pnorm/stylegan2_ffhq1024")


def test_a_file_of_a_folder_is_missing_as_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        weights.find("interfacegan/stylegan2_ffhq1024/age.pt")
    assert "put it into the folder interfacegan/stylegan2_ffhq1024 of one of: " in str(error.value)
    assert str(error.value).endswith("`zinv weights fetch interfacegan/stylegan2_ffhq1024` helps.")


@pytest.mark.parametrize("name", ["vggface2.pt", "20180402-114759-vggface2.pt", "vggface2.safetensors"])
def test_names_that_a_file_may_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    (tmp_path / name).touch()
    assert weights.locate("vggface2") == tmp_path / name


def test_torchs_own_cache_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert weights.locate("lpips/vgg16") == cached
    with pytest.raises(WeightsError, match="vgg16-397923af.pth: truncated or another file: sha256 e3b0c442…"):
        weights.find("lpips/vgg16")


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
    with pytest.raises(WeightsError, match="module.pt: .*torch.nn.modules.linear.Linear. is not on the list"):
        weights.read_state(str(tmp_path / "module.pt"))
