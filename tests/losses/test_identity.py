"""Identity and VGG terms against the networks that they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from zinv.losses.identity import IdentityTerm, PortraitIdentityTerm
from zinv.losses.perceptual import VGGTerm
from zinv.metrics.portraits import PortraitIdentity

CODE = torch.zeros(2, 4)


def pictures(size: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    image, target = (F.interpolate(torch.randn(2, 3, 4, 4, generator=rng), (size, size)).tanh() for _ in range(2))
    return image, target


def test_portrait_identity_is_one_minus_the_metric():
    term, (image, target) = PortraitIdentityTerm(), pictures(64)
    expected = 1 - PortraitIdentity()(image, target)
    torch.testing.assert_close(term(image, CODE, term.prepare(target)), expected)
    torch.testing.assert_close(term(image, CODE, term.prepare(image)), torch.zeros(2), atol=1e-5, rtol=0)


def test_identity_sees_the_face_where_alignment_puts_it(tmp_path: Path):
    facenet = pytest.importorskip("facenet_pytorch")
    torch.manual_seed(0)
    net = facenet.InceptionResnetV1(pretrained=None).eval()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    term, (image, target) = IdentityTerm(str(tmp_path / "net.pt")), pictures(256)

    def embed(x: Tensor) -> Tensor:
        face = F.interpolate(x[:, :, 35:223, 32:220], (160, 160), mode="bilinear", antialias=True)
        vector: Tensor = net(face)
        return vector

    expected = 1 - F.cosine_similarity(embed(image), embed(target))
    torch.testing.assert_close(term(image, CODE, term.prepare(target)), expected.detach(), atol=1e-5, rtol=1e-4)
    border = image.clone()
    border[:, :, :35] = 1
    torch.testing.assert_close(term(border, CODE, term.prepare(image)), torch.zeros(2), atol=1e-5, rtol=0)


def test_vgg_is_the_difference_after_the_relu_of_conv4_3():
    term, (image, target) = VGGTerm("random/vgg16"), pictures(32)
    net = torchvision.models.vgg16().features[:23]
    net.load_state_dict({k: x for k, x in term.lpips.features.state_dict().items() if int(k.split(".")[0]) < 23})
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    a, b = (net(((x + 1) / 2 - mean) / std) for x in (image, target))
    assert isinstance(net[22], torch.nn.ReLU) and a.shape == (2, 512, 4, 4)
    expected = (a - b).square().mean((1, 2, 3)).detach()
    torch.testing.assert_close(term(image, CODE, term.prepare(target)), expected, rtol=1e-3, atol=1e-6)
