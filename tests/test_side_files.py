"""Directions, components and codes that others publish: the real ones, and files of the same layouts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zinv.errors import WeightsError
from zinv.side_files import read_boundary, read_codes, read_components


def unit(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def ganspace(path: Path, deviations: Tensor) -> Tensor:
    """As GANSpace saves: axes in W and, for z directions, other ones beside them."""
    axes = unit(8, 1, 16)
    own = {"lat_comp": axes, "lat_mean": torch.full((1, 16), 0.5), "lat_stdev": deviations}
    others = {"act_comp": axes.flip(0), "act_mean": torch.ones(1, 16), "act_stdev": torch.rand(8)}
    extra = {"var_ratio": torch.rand(8), "random_stdevs": torch.rand(8)}
    np.savez_compressed(path, **{name: x.numpy() for name, x in (own | others | extra).items()})
    return axes[:, 0]


@pytest.mark.parametrize(("deviations", "coordinates"), [(torch.ones(8), "z"), (torch.arange(8.0) + 1, "w")])
def test_ganspace_components_of_either_flavour(tmp_path: Path, deviations: Tensor, coordinates: str):
    axes = ganspace(tmp_path / "ipca.npz", deviations)
    found = read_components(str(tmp_path / "ipca.npz"))
    assert found.coordinates == coordinates
    assert torch.equal(found.axes, axes) and torch.equal(found.deviations, deviations)
    assert torch.equal(found.mean, torch.full((16,), 0.5))


def test_the_published_components_of_w(real: Path):
    found = read_components(str(real / "stylegan2_ffhq1024" / "ganspace_w" / "ffhq_pca.pt"))
    assert (found.coordinates, found.axes.shape, found.mean.shape) == ("w", (80, 512), (512,))
    assert found.mean.norm().item() == pytest.approx(4.12, abs=0.01)
    assert found.deviations[10:15].tolist() == pytest.approx([1.447, 1.276, 1.190, 1.126, 1.076], abs=1e-3)
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(80), atol=1e-3, rtol=0)


def test_the_published_boundaries(real: Path):
    folder = real / "stylegan2_ffhq1024" / "interfacegan_w"
    age, smile, pose = (read_boundary(str(folder / f"{name}.pt"), 512) for name in ("age", "smile", "pose"))
    assert (age.shape, smile.shape, pose.shape) == ((1, 512), (1, 512), (18, 512))
    assert torch.equal(pose, pose[:1].expand(18, 512))
    normals = torch.cat([age, smile, pose[:1]])
    cosines = normals @ normals.T
    torch.testing.assert_close(cosines.diagonal(), torch.ones(3), atol=1e-4, rtol=0)
    assert (cosines - torch.eye(3)).abs().max() < 0.09
    arrays = sorted((real / "stylegan1_ffhq1024").glob("*.npy"))
    assert len(arrays) == 10
    for path in arrays:
        assert read_boundary(str(path), 512).norm().item() == pytest.approx(1.0, abs=1e-4)


def test_a_boundary_of_flattened_codes_has_a_row_for_each_layer(tmp_path: Path):
    normal = unit(1, 8 * 16)
    np.save(tmp_path / "smile.npy", normal.double().numpy())
    assert torch.equal(read_boundary(str(tmp_path / "smile.npy"), 16), normal.view(8, 16))


def test_the_published_codes(real: Path):
    codes = read_codes(str(real / "stylegan2_ffhq1024" / "w_plus_68.npy"), 18)
    assert codes.shape == (68, 18, 512) and codes.dtype == torch.float32
    assert torch.equal(codes, torch.from_numpy(np.load(real / "stylegan2_ffhq1024" / "w_plus_68.npy")))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((1, 8, 16), (1, 8, 16)),  # PTI's pivot, BDInvert's detail code in W+
        ((5, 8, 16), (5, 8, 16)),  # e4e's and IDInvert's codes of a folder
        ((5, 1, 16), (5, 1, 16)),
        ((8, 16), (1, 8, 16)),  # BDInvert's detail code in Z+
        ((1, 16), (1, 1, 16)),  # and in Z
        ((16,), (1, 1, 16)),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_codes_of_every_layout(tmp_path: Path, suffix: str, shape: tuple[int, ...], wanted: tuple[int, ...]):
    codes, path = torch.randn(shape), tmp_path / f"codes{suffix}"
    if suffix == ".pt":
        torch.save(codes, path)
    else:
        np.save(path, codes.numpy()) if suffix == ".npy" else np.savez(path, w=codes.numpy())
    assert torch.equal(read_codes(str(path), 8), codes.view(wanted))


def test_the_suffix_says_nothing(tmp_path: Path):
    torch.save(torch.ones(1, 8, 16), tmp_path / "pivot.npy")
    assert read_codes(str(tmp_path / "pivot.npy"), 8).shape == (1, 8, 16)
    with open(tmp_path / "codes.pt", "wb") as file:
        np.savez(file, w=np.ones((1, 8, 16), np.float32))
    assert read_codes(str(tmp_path / "codes.pt"), 8).shape == (1, 8, 16)


def lying_npz(path: Path) -> None:
    """A header that announces 4 TB, before four bytes."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"shape": (1 << 40,), "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", member.getvalue() + b"1234")


