"""LPIPS against the `lpips` package; the portraits' distance against its network."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zinv import weights
from zinv.errors import WeightsError
from zinv.metrics.perceptual import LPIPSDistance
from zinv.metrics.portraits import PortraitIdentity, PortraitPerceptual
from zinv.networks.perceptual import LPIPS, MEAN, load_lpips
from zinv.networks.portraits import IdentityNet, PerceptualNet


def images(num: int = 2, size: int = 48, seed: int = 0) -> Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def reference(ours: LPIPS) -> torch.nn.Module:
    """The package's network with our backbone's weights and its own linear layers."""
    lpips = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = lpips.LPIPS(net="vgg" if ours.net == "vgg16" else "alex", pnet_rand=True, verbose=False).eval()
    own = ours.features.state_dict()
    theirs = {name: own[name.partition(".")[2]] for name in net.net.state_dict()}  # slice2.5.weight is 5.weight
    net.net.load_state_dict(theirs)
    return net


@pytest.mark.parametrize("net", ["alexnet", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_lpips_is_the_packages(net: str) -> None:
    ours = copy.deepcopy(load_lpips(f"random/{net}")).double()  # float32 rounding turns some ReLUs
    theirs = reference(ours).double()
    a, b = images(seed=1).double().requires_grad_(True), images(seed=2).double()
    with torch.no_grad():
        torch.testing.assert_close(ours(a, b), theirs(a, b).flatten(), rtol=1e-5, atol=1e-6)
        theirs.spatial = True
        torch.testing.assert_close(ours.map(a, b), theirs(a, b), rtol=1e-4, atol=1e-5)
    theirs.spatial = False
    (gradient,) = torch.autograd.grad(ours(a, b).sum(), a)
    (expected,) = torch.autograd.grad(theirs(a, b).sum(), a)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_gradients_are_finite_where_features_are_zero() -> None:
    lpips = load_lpips("random/alexnet")
    blank = torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 48, 48).clone().requires_grad_(True)
    taps = lpips.taps(blank)
    assert all(tap.abs().max() == 0 for tap in taps)
    (gradient,) = torch.autograd.grad(lpips.between(taps, lpips.taps(images(1))).sum(), blank)
    assert gradient.isfinite().all()


def test_random_networks_come_from_their_seed_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a, b, c = (load_lpips("random/alexnet", seed) for seed in (1, 1, 2))
    x, y = images(seed=1), images(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a(x, y), b(x, y)) and not torch.equal(a(x, y), c(x, y))


def test_a_random_network_is_never_called_lpips() -> None:
    metric = LPIPSDistance("random/alexnet")
    assert metric.sha256 is None
    assert metric.label == "distance (random alexnet, seed 0)"
    assert "LPIPS" not in metric.describe()


def staged(folder: Path, net: str = "alexnet") -> LPIPS:
    network = load_lpips(f"random/{net}", seed=5)
    state = {f"features.{name}": x for name, x in network.features.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({**state, "classifier.1.weight": torch.zeros(2, 2)}, folder / f"{net}.pth")
    return network


def test_a_staged_file_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    network = staged(tmp_path / "lpips")
    metric = LPIPSDistance("lpips/alexnet")
    assert metric.name == "lpips_alex" and metric.label == "LPIPS (alexnet)" and metric.network == "LPIPS alexnet"
    assert metric.sha256 == weights.sha256(tmp_path / "lpips" / "alexnet.pth")
    x, y = images(seed=1), images(seed=2)
    assert torch.equal(metric(x, y), network(x, y))
    assert torch.equal(LPIPSDistance("lpips/alexnet", channels="bgr")(x, y), network(x.flip(1), y.flip(1)))


def test_missing_weights_say_which_from_where_and_where_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        LPIPSDistance("lpips/vgg16")
    for part in ("vgg16-397923af.pth", "https://download.pytorch.org/models/", "sha256 397923af", str(tmp_path)):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not torchvision's vgg16 or alexnet"):
        LPIPSDistance(str(tmp_path / "other.pth"))


def test_a_truncated_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="truncated or another file: sha256 .*, not 7be5be79…; get it again from"):
        LPIPSDistance("lpips/alexnet")


def test_portrait_metrics_use_their_own_networks(tmp_path: Path) -> None:
    perceptual, identity = PerceptualNet(widths=(4, 4, 4)), IdentityNet(widths=(4, 4, 4, 4), dim=8)
    for net, name in ((perceptual, "perceptual"), (identity, "identity")):
        weights.write(tmp_path / f"{name}.safetensors", net.state_dict(), net.metadata())
    distance = PortraitPerceptual(str(tmp_path / "perceptual.safetensors"))
    cosine = PortraitIdentity(str(tmp_path / "identity.safetensors"))
    x, y = images(size=64, seed=1), images(size=64, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(distance(x, y), perceptual(x, y))
        torch.testing.assert_close(cosine(x, y), torch.nn.functional.cosine_similarity(identity(x), identity(y)))
        torch.testing.assert_close(cosine(x, x), torch.ones(2))
        assert distance(x, x).tolist() == [0, 0]
    assert not any("lpips" in metric.describe().lower() for metric in (distance, cosine))
