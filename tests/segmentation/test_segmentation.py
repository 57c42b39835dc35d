"""Segments of pictures whose parts are known, and label maps that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zinv.config import compose, run_id
from zinv.errors import DataError
from zinv.segmentation.masks import Masks
from zinv.segmentation.superpixels import Superpixels
from zinv.segmentation.whole import WholeImage


@pytest.fixture
def quarters() -> Tensor:
    """Four squares of four colours."""
    picture = torch.full((3, 32, 32), -1.0)
    picture[0, :, 16:] = 1.0
    picture[1, 16:] = 1.0
    return picture


def write(path: Path, values: object, mode: str | None = None) -> None:
    Image.fromarray(np.asarray(values, np.uint8), mode).save(path)


def test_superpixels_stay_on_their_side_of_an_edge(quarters: Tensor):
    for segmentation in (Superpixels(num=16), Superpixels(kind="felzenszwalb", scale=10.0)):
        labels = segmentation(quarters)
        colours = (quarters > 0).long()
        quarter = 2 * colours[1] + colours[0]
        assert labels.unique().tolist() == list(range(int(labels.max()) + 1)) and labels.max() >= 3
        for label in labels.unique():
            assert quarter[labels == label].unique().numel() == 1


def test_more_superpixels_where_more_are_asked_for(quarters: Tensor):
    few, many = (int(Superpixels(num=num)(quarters).max()) for num in (4, 64))
    assert few < 8 < many


def test_the_same_picture_has_the_same_superpixels(quarters: Tensor):
    assert torch.equal(Superpixels()(quarters), Superpixels()(quarters.clone()))


def test_the_whole_image_is_one_segment(quarters: Tensor):
    assert not WholeImage()(quarters).any()


def test_masks_are_read_by_id_and_numbered(tmp_path: Path):
    write(tmp_path / "ada.png", [[0, 7], [255, 7]])
    assert Masks(str(tmp_path))(torch.zeros(3, 2, 2), "ada").tolist() == [[0, 1], [2, 1]]


def test_a_palettes_numbers_are_its_labels(tmp_path: Path):
    picture = Image.fromarray(np.asarray([[1, 1], [2, 0]], np.uint8)).convert("L")
    picture.putpalette([9, 9, 9] * 256)
    picture.save(tmp_path / "ada.png")
    assert Masks(str(tmp_path))(torch.zeros(3, 2, 2), "ada").tolist() == [[1, 1], [2, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, 2, 3], [1, 2, 3]], "ada.png: a label map of 3 x 2 pixels for a picture of 2 x 2."),
        ([[0, 0], [0, 0]], "ada.png: an empty label map, 0 everywhere. segmentation=whole takes the whole image."),
        (np.zeros((2, 2, 3)), "ada.png: 3 channels; a label map has one."),
    ],
)
def test_label_maps_that_cannot_be_used(tmp_path: Path, values: object, message: str):
    write(tmp_path / "ada.png", values)
    with pytest.raises(DataError) as error:
        Masks(str(tmp_path))(torch.zeros(3, 2, 2), "ada")
    assert str(error.value) == message


def test_a_missing_or_broken_label_map(tmp_path: Path):
    (tmp_path / "ben.png").write_bytes(b"no picture")
    masks = Masks(str(tmp_path))
    with pytest.raises(DataError, match="^ada.png: no such label map in "):
        masks(torch.zeros(3, 2, 2), "ada")
    with pytest.raises(DataError, match="^ben.png: not a readable label map"):
        masks(torch.zeros(3, 2, 2), "ben")


def test_a_folder_without_label_maps(tmp_path: Path):
    for path, words in ((tmp_path / "none", "no such folder"), (tmp_path, "no label map (ID.png) in this folder")):
        with pytest.raises(DataError) as error:
            Masks(str(path))
        assert str(error.value) == f"segmentation.path={path}: there is {words}."


def test_masks_name_a_run_by_their_content_and_not_by_their_place(tmp_path: Path):
    ids = []
    for folder, label in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "ada.png", [[0, label]])
        base = ["method=sam", "generator=toy", "segmentation=masks"]
        ids.append(run_id(compose([*base, f"segmentation.path={tmp_path / folder}"])))
    assert ids[0] == ids[1] != ids[2]