def bomb_npz(path: Path) -> None:
    """Zeros that are a thousand times smaller packed."""
    with open(path, "wb") as file:
        np.savez_compressed(file, w=np.zeros(1 << 18, np.float32))


def objects(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array({"boundary": 1}), allow_pickle=True)


def cut(path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.ones((1, 8, 16), np.float32))
    path.write_bytes(buffer.getvalue()[:-100])


def folder(path: Path) -> None:
    path.mkdir()
    np.save(path / "w.npy", np.ones((1, 8, 16), np.float32))


WRONG = {
    "folder": (folder, "a folder, where one file of arrays is wanted."),
    "lying": (lying_npz, "not a readable file of numpy arrays (w.npy is shorter than its header says)."),
    "bomb": (bomb_npz, "not a readable file of numpy arrays (w.npy unpacks to 1,048,704 bytes)."),
    "objects": (objects, "not a readable file of numpy arrays ("),
    "cut": (cut, "not a readable file of numpy arrays (File is not a zip file)."),
    "words": (lambda path: path.write_text("no numbers"), ""),
    "rows": (lambda path: torch.save(torch.ones(2, 7, 16), path), "shape (2, 7, 16) is no code of 1 or 8 rows."),
    "nan": (lambda path: torch.save(torch.full((8, 16), torch.nan), path), "not all of its values are finite."),
    "two": (
        lambda path: torch.save({name: torch.ones(2) for name in "ab"}, path),
        "one array is wanted; it has a, b.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    make, words = WRONG[name]
    monkeypatch.setattr("zinv.side_files.LARGEST", 1 << 20)
    make(tmp_path / "file")
    with pytest.raises(WeightsError) as caught:
        read_codes(str(tmp_path / "file"), 8)
    assert str(caught.value).startswith(f"{tmp_path / 'file'}: {words}")


def test_what_is_no_components_or_boundary_is_refused(tmp_path: Path):
    torch.save({"mean": torch.zeros(1, 16), "comp": 2 * unit(8, 1, 16), "std": torch.ones(8)}, tmp_path / "long.pt")
    torch.save({"mean": torch.zeros(1, 15), "comp": unit(8, 1, 16), "std": torch.ones(8)}, tmp_path / "odd.pt")
    torch.save({"mean": torch.zeros(1, 16)}, tmp_path / "part.pt")
    torch.save(torch.ones(1, 15), tmp_path / "normal.pt")
    for name, words in (
        ("long", r"the components are not of length one\."),
        ("odd", r"components of shape \(8, 16\) for a mean of 15 numbers\."),
        ("part", r"no components; they are lat_mean, lat_comp, lat_stdev or mean, comp, std\."),
    ):
        with pytest.raises(WeightsError, match=words):
            read_components(str(tmp_path / f"{name}.pt"))
    with pytest.raises(WeightsError, match=r"shape \(1, 15\) is no boundary of rows of 16\."):
        read_boundary(str(tmp_path / "normal.pt"), 16)
