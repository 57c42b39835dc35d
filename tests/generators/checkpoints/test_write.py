"""What zinv writes for others: the layouts that `layouts` writes by hand, and the same images when read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.generators.checkpoints import layouts
from tests.generators.checkpoints.conftest import image, stylegan1, stylegan2
from zinv.errors import CheckpointError
from zinv.generators import load_generator
from zinv.generators.checkpoints.write import WRITERS, remarks


def test_rosinality_files_have_the_published_layout(tmp_path: Path):
    generator = stylegan2()
    WRITERS["rosinality"](generator, tmp_path / "a.pt")
    written, wanted = torch.load(tmp_path / "a.pt", weights_only=True), layouts.rosinality(generator)
    assert written.keys() == {"g_ema", "latent_avg"}
    assert torch.equal(written["latent_avg"], generator.w_avg)
    alike(written["g_ema"], wanted)


@pytest.mark.parametrize("make", [stylegan2, stylegan1])
def test_genforce_files_have_the_published_layout(tmp_path: Path, make):
    generator = make()
    WRITERS["genforce"](generator, tmp_path / "a.pth")
    written = torch.load(tmp_path / "a.pth", weights_only=True)
    wanted = layouts.genforce1(generator) if make is stylegan1 else layouts.genforce2(generator)
    assert written.keys() == {"generator_smooth"}
    unused = [f"synthesis.output{k}." for k in range(3)] if make is stylegan1 else []
    alike(written["generator_smooth"], wanted, tuple(unused))


def alike(written: dict, wanted: dict, unused: tuple[str, ...] = ()) -> None:
    """The same names and shapes, and values but for tensors without a part in an image."""
    assert {name: x.shape for name, x in written.items()} == {name: x.shape for name, x in wanted.items()}
    for name, x in wanted.items():
        if not name.startswith(unused or "-"):
            torch.testing.assert_close(written[name], x, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("resolution", [4, 32])
@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("make", [stylegan2, stylegan1])
def test_what_is_written_is_read_into_the_same_images(tmp_path: Path, make, format: str, resolution: int):
    sizes = {"resolution": resolution, "channels": (6, 5, 4, 3)[: resolution.bit_length() - 2]}
    if make is stylegan1 and format == "rosinality":
        pytest.skip("a format of StyleGAN2")
    generator = make(**sizes)
    WRITERS[format](generator, tmp_path / "sub" / "file")
    again, wanted = load_generator(str(tmp_path / "sub" / "file"), check=False), image(generator)
    torch.testing.assert_close(image(again), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["file"]


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path):
    for generator, format, words in (
        (stylegan1(), "rosinality", "rosinality's format holds StyleGAN2 alone"),
        (stylegan1(tanh=True), "genforce", "genforce's format does not tell tanh"),
        (stylegan1(fused_from=16), "genforce", "genforce's format does not tell up-sampling fused from 16 pixels"),
    ):
        with pytest.raises(CheckpointError, match=f"^{words}$"):
            WRITERS[format](generator, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_what_a_format_does_not_tell_is_remarked():
    published = stylegan2(resolution=8, channels=(512, 512), z_dim=6, w_dim=6, mapping_layers=1, clamp=256.0)
    assert remarks(published, "rosinality") == ["rosinality's format does not tell that layers are clamped"]
    assert remarks(published, "zinv") == []
    assert remarks(stylegan2(), "rosinality") == [
        "rosinality's own code builds other widths, and loads it only when changed"
    ]
