"""The small networks of the portraits domain."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zinv import weights
from zinv.errors import WeightsError
from zinv.networks.portraits import (
    AttributeNet,
    IdentityNet,
    PerceptualNet,
    PortraitNet,
    load_attributes,
    load_identity,
)

NAMES = ("smile", "glasses", "yaw")
NETWORKS = [
    IdentityNet,
    lambda: AttributeNet(NAMES, ("glasses",)),
    lambda: AttributeNet(NAMES, style="residual", width=16),
]


def pictures(num: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def save(network: PortraitNet, folder: Path) -> str:
    path = folder / "net.safetensors"
    weights.write(path, network.state_dict(), network.metadata())
    return str(path)


def test_identity_is_a_unit_vector_whatever_the_resolution() -> None:
    network = IdentityNet()
    for size in (16, 64, 96, 256):
        vectors = network(pictures(size=size))
        assert vectors.shape == (2, 128)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_larger_pictures_are_averaged_over_areas() -> None:
    network, small = IdentityNet(), pictures()
    torch.testing.assert_close(network(small.repeat_interleave(4, 2).repeat_interleave(4, 3)), network(small))


@pytest.mark.parametrize("make", NETWORKS)
def test_an_image_does_not_depend_on_its_batch_nor_on_the_mode(make: type[IdentityNet]) -> None:
    network, images = make(), pictures(3)
    torch.testing.assert_close(network.train()(images)[1:2], network.eval()(images[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", NETWORKS)
def test_gradients_reach_the_pixels_and_every_weight(make: type[IdentityNet]) -> None:
    network, images = make(), pictures().requires_grad_()
    (network(images) * torch.randn(2, 1)).sum().backward()
    assert images.grad is not None and images.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_binary_attributes_are_probabilities_and_others_are_not_bounded() -> None:
    network = AttributeNet(NAMES, ("glasses",))
    logits, values = network.logits(pictures()), network(pictures())
    torch.testing.assert_close(values[:, 1], logits[:, 1].sigmoid())
    torch.testing.assert_close(values[:, [0, 2]], logits[:, [0, 2]])


def test_perceptual_distance_is_zero_of_itself_symmetric_and_weighted_by_channel() -> None:
    network, a, b = PerceptualNet(), pictures(), pictures(seed=1)
    torch.testing.assert_close(network(a, a), torch.zeros(2))
    torch.testing.assert_close(network(a, b), network(b, a))
    taps = zip(network.features(a), network.features(b), strict=True)
    unit = [[x / x.norm(dim=1, keepdim=True) for x in tap] for tap in taps]
    means = [(x - y).square().mean((2, 3)) for x, y in unit]
    network.scale.copy_(torch.arange(304.0))
    weights = network.scale.split([32, 64, 96, 112])
    torch.testing.assert_close(network(a, b), sum((m * w).sum(1) for m, w in zip(means, weights, strict=True)))


def test_perceptual_taps_halve_in_size() -> None:
    shapes = [tuple(x.shape) for x in PerceptualNet().features(pictures(1))]
    assert shapes == [(1, 32, 32, 32), (1, 64, 16, 16), (1, 96, 8, 8), (1, 112, 4, 4)]


def test_a_file_tells_its_architecture(tmp_path: Path) -> None:
    network = AttributeNet(NAMES, ("glasses",), "residual", width=16)
    again = load_attributes(save(network, tmp_path))
    torch.testing.assert_close(again(pictures()), network(pictures()))
    assert again.names == NAMES and not any(p.requires_grad for p in again.parameters())


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"net.safetensors: holds portraits attributes, not portraits identity\."):
        load_identity(save(AttributeNet(NAMES, width=8), tmp_path))


def test_tensors_of_another_architecture_are_refused(tmp_path: Path) -> None:
    network, path = AttributeNet(NAMES, width=8), tmp_path / "net.safetensors"
    metadata = network.metadata() | {"architecture": json.dumps({**network.architecture(), "width": 16})}
    weights.write(path, network.state_dict(), metadata)
    with pytest.raises(WeightsError, match="its tensors do not fit its architecture"):
        load_attributes(str(path))


@pytest.mark.parametrize(
    ("network", "megabytes"),
    [
        (IdentityNet(), 1.2),
        (AttributeNet(("a",) * 9), 0.8),
        (AttributeNet(("a",) * 9, style="residual", width=64), 0.8),
        (PerceptualNet(), 1.0),
    ],
)
def test_the_shipped_sizes_stay_small(network: PortraitNet, megabytes: float) -> None:
    assert sum(2 * x.numel() for x in network.state_dict().values()) < megabytes * 1e6
