import pytest
import torch

from zinv.data.base import DataSource
from zinv.data.sources import FIRST_SEED, SPLIT_SIZE, Portraits, Toy
from zinv.errors import DataError
from zinv.images import pixels_sha256, round_8bit


def test_toy_pictures_are_the_same_each_time_and_differ_from_each_other():
    first, again = Toy(num=3), Toy(num=2)
    assert torch.equal(first.image(1), again.image(1))
    assert len({pixels_sha256(first.image(i)) for i in range(3)}) == 3


@pytest.mark.parametrize("source", [Toy(num=2, resolution=32), Portraits(num=2, resolution=16)])
def test_pictures_are_8_bit_values_in_range(source):
    assert [image.id for image in source] == list(source.ids)
    for image in source:
        assert image.pixels.shape == (3, source.resolution, source.resolution) and image.pixels.dtype == torch.float32
        assert image.pixels.abs().max() <= 1 and torch.equal(image.pixels, round_8bit(image.pixels))


def test_no_two_splits_share_a_seed():
    starts = sorted(FIRST_SEED.values())
    assert all(b - a >= SPLIT_SIZE for a, b in zip(starts, starts[1:], strict=False))
    with pytest.raises(DataError, match="data.start=999999999 and data.num=2: there are 1000000000 images"):
        Portraits(split="train", start=SPLIT_SIZE - 1, num=2)


def test_an_id_names_one_portrait_whatever_the_start():
    whole, part = Portraits(num=4, resolution=16), Portraits(num=1, start=3, resolution=16)
    assert part.ids == ["held_out-00003"] == whole.ids[3:]
    assert torch.equal(whole.image(3), part.image(0))
    assert torch.equal(whole.truth(3)[0], part.truth(0)[0])
    assert not torch.equal(part.image(0), Portraits(split="tune", num=1, start=3, resolution=16).image(0))


def test_fingerprint_depends_on_ids_and_resolution():
    prints = {Toy(2).fingerprint(), Toy(3).fingerprint(), Toy(2, 32).fingerprint(), Portraits(num=2).fingerprint()}
    assert len(prints) == 4 and Toy(2).fingerprint() in prints


def test_the_generator_decides_the_resolution():
    Toy(2).match(16)
    with pytest.raises(DataError, match="data.resolution=16: the generator makes pictures of 64 pixels"):
        Toy(2).match(64)


class _Half(DataSource):
    """A newcomer's source: three members, nothing else."""

    ids = ("good", "bad")
    resolution = 4

    def image(self, index: int) -> torch.Tensor:
        if index:
            raise DataError("bad.png: eaten by the dog.")
        return torch.zeros(3, 4, 4)


def test_an_unusable_picture_comes_with_its_reason():
    good, bad = _Half()[0], _Half()[1]
    assert good.pixels is not None and not good.failure
    assert bad.pixels is None and bad.failure == "bad.png: eaten by the dog."


@pytest.mark.parametrize(
    ("arguments", "message"), [({"num": 0}, "data.num=0: at least one"), ({"start": -1}, "data.start=-1")]
)
def test_impossible_ranges_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Portraits(**arguments)
