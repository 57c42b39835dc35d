"""Losses, measures and data of the small networks' trainings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score, roc_auc_score

from zinv.data.portraits.parameters import ATTRIBUTES, IDENTITY, sample_portraits
from zinv.data.portraits.renderer import render
from zinv.images import round_8bit
from zinv.networks.portraits import load_attributes, load_identity, load_perceptual
from zinv.training.attributes import AttributeTraining, attribute_loss, attribute_quality
from zinv.training.fit import fit
from zinv.training.identity import IdentityTraining, auc, cosface, histogram
from zinv.training.perceptual import PerceptualTraining, damage
from zinv.training.renders import Renders, degrade


def test_cosface_by_hand() -> None:
    vectors, persons = torch.tensor([[0.6, 0.8]]), torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    # cosines .6 and .8; the own person's is lowered by .2 to .6, so both count alike
    loss = cosface(vectors, persons, torch.tensor([1]), margin=0.2, sharpness=10.0)
    assert loss.item() == pytest.approx(np.log(2), rel=1e-5)
    # without a margin: softmax of (6, 8)
    loss = cosface(vectors, persons, torch.tensor([1]), margin=0.0, sharpness=10.0)
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-5)


def test_auc_is_sklearns() -> None:
    scores = torch.randint(0, 8, (60,)).float()
    answers = torch.cat([torch.ones(25), torch.zeros(35)])
    assert auc(scores[:25], scores[25:]) == pytest.approx(roc_auc_score(answers, scores), abs=1e-6)


def test_attribute_quality_is_sklearns() -> None:
    truth = torch.rand(40, len(ATTRIBUTES)).round(decimals=1)
    predicted = truth + 0.3 * torch.randn(truth.shape)
    quality = attribute_quality(predicted, truth)
    smile, glasses = (ATTRIBUTES.index(name) for name in ("smile", "glasses"))
    assert quality["r2_smile"] == pytest.approx(r2_score(truth[:, smile], predicted[:, smile]), abs=1e-5)
    right = (predicted[:, glasses] > 0.5) == (truth[:, glasses] > 0.5)
    assert quality["accuracy_glasses"] == pytest.approx(right.float().mean().item())


def test_attribute_loss_by_hand() -> None:
    loss = attribute_loss(torch.tensor([[0.5, 0.0]]), torch.tensor([[-0.5, 1.0]]), torch.tensor([False, True]))
    assert loss.item() == pytest.approx((1.0 + np.log(2)) / 2)


def test_histogram_is_numpys() -> None:
    images = torch.rand(1, 3, 8, 8) * 2 - 1
    counts, _ = np.histogramdd(images[0].flatten(1).T.numpy(), bins=8, range=[(-1, 1)] * 3)
    np.testing.assert_allclose(histogram(images)[0].numpy(), np.sqrt(counts.flatten() / 64), atol=1e-6)


def test_renders_are_those_of_their_seeds_and_are_drawn_once(tmp_path: Path) -> None:
    renders = Renders(tmp_path, num=6, per_identity=3, start=5, resolution=16)
    renders.make()
    written = {path: path.stat().st_mtime_ns for path in renders.cache.folder.iterdir()}
    renders.make()
    assert {path: path.stat().st_mtime_ns for path in renders.cache.folder.iterdir()} == written
    portraits = sample_portraits([9], identity_seeds=[6])
    torch.testing.assert_close(renders.images(torch.tensor([4])), round_8bit(render(portraits, 16)))
    assert torch.equal(renders.identity[4:5], portraits.identity)
    assert torch.equal(renders.identity[3], renders.identity[5])


def test_damage_and_degradation_depend_on_the_seed_and_stay_in_range() -> None:
    images = torch.rand(8, 3, 16, 16) * 2 - 1
    for change in (damage, degrade):
        a, b = (change(images, torch.Generator().manual_seed(0)) for _ in range(2))
        assert torch.equal(a, b) and a.abs().max() <= 1 and a.shape == images.shape


def test_the_three_networks_train_and_load(tmp_path: Path) -> None:
    small = {"num_steps": 2, "batch_size": 4, "renders": str(tmp_path / "renders")}
    identity = IdentityTraining(num_images=4, per_identity=2, num_pairs=2, **small)
    attributes = AttributeTraining(num_images=4, num_tune=4, **small)
    perceptual = PerceptualTraining(num_images=4, num_tune=4, **small)
    files = [str(fit(t, tmp_path / t.name, accelerator="cpu")) for t in (identity, attributes, perceptual)]
    images = Renders(tmp_path / "renders", 4).images(torch.arange(2))
    assert load_identity(files[0])(images).shape == (2, 128)
    assert load_attributes(files[1])(images).shape == (2, len(ATTRIBUTES))
    assert load_perceptual(files[2])(images, images.flip(0)).min() > 0
    assert identity.readout.out_features == len(IDENTITY)
