import numpy as np
import torch

from tests.evaluation.test_store import picture
from zinv.evaluation.figures import draw_grid, enlarged
from zinv.images import to_uint8


def solid(value, side=8):
    return torch.full((3, side, side), float(value))


def test_every_image_is_where_its_row_and_column_say():
    rows = [("target", [solid(-1), solid(-0.5)]), ("F/Z+", [solid(0), solid(0.5)])]
    sheet = np.asarray(draw_grid(rows, side=96))
    pad = 3
    left = sheet.shape[1] - (2 * 96 + pad)
    for row, (_, images) in enumerate(rows):
        for column, image in enumerate(images):
            top, start_ = row * (96 + pad), left + column * (96 + pad)
            patch = sheet[top : top + 96, start_ : start_ + 96]
            assert (patch == to_uint8(image[None])[0, 0, 0].numpy()).all()


def test_labels_are_written():
    sheet = np.asarray(draw_grid([("F/W+(P_N)", [solid(1)]), ("Z", [solid(1)])], side=96))
    margin = sheet[:, :-96].min(axis=(1, 2)) < 128
    assert margin[:96].sum() > 8 and margin[99:].sum() > 8


def test_small_pictures_are_enlarged_in_whole_pixels():
    assert [enlarged(side) for side in (4, 16, 64, 96, 300, 1024)] == [96, 96, 128, 96, 256, 256]
    pixels = np.asarray(draw_grid([("", [picture("a", 4)])]))[:, -96:]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 16
