"""Features of sets of pictures: torch-fidelity's Inception from a staged file, and the demo domain's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zinv.data.sources import Portraits
from zinv.errors import WeightsError
from zinv.metrics.features import InceptionFeatures, PortraitFeatures, load_features
from zinv.statistics import kernel_distance


def test_portraits_are_further_from_noise_than_from_each_other():
    features = load_features("portraits/perceptual")
    assert isinstance(features, PortraitFeatures) and features.label == "portrait kernel distance"
    first, second = Portraits(num=24).images(range(24)).split(12)
    noise = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    own, other, far = (features(images).numpy() for images in (first, second, noise))
    assert own.shape == (12, 304)
    assert kernel_distance(own, far).mean > 3 * abs(kernel_distance(own, other).mean)


@pytest.mark.slow
def test_inception_from_a_staged_file(tmp_path: Path):
    """Random weights in torch-fidelity's layout: the same features as the package gives itself."""
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is not installed"
    )
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr(module.torch, "load", lambda *_, **__: {})
        theirs = module.FeatureExtractorInceptionV3("theirs", ["2048"], feature_extractor_weights_path="none").eval()
    torch.save(theirs.state_dict(), tmp_path / "inception.pth")
    images = torch.rand(2, 3, 40, 40) * 2 - 1
    pixels = ((images + 1) * 127.5).round().to(torch.uint8)
    ours = load_features(str(tmp_path / "inception.pth"))
    assert isinstance(ours, InceptionFeatures) and ours.label == "KID"
    assert torch.equal(ours(images), theirs(pixels)[0])


def test_another_network_is_refused(tmp_path: Path):
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not torch-fidelity's Inception v3: other layers or shapes"):
        load_features(str(tmp_path / "other.pth"))
