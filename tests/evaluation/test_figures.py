import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.test_store import IDENTITY, picture, start
from zinv.data.sources import Toy
from zinv.errors import DataError, StoreError
from zinv.evaluation.figures import draw_grid, enlarged, reconstruction_grid, run_labels
from zinv.images import pixels_sha256, to_uint8


def solid(value, side=8):
    return torch.full((3, side, side), float(value))


def finish_toys(run, source):
    for i, name in enumerate(source.ids):
        result = {"target_sha256": pixels_sha256(source.image(i)), "losses": {}}
        run.finish(name, {"code": torch.zeros(1)}, {}, solid(i / 2), result)


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


def test_a_grid_of_runs(tmp_path):
    source, runs = Toy(num=2, resolution=8), []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        runs.append(start(folder, settings={"label": "Z+"}, identity={**IDENTITY, "seed": seed}))
        finish_toys(runs[-1], source)
    path = reconstruction_grid(runs, source, source.ids, tmp_path / "figures" / "grid.png")
    with Image.open(path) as sheet:
        assert sheet.height == 3 * 96 + 2 * 3 and sheet.width > 2 * 96 + 3
    assert run_labels(runs[:1]) == ["Z+"] and run_labels(runs) == ["Z+ 1a2b3c4d"] * 2
    with pytest.raises(DataError, match="there is no image 'eve' among the 2"):
        reconstruction_grid(runs, source, ["eve"], path)
    with pytest.raises(StoreError, match="image 'toy-00002' is not finished"):
        reconstruction_grid(runs, Toy(num=3, resolution=8), ["toy-00002"], path)
