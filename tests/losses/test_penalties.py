"""The penalty on noise maps, worked by hand and against its formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zinv.losses.penalties import noise_penalty, whitened


def noise(side: int, num: int = 2) -> Tensor:
    return torch.randn(num, 1, side, side, generator=torch.Generator().manual_seed(side), dtype=torch.float64)


@pytest.mark.parametrize(("side", "levels"), [(4, 1), (8, 1), (16, 2), (32, 3)])
def test_a_constant_map_correlates_fully_on_each_level(side: int, levels: int):
    assert noise_penalty([torch.full((1, 1, side, side), 2.0)]).tolist() == [levels * 2 * 4.0**2]


def test_a_checkerboard_correlates_on_the_finest_level_alone():
    board = (1 - 2 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)).float()
    assert noise_penalty([board.view(1, 1, 16, 16)]).item() == pytest.approx(2.0)  # its halving is 0 everywhere


def test_stripes_correlate_along_one_axis():
    stripes = torch.tensor([1.0, 0.0, -1.0, 0.0]).repeat(4, 1)  # neighbours: 0 along the row, 1/2 down the column
    assert noise_penalty([stripes.view(1, 1, 4, 4)]).item() == pytest.approx(0.25)


def test_it_sums_over_maps_and_is_the_formula_image_by_image():
    maps = [noise(4), noise(16)]
    expected = []
    for i in range(2):
        total = 0.0
        for x in (maps[0][i, 0], maps[1][i, 0], maps[1][i, 0].unfold(0, 2, 2).unfold(1, 2, 2).mean((2, 3))):
            n = len(x)
            across = sum(float(x[a, b] * x[a, (b - 1) % n]) for a in range(n) for b in range(n)) / n**2
            down = sum(float(x[a, b] * x[(a - 1) % n, b]) for a in range(n) for b in range(n)) / n**2
            total += across**2 + down**2
        expected.append(total)
    assert noise_penalty(maps).tolist() == pytest.approx(expected)


def test_its_gradient():
    x = noise(16, 1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: noise_penalty([x]), [x])


def test_whitened_maps_have_mean_0_and_root_mean_square_1():
    x = whitened(3 * noise(8) + 5)
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(x.square().mean((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(whitened(x), x)
