"""The choice of layers and their masks, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.methods.layers import assign, binary_masks, choose, default_points, segment_means, soft_masks

LABELS = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 2, 2]])


def test_means_over_segments():
    first = torch.arange(16.0).view(4, 4)
    maps = torch.stack([first, torch.ones(4, 4)])
    expected = torch.tensor([[(0 + 1 + 4 + 5) / 4, 1], [(2 + 3 + 6 + 7) / 4, 1], [sum(range(8, 16)) / 8, 1]])
    torch.testing.assert_close(segment_means(LABELS, maps), expected)


@pytest.mark.parametrize(
    ("means", "layer"),
    [
        ([0.1, 0.1, 0.1], 0),
        ([0.2, 0.1, 0.1], 0),  # at the threshold
        ([0.3, 0.1, 0.1], 1),
        ([0.3, 0.3, 0.1], 2),
        ([0.1, 0.3, 0.1], 0),  # the most editable one, whatever comes after
        ([0.3, 0.1, 0.3], 1),
        ([0.3, 0.3, 0.3], 2),  # none: the last
    ],
)
def test_the_most_editable_layer_that_is_good_enough_takes_a_segment(means: list[float], layer: int):
    assert choose(torch.tensor([means]), 0.2).tolist() == [layer]


def test_a_place_goes_to_the_layer_of_most_of_its_pixels():
    layers = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 2], [2, 1, 0, 1], [2, 1, 2, 0]])
    masks = binary_masks(layers, 3, 2)
    assert masks[0].tolist() == [[1, 0], [0, 1]]
    assert masks[1].tolist() == [[0, 1], [1, 0]]  # two of four each at the lower left: the first of equals
    assert masks[2].tolist() == [[0, 0], [0, 0]]


def test_soft_masks_are_pils_lanczos_cut_off():
    layers = torch.zeros(16, 16, dtype=torch.int64)
    layers[3:9, 5:12] = 1
    mask = soft_masks(layers, 3, 4)
    reference = np.asarray(Image.fromarray(layers.numpy().astype(np.float32)).resize((4, 4), Image.Resampling.LANCZOS))
    assert reference.min() < 0
    np.testing.assert_allclose(mask[1].numpy(), reference.clip(0, 1), atol=1e-6)
    assert not mask[2].any()
    assert ((mask[1] > 0.05) & (mask[1] < 0.95)).any()


def test_masks_shares_and_flags_of_a_batch():
    """Two points of 4 and 8 pixels, pictures of 8: image 0 has all three layers, image 1 the code alone."""
    labels = LABELS.repeat_interleave(2, 0).repeat_interleave(2, 1).expand(2, 8, 8)
    maps = torch.full((2, 3, 8, 8), 0.1)
    maps[0, 0, :, 4:] = maps[0, 0, 4:] = 0.9  # the code keeps the upper left alone
    maps[0, 1, 4:] = 0.9  # the first point keeps the upper half
    layers = assign(labels, maps, 0.2, ["b4.out", "b8.out"])
    assert layers.masks["b4.out"][0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4]
    assert layers.masks["b8.out"][0, 0].tolist() == [[0.0] * 8] * 4 + [[1.0] * 8] * 4
    assert not layers.masks["b4.out"][1].any() and not layers.masks["b8.out"][1].any()
    shares = {name: x.tolist() for name, x in layers.facts.items()}
    assert shares == {
        "share_code": [0.25, 1.0],
        "share_b4.out": [0.25, 0.0],
        "share_b8.out": [0.5, 0.0],
        "degenerate": [0.0, 1.0],
    }
    assert layers.notes == {1: "degenerate: code takes all pixels"}
    assert layers.maps["layers"][0, ::4, ::4].tolist() == [[0, 1], [2, 2]]
    assert torch.equal(layers.maps["mask/b8.out"], layers.masks["b8.out"])


def test_a_threshold_that_admits_nothing_is_told():
    layers = assign(LABELS[None], torch.full((1, 3, 4, 4), 0.3), 0.001, ["b4.out", "b8.out"])
    words = "degenerate: b8.out takes all pixels, as threshold 0.001 admits no layer in any segment (lowest mean 0.3)"
    assert layers.notes == {0: words}
    assert layers.masks["b8.out"].all() and not layers.masks["b4.out"].any()


@pytest.mark.parametrize(
    ("resolution", "points"),
    [(8, [4]), (16, [4, 8]), (64, [8, 16, 32]), (256, [16, 32, 64, 128]), (512, [16, 32, 64, 128])],
)
def test_the_points_are_sams_at_every_resolution(resolution: int, points: list[int]):
    for toy in (toy_stylegan2, toy_stylegan1):
        assert default_points(toy(0, resolution, 2)) == [f"b{side}.out" for side in points]
