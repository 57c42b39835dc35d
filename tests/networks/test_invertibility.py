"""The predictors: zinv's image by image, the published one's layers against torchvision's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import ASPP

from tests.generators.checkpoints.test_encoders import tree_of
from zinv.errors import ConfigError, WeightsError
from zinv.generators.checkpoints.base import Tensors
from zinv.generators.checkpoints.formats import recognise
from zinv.networks import deeplab
from zinv.networks.invertibility import InvertibilityNet
from zinv.weights import write

CANDIDATES = ["Z+", "b4.out", "b8.out"]


def randomised(module: nn.Module) -> nn.Module:
    """With norms that do something."""
    rng = torch.Generator().manual_seed(0)
    for x in module.state_dict().values():
        if x.dim() == 1:
            x.copy_(0.5 + torch.rand(x.shape, generator=rng))
    return module.eval()


@pytest.mark.parametrize(("size", "side"), [(4, 16), (16, 16), (32, 16), (16, 64)])
def test_maps_have_the_networks_side_and_are_positive(size: int, side: int):
    maps = InvertibilityNet(CANDIDATES, size, 4)(torch.randn(2, 3, side, side))
    assert maps.shape == (2, 3, size, size) and (maps > 0).all()


def test_each_picture_has_its_own_maps():
    net, pictures = InvertibilityNet(CANDIDATES, 16, 4).double(), torch.randn(3, 3, 16, 16).double()
    torch.testing.assert_close(net(pictures)[1:2], net(pictures[1:2]), rtol=1e-10, atol=1e-12)


def test_a_far_pixel_reaches_a_map():
    net, picture = InvertibilityNet(CANDIDATES, 32, 4), torch.randn(1, 3, 32, 32, requires_grad=True)
    net(picture)[0, 0, 31, 31].backward()
    assert picture.grad is not None and picture.grad[0, :, :4, :4].abs().max() > 0


def test_a_side_that_cannot_be_halved():
    with pytest.raises(ConfigError, match="^model.size=24: not a power of two from 4 on.$"):
        InvertibilityNet(CANDIDATES, 24)


def test_it_is_read_as_it_was_written(tmp_path: Path):
    net, path = InvertibilityNet(CANDIDATES, 16, 4), tmp_path / "net.safetensors"
    write(path, net.state_dict(), net.metadata("abc", "pixel"))
    again, facts = InvertibilityNet.load(path)
    picture = torch.randn(1, 3, 16, 16)
    assert torch.equal(again(picture), net(picture))
    assert again.candidates == tuple(CANDIDATES) and facts["generator"] == "abc" and facts["network"] == "pixel"
    write(path, {}, {"kind": "pnorm"})
    with pytest.raises(WeightsError, match="holds pnorm, not an invertibility predictor"):
        InvertibilityNet.load(path)


@pytest.mark.parametrize("name", ["SAM", "SAM without dropout"])
def test_the_published_architecture_has_the_published_files_tensors(name: str):
    found = recognise(tree_of(name))
    architecture, tensors = found.build(Tensors(found.tensors))
    assert isinstance(architecture, dict)
    spaces = str(architecture["spaces"]).split(",")
    with torch.device("meta"):
        net = deeplab.DeepLabPredictor(spaces, bool(architecture["dropout"]))
    ours = {key.removeprefix("heads."): tuple(x.shape) for key, x in net.state_dict().items()}
    assert ours == {key: tuple(x.shape) for key, x in tensors.items()}


def test_the_backbone_is_torchvisions_with_a_dilated_last_stage():
    ours, theirs = randomised(deeplab.ResNet((1, 2, 1, 3), 64)), ResNet(Bottleneck, [1, 2, 1, 3])
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    theirs.load_state_dict(ours.state_dict())
    for unit, dilation in zip(theirs.layer4, (2, 4, 8), strict=True):
        unit.conv2.stride, unit.conv2.dilation, unit.conv2.padding = (1, 1), (dilation,) * 2, (dilation,) * 2
    theirs.layer4[0].downsample[0].stride = (1, 1)
    theirs.eval()
    x = torch.randn(1, 3, 64, 64)
    coarse, fine = ours(x)
    y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    torch.testing.assert_close(fine, theirs.layer1(y), rtol=1e-4, atol=1e-4)
    expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(y))))
    assert coarse.shape[-2:] == (4, 4)
    torch.testing.assert_close(coarse, expected, rtol=1e-4, atol=1e-4)


def test_the_pyramid_is_torchvisions():
    ours, theirs = randomised(deeplab.Pyramid(32)), ASPP(32, [6, 12, 18]).eval()
    for i, part in enumerate((ours.aspp1, ours.aspp2, ours.aspp3, ours.aspp4)):
        theirs.convs[i][0].load_state_dict(part.atrous_conv.state_dict())  # type: ignore[union-attr]
        theirs.convs[i][1].load_state_dict(part.bn.state_dict())  # type: ignore[union-attr]
    theirs.convs[4][1].load_state_dict(ours.global_avg_pool[1].state_dict())
    theirs.convs[4][2].load_state_dict(ours.global_avg_pool[2].state_dict())
    theirs.project[0].load_state_dict(ours.conv1.state_dict())
    theirs.project[1].load_state_dict(ours.bn1.state_dict())
    x = torch.randn(1, 32, 20, 20)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_a_small_one_of_the_published_kind_maps_each_picture_for_itself():
    net = randomised(deeplab.DeepLabPredictor(["W+", "F4"], True, (1, 1, 1, 3), 4))
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = net(pictures)
        torch.testing.assert_close(net(pictures[1:]), maps[1:], rtol=1e-4, atol=1e-5)
    assert maps.shape == (2, 2, 256, 256) and (maps >= 0).all()
