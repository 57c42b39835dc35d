"""What an inversion holds survives being taken apart and put together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zinv.errors import StoreError
from zinv.generators import FeatureEdit
from zinv.methods.inversion import Inversion


def full() -> Inversion:
    return Inversion(
        code=torch.randn(2, 6, 16),
        base=("b8.conv0", torch.randn(2, 16, 8, 8)),
        edits={
            "b8.out": FeatureEdit(torch.randn(2, 16, 8, 8), keep=1.0),
            "b16.out": FeatureEdit(torch.randn(2, 16, 16, 16), keep=torch.rand(2, 1, 16, 16)),
        },
        maps={"mask": torch.rand(2, 1, 8, 8)},
        noise=tuple(torch.randn(2, 1, side, side) for side in (4, 8, 8)),
        weights={"synthesis.b4.const": torch.randn(2, 16, 4, 4)},
        losses={"mse": torch.ones(2)},
    )


def test_images_join_to_the_same_batch():
    before = full()
    after = Inversion.join([before.image(i) for i in range(2)])
    assert torch.equal(after.code, before.code)
    assert after.base is not None and before.base is not None
    assert after.base[0] == "b8.conv0" and torch.equal(after.base[1], before.base[1])
    assert after.edits is not None and after.edits["b8.out"].keep == 1.0
    assert torch.equal(after.edits["b16.out"].keep, before.edits["b16.out"].keep)  # type: ignore[index,arg-type]
    assert torch.equal(after.edits["b16.out"].value, before.edits["b16.out"].value)  # type: ignore[index]
    assert torch.equal(after.maps["mask"], before.maps["mask"])  # type: ignore[index]
    assert all(torch.equal(a, b) for a, b in zip(after.noise or (), before.noise or (), strict=True))
    assert torch.equal(after.weights["synthesis.b4.const"], before.weights["synthesis.b4.const"])  # type: ignore[index]


def test_many_noise_maps_keep_their_order():
    maps = tuple(torch.full((1, 1, 4, 4), float(i)) for i in range(17))
    after = Inversion.join([Inversion(torch.zeros(1, 4), noise=maps).image(0)])
    assert [float(x[0, 0, 0, 0]) for x in after.noise or ()] == list(range(17))


def test_what_is_absent_stays_absent():
    after = Inversion.join([Inversion(torch.zeros(1, 4)).image(0)])
    assert (after.base, after.edits, after.maps, after.noise, after.weights) == (None,) * 5
    assert len(after) == 1


def test_parts_come_together_again():
    before = full()
    steps = torch.arange(4)
    parts = [
        replace(
            before.part(i, i + 1),
            losses={"mse": before.losses["mse"][i : i + 1] + i},
            trace={"step": steps[: 3 + i], "mse": torch.arange(3.0 + i)[:, None]},
            steps=torch.tensor([5 + i]),
            failures={0: "no"} if i else {},
        )
        for i in range(2)
    ]
    after = Inversion.together(parts)
    assert torch.equal(after.code, before.code) and after.metadata() == before.metadata()
    assert after.losses["mse"].tolist() == [1, 2]
    assert after.trace is not None and after.trace["step"].tolist() == [0, 1, 2, 3]
    assert after.trace["mse"].T.tolist() == [[0, 1, 2, 2], [0, 1, 2, 3]]  # the shorter repeats its last values
    assert after.steps is not None and after.steps.tolist() == [5, 6]
    assert after.failures == {1: "no"}


def test_weights_that_are_not_kept_are_not_stored():
    tensors, metadata = replace(full(), keeps_weights=False).image(0)
    assert not [name for name in tensors if name.startswith("weights/")]
    after = Inversion.join([(tensors, metadata)])
    assert after.weights is None and not after.keeps_weights


def test_weights_of_two_generators_are_no_batch():
    images = [replace(full(), generator=name).image(0) for name in ("a", "b")]
    with pytest.raises(StoreError, match="cannot be one batch"):
        Inversion.join(images)


def test_images_of_different_methods_are_no_batch():
    with pytest.raises(StoreError, match="inversions of different methods cannot be one batch"):
        Inversion.join([full().image(0), Inversion(torch.zeros(1, 6, 16)).image(0)])
