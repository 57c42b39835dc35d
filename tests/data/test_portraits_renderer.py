"""The procedural portraits: deterministic, independent of batch mates, and every attribute does what it says."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from zinv.data.portraits.parameters import ATTRIBUTES, BINARY, IDENTITY, Portraits, sample_portraits
from zinv.data.portraits.renderer import render


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small planes gain nothing from threads, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def plain(count: int, seed: int = 5) -> Portraits:
    """One person ``count`` times, in one picture, with neutral attributes, no glasses and no beard."""
    attributes = torch.zeros(count, len(ATTRIBUTES))
    attributes[:, ATTRIBUTES.index("beard")] = -1
    return replace(sample_portraits([seed] * count), attributes=attributes)


def swept(name: str, seed: int, count: int = 5) -> Tensor:
    """Renders of one person while one attribute goes through its range."""
    portraits = plain(count, seed)
    portraits.attributes[:, ATTRIBUTES.index(name)] = torch.linspace(-1, 1, count)
    return render(portraits)


def test_parameters_keep_their_ranges() -> None:
    portraits = sample_portraits(range(200))
    assert portraits.identity.shape == (200, len(IDENTITY)) and portraits.identity.abs().max() <= 1
    assert portraits.attributes.shape == (200, len(ATTRIBUTES)) and portraits.attributes.abs().max() <= 1
    for name in BINARY:
        assert set(portraits.attributes[:, ATTRIBUTES.index(name)].tolist()) == {0.0, 1.0}
    assert portraits.detail.min() >= 0 and portraits.detail.max() < 1


def test_a_seed_is_a_portrait_whatever_its_batch_mates() -> None:
    together = render(sample_portraits(range(7)))
    for seed in range(7):
        assert torch.equal(render(sample_portraits([seed]))[0], together[seed])
    assert torch.equal(render(sample_portraits([6, 2, 4])), together[[6, 2, 4]])


def test_renders_are_pictures() -> None:
    images = render(sample_portraits(range(300)))
    assert images.shape == (300, 3, 64, 64) and images.dtype == torch.float32
    assert images.isfinite().all() and images.min() >= -1 and images.max() <= 1
    assert (images.flatten(1).std(dim=1) > 0.1).all()


@pytest.mark.parametrize("resolution", [8, 33, 128])
def test_other_resolutions_show_the_same_picture(resolution: int) -> None:
    portraits = sample_portraits([1, 2])
    images, reference = render(portraits, resolution), render(portraits)
    assert images.shape == (2, 3, resolution, resolution)
    small = torch.nn.functional.adaptive_avg_pool2d(images, 8)
    assert (small - torch.nn.functional.adaptive_avg_pool2d(reference, 8)).abs().mean() < 0.06


def test_no_portraits_give_no_pictures() -> None:
    assert render(sample_portraits([])).shape == (0, 3, 64, 64)


def test_identity_seeds_share_the_person_only() -> None:
    pair = sample_portraits([1, 2], identity_seeds=[9, 9])
    assert torch.equal(pair.identity[0], pair.identity[1])
    assert not torch.equal(pair.attributes[0], pair.attributes[1])
    assert torch.equal(sample_portraits([1]).attributes[0], pair.attributes[0])
    with pytest.raises(ValueError, match="identity_seeds"):
        sample_portraits([1, 2], identity_seeds=[9])


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_each_attribute_changes_the_picture_more_the_further_it_goes(name: str) -> None:
    for seed in (3, 4):
        images = swept(name, seed)
        change = (images - images[:1]).square().mean(dim=(1, 2, 3))
        assert change[0] == 0 and (change.diff() > 0).all()


@pytest.mark.parametrize("index", range(len(IDENTITY)), ids=IDENTITY)
def test_each_identity_parameter_changes_the_picture(index: int) -> None:
    portraits = plain(2)
    portraits.identity.mul_(0.5)
    portraits.identity[:, IDENTITY.index("mole_size")] = 1
    portraits.identity[:, IDENTITY.index("dye_amount")] = 1
    portraits.identity[:, index] = torch.tensor([-0.9, 0.9])
    first, second = render(portraits, 48, samples=1)
    assert (first - second).abs().mean() > 1e-5


def test_neutral_render_repeats() -> None:
    first, second = render(plain(2))
    assert torch.equal(first, second)


def test_background_gets_brighter() -> None:
    corners = swept("background", 8)[:, :, :8, :4].mean(dim=(1, 2, 3))
    assert (corners.diff() > 0.1).all()


def test_key_light_goes_from_left_to_right() -> None:
    face = swept("light", 8)[:, :, 30:44, 16:48].mean(dim=(1, 2))
    assert (((face[:, 16:] - face[:, :16]).mean(dim=1)).diff() > 0.02).all()


def test_beard_darkens_the_chin() -> None:
    chin = swept("beard", 8)[:, :, 46:50, 28:36].mean(dim=(1, 2, 3))
    assert (chin.diff() < 0).all()
