"""Lines and figures about layers."""

import numpy as np
import torch

from tests.evaluation.conftest import table_row
from tests.evaluation.test_store import start
from zinv.data.sources import Toy
from zinv.evaluation.layers import coloured, layer_notes, layer_sheet, outlined
from zinv.evaluation.rows import Row
from zinv.evaluation.table import make_table
from zinv.images import pixels_sha256


def layered(shares, degenerate, **settings):
    row = table_row("SAM Z+", [0.1, 0.2], points="b4.out, b16.out", threshold="0.2", **settings)
    columns = dict(zip(("share_b16.out", "share_b4.out", "share_code"), zip(*shares, strict=True), strict=True))
    return Row(row.header, row.records.assign(**columns, degenerate=degenerate))


def test_shares_are_means_in_the_order_of_the_layers():
    (line,) = layer_notes([layered([(0.5, 0.2, 0.3), (0.1, 0.4, 0.5)], [0.0, 0.0])], ["SAM Z+"])
    assert line == "SAM Z+, threshold 0.2: shares of the pixels code 40.0%, b4.out 30.0%, b16.out 30.0%."


def test_degenerate_rows_are_called_so():
    half = layered([(1, 0, 0), (0.1, 0.4, 0.5)], [1.0, 0.0])
    whole = layered([(1, 0, 0), (1, 0, 0)], [1.0, 1.0], predictor="untrained")
    one, other = layer_notes([half, whole], ["a", "b"])
    assert one.endswith("; degenerate, one layer has all, in 1 of 2 images.")
    assert other.startswith("b, threshold 0.2, untrained predictor: shares")
    assert other.endswith("in 2 of 2 images: no evidence for choosing layers.")
    assert one.removeprefix("a") in " ".join(make_table([half]).notes)


def test_rows_without_layers_have_no_line(rows):
    assert list(layer_notes(rows, ["a", "b", "c"])) == []


def test_segments_have_their_mean_colour_and_an_outline():
    labels = torch.tensor([[0, 0, 1, 1]] * 4)
    picture = torch.arange(16.0).view(1, 4, 4).expand(3, -1, -1) / 16
    assert torch.equal(coloured(picture, labels)[:, :, 0], outlined(picture, labels)[:, :, 0])
    assert torch.equal(coloured(picture, labels)[:, :, 1], coloured(picture, labels)[:, :, 0])
    drawn = outlined(picture, labels)
    assert (drawn[:, :, 1] == -1).all()
    torch.testing.assert_close(drawn[:, :, 0], picture[:, :, :2].mean((1, 2))[:, None].expand(-1, 4))
    torch.testing.assert_close(drawn[:, :, 3], picture[:, :, 2:].mean((1, 2))[:, None].expand(-1, 4))


def test_the_sheet_has_a_row_for_everything(tmp_path):
    source = Toy(num=2, resolution=8)
    run = start(tmp_path, settings={"label": "SAM Z+", "space": "Z+"})
    layers = torch.zeros(8, 8, dtype=torch.uint8)
    layers[4:] = 1
    tensors = {
        "code": torch.zeros(1),
        "maps/segments": layers.short(),
        "maps/layers": layers,
        "maps/mask/b4.out": torch.zeros(1, 4, 4),
        "maps/invertibility": torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]),
    }
    for i, name in enumerate(source.ids):
        result = {"target_sha256": pixels_sha256(source.image(i)), "losses": {}}
        run.finish(name, tensors, {}, torch.zeros(3, 8, 8), result)
    sheet = layer_sheet(run, source, source.ids)
    assert sheet is not None
    pixels, pad = np.asarray(sheet), 3
    rows = [pixels[i * (96 + pad) : i * (96 + pad) + 96, -96:] for i in range(7)]
    assert (rows[2] == 0).all() and (rows[4] == 255).all()  # the maps of Z+ and b4.out
    assert (rows[3][:48] == rows[0][:48]).all() and (rows[3][48:] == 255).all()
    assert (rows[5][48:] == rows[0][48:]).all() and (rows[5][:48] == 255).all()
    assert sheet.height == 7 * 96 + 6 * pad


def test_a_run_without_layers_has_no_sheet(tmp_path):
    source = Toy(num=1, resolution=8)
    run = start(tmp_path)
    assert layer_sheet(run, source, []) is None
    result = {"target_sha256": pixels_sha256(source.image(0)), "losses": {}}
    run.finish(source.ids[0], {"code": torch.zeros(1)}, {}, torch.zeros(3, 8, 8), result)
    assert layer_sheet(run, source, source.ids) is None
