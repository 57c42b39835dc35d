"""Winograd's convolution against a direct one in float64, where it is used, and where it must not be."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.networks import winograd
from zinv.networks.operators import convolve
from zinv.networks.perceptual import load_lpips

SHAPES = [(1, 128, 256, 8, 8), (2, 256, 128, 16, 12), (3, 192, 192, 8, 20), (1, 512, 512, 16, 16)]


def drawn(
    n: int, channels: int, out: int, height: int, width: int, seed: int = 0
) -> tuple[Tensor, nn.Parameter, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, height, width, generator=rng)
    weight = torch.randn(out, channels, 3, 3, generator=rng) / (9 * channels) ** 0.5
    return x, nn.Parameter(weight, requires_grad=False), torch.randn(n, out, height, width, generator=rng)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    for name in ("convolve", "adjoint"):
        own = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *given, own=own, name=name: (calls.append(name), own(*given))[1])
    return calls


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_direct_convolution_and_its_gradient(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    x, weight, grad = drawn(*shape)
    calls, exact = used(monkeypatch), x.double().requires_grad_()
    F.conv2d(exact, weight.double(), padding=1).backward(grad.double())
    x.requires_grad_()
    found = convolve(x, weight, padding=1)
    found.backward(grad)
    assert calls == ["convolve", "adjoint"]
    assert relative(found.double(), F.conv2d(exact, weight.double(), padding=1)) < 1e-5
    assert relative(x.grad.double(), exact.grad) < 1e-5


def test_in_float64_it_is_exact():
    x, weight, grad = drawn(2, 3, 5, 8, 12)
    x, weight, grad = x.double(), nn.Parameter(weight.double(), requires_grad=False), grad.double()
    u = winograd.transformed(weight)
    matrices = winograd.INPUT.double(), winograd.OUTPUT.double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "INPUT", matrices[0])
        patch.setattr(winograd, "OUTPUT", matrices[1])
        found, back = winograd.convolve(x, u), winograd.adjoint(grad, u)
    assert torch.allclose(found, F.conv2d(x, weight, padding=1), rtol=0, atol=1e-13)
    assert torch.allclose(back, F.conv_transpose2d(grad, weight, padding=1), rtol=0, atol=1e-13)


def test_a_changed_weight_is_transformed_anew():
    _, weight, _ = drawn(1, 128, 256, 8, 8)
    before = winograd.transformed(weight)
    assert winograd.transformed(weight) is before
    with torch.no_grad():
        weight.mul_(2)
    assert torch.equal(winograd.transformed(weight), 2 * before)
    weight.data = weight.data / 2
    assert torch.equal(winograd.transformed(weight), before)


def test_what_was_kept_goes_with_its_weight():
    _, weight, _ = drawn(1, 128, 256, 8, 8)
    winograd.transformed(weight)
    before = len(winograd._kept)
    del weight
    assert len(winograd._kept) == before - 1


@pytest.mark.parametrize(
    "shape",
    [(1, 64, 512, 8, 8), (1, 128, 128, 8, 8), (1, 512, 512, 4, 4), (1, 256, 256, 10, 8), (1, 256, 128, 256, 256)],
)
def test_narrow_small_large_and_odd_ones_are_direct(shape: tuple[int, ...]):
    x, weight, _ = drawn(*shape)
    assert not winograd.pays(x, weight)


def test_a_picture_is_convolved_directly(monkeypatch: pytest.MonkeyPatch):
    x, weight, _ = drawn(*SHAPES[0])
    calls = used(monkeypatch)
    assert torch.equal(convolve(x, weight, padding=1), F.conv2d(x, weight, padding=1))
    with torch.no_grad():
        convolve(x.requires_grad_(), weight, padding=1)
    assert not calls


def test_a_weight_that_learns_and_other_precisions_are_direct(monkeypatch: pytest.MonkeyPatch):
    x, weight, _ = drawn(*SHAPES[0])
    calls = used(monkeypatch)
    convolve(x.requires_grad_(), nn.Parameter(weight.clone()), padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        convolve(x, weight, padding=1)
    double = nn.Parameter(weight.double(), requires_grad=False)
    convolve(x.double(), double, padding=1)
    assert not calls


def test_under_vmap_it_is_the_same(monkeypatch: pytest.MonkeyPatch):
    x, weight, _ = drawn(*SHAPES[0])
    many = torch.stack([x, 2 * x, -x])

    def value(x: Tensor, weight: Tensor) -> Tensor:
        y = convolve(x, weight, padding=1) if x.dtype == torch.float32 else F.conv2d(x, weight, padding=1)
        return y.square().sum()

    calls = used(monkeypatch)
    found = torch.func.vmap(torch.func.grad(value), (0, None))(many, weight)
    exact = torch.stack([torch.func.grad(value)(one, weight.double()) for one in many.double()])
    assert "convolve" in calls
    assert relative(found.double(), exact) < 1e-5


def test_no_picture_gives_no_picture():
    x, weight, _ = drawn(0, 128, 256, 8, 8)
    y = convolve(x.requires_grad_(), weight, padding=1)
    assert y.shape == (0, 256, 8, 8)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


def test_a_copy_of_a_network_has_transforms_of_its_own():
    x, weight, _ = drawn(*SHAPES[0])
    before = winograd.transformed(weight)
    other = copy.deepcopy(weight)
    with torch.no_grad():
        other.neg_()
    assert torch.equal(winograd.transformed(other), -before)
    assert torch.equal(winograd.transformed(weight), before)


def test_lpips_has_the_gradient_of_direct_convolutions(monkeypatch: pytest.MonkeyPatch):
    lpips = load_lpips("random/vgg16")
    rng = torch.Generator().manual_seed(0)
    image, target = (torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1 for _ in range(2))
    calls = used(monkeypatch)
    (fast,) = torch.autograd.grad(lpips(image.requires_grad_(), target).sum(), image)
    assert len(calls) > 6
    monkeypatch.setattr("zinv.networks.perceptual.pays", lambda x, weight: False)
    (direct,) = torch.autograd.grad(lpips(image, target).sum(), image)
    assert relative(fast, direct) < 1e-4
