"""Trainings of directions on the toy: each against what numpy, or whoever made the scores, knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from zinv.editing.direction import Direction, load
from zinv.errors import ConfigError
from zinv.generators import Generator
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.seeding import image_rng, image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus, onto_sphere
from zinv.training.base import Trainee
from zinv.training.draws import Draws, check_attributes, read_scores
from zinv.training.fit import fit
from zinv.training.ganspace import GANSpaceTraining
from zinv.training.interfacegan import InterfaceGANTraining, orthogonal
from zinv.training.sefa import SeFaTraining, affine_weights
from zinv.training.stylespace import StyleSpaceTraining

NUM = 600
SPACES = [Z(), ZPlus(), W(), WPlus(), S()]


def fitted(trainee: Trainee, folder: Path) -> list[Direction]:
    return load(fit(trainee, folder, "cpu"))


def draws(space: LatentSpace, toy: Generator, num: int = NUM) -> Tensor:
    return space.draw(toy, image_rngs(0, [f"draw {i}" for i in range(num)]))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., str]:
    """Writes scores of draws."""

    def write(**columns: Tensor) -> str:
        path = tmp_path / "scores.csv"
        num = len(next(iter(columns.values())))
        frame = pd.DataFrame({"draw": range(num), **{name: x.numpy() for name, x in columns.items()}})
        frame.sample(frac=1, random_state=0).to_csv(path, index=False)
        return str(path)

    return write


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.label)
def test_a_boundary_finds_what_scores_were_made_of(
    tmp_path: Path, toy: Generator, csv: Callable[..., str], space: LatentSpace
):
    """Scores are a linear function of the codes: the normal is its gradient, and a step a deviation of the draws."""
    codes = draws(space, toy).flatten(1)
    scale = space.spread(toy).flatten() if space.coordinates == "s" else torch.ones(codes.shape[1])
    truth = torch.nn.functional.normalize(torch.randn(codes.shape[1], generator=image_rng(0, "truth")), dim=0)
    scores = csv(smile=(codes / scale) @ truth)
    trainee = InterfaceGANTraining(toy, space, scores=scores, num=NUM, ratio=0.3)
    (smile,) = fitted(trainee, tmp_path / "run")
    assert (smile.name, smile.attribute, smile.coordinates) == ("smile", "smile", space.coordinates)
    assert (smile.generator, smile.range) == (toy.sha256, None)
    smile.check(space, toy)
    normal = smile.step.flatten() / scale
    seen = (codes / scale) @ (normal / normal.norm())
    assert np.corrcoef(seen.numpy(), ((codes / scale) @ truth).numpy())[0, 1] > 0.9
    assert float(seen.std()) == pytest.approx(float(normal.norm()), rel=1e-3)
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["measured"]["accuracy_smile"] > 0.8


def test_conditions_are_orthogonal(tmp_path: Path, toy: Generator, csv: Callable[..., str]):
    codes = draws(Z(), toy)
    scores = csv(smile=codes[:, 0] + codes[:, 1], age=codes[:, 1])
    make = lambda **more: InterfaceGANTraining(toy, Z(), scores=scores, num=NUM, ratio=0.3, **more)  # noqa: E731
    smile, age = fitted(make(), tmp_path / "free")
    alone, other = fitted(make(conditions={"smile": ["age"]}), tmp_path / "conditional")
    assert torch.equal(age.step, other.step)
    assert abs(float(torch.cosine_similarity(alone.step, age.step))) < 1e-5
    assert float(torch.cosine_similarity(smile.step, age.step)) > 0.4
    assert float(torch.cosine_similarity(alone.step[:, :2], torch.eye(16)[:1, :2])) > 0.95
    with pytest.raises(ConfigError, match="nothing is left of a direction"):
        orthogonal(age.step[0], [age.step[0]])


def test_the_network_scores_and_calibrates(tmp_path: Path, toy: Generator):
    """The range is where the mean of the attribute rises with each half step, by hand."""
    trainee = InterfaceGANTraining(toy, ZPlus(), attributes=["light"], num=100, ratio=0.3, limit=2, num_calibrated=4)
    (light,) = fitted(trainee, tmp_path)
    network, space = trainee.network, ZPlus()
    assert network is not None
    images = toy.synthesis(space.to_styles(toy, draws(space, toy, 100)))
    torch.testing.assert_close(trainee.scores, network.logits(images), atol=1e-4, rtol=1e-4)
    start = space.draw(toy, image_rngs(0, [f"calibration {i}" for i in range(4)]))
    means = []
    for d in np.arange(-2, 2.5, 0.5):
        moved = space.retract(start + d * light.step)
        means.append(float(network.logits(toy.synthesis(space.to_styles(toy, moved)))[:, 7].mean()))
    rising = np.diff(means) > 0
    if light.range is None:
        assert not (rising[3] and rising[4])
    else:
        low, high = (int(2 * (end + 2)) for end in light.range)
        assert rising[low:high].all()
        assert low == 0 or not rising[low - 1]
        assert high == len(rising) or not rising[high]


def test_the_channel_that_scores_were_made_of(tmp_path: Path, toy: Generator, csv: Callable[..., str]):
    codes = draws(S(), toy)
    scores = csv(smile=-codes[:, 41])
    (smile,) = fitted(StyleSpaceTraining(toy, S(), scores=scores, num=NUM, ratio=0.1), tmp_path / "run")
    assert smile.step.nonzero().tolist() == [[0, 41]]
    assert float(smile.step[0, 41]) == pytest.approx(-float(codes[:, 41].std()), rel=1e-4)
    with pytest.raises(ConfigError, match="model=stylespace: channels are in S, not in W. Choose space=s."):
        StyleSpaceTraining(toy, W(), scores=scores, num=NUM, ratio=0.1).directions()


def ganspace_draws(toy: Generator, steps: range, size: int) -> tuple[Tensor, Tensor]:
    z = torch.cat([torch.randn(size, 16, generator=image_rng(0, f"ganspace {step}")) for step in steps])
    return z.double(), toy.mapping(z).double()


def test_components_are_those_of_the_covariance(tmp_path: Path, toy: Generator):
    found = fitted(GANSpaceTraining(toy, W(), num=4000, num_components=6, batch_size=1000), tmp_path)
    _, w = ganspace_draws(toy, range(4), 1000)
    values, vectors = np.linalg.eigh(np.cov(w.numpy().T))
    assert [d.name for d in found] == [f"ganspace{i}" for i in range(6)]
    assert torch.allclose(found[0].mean.double(), w.mean(0), atol=1e-5)
    for i, direction in enumerate(found[:3]):  # type: Any
        cosine = float(
            torch.cosine_similarity(direction.step.double(), torch.from_numpy(vectors[:, -1 - i].copy())[None])
        )
        assert abs(cosine) > 0.99
        assert float(direction.step.norm()) == pytest.approx(float(values[-1 - i]) ** 0.5, rel=0.05)
        direction.check(WPlus(), toy)


def test_components_are_regressed_back_to_z(tmp_path: Path, toy: Generator):
    """Against numpy's least squares on the same draws; a step moves w along its axis more than any other."""
    training = GANSpaceTraining(toy, ZPlus(), num=4000, num_components=6, rows=(2, 3), batch_size=1000)
    found = fitted(training, tmp_path)
    z, w = ganspace_draws(toy, range(4, 8), 1000)
    coordinates = (w - training.mean_) @ training.components_.T
    solved = np.linalg.lstsq((coordinates / coordinates.std(0)).numpy(), z.numpy(), rcond=None)[0]
    for row, direction in zip(solved, found, strict=True):
        assert float(direction.step.norm()) == pytest.approx(1, abs=1e-5)
        assert float(direction.step[0].double() @ torch.from_numpy(row / np.linalg.norm(row))) > 0.9999
        assert direction.rows == (2, 3)
    start = onto_sphere(z[:500].float())
    change = (toy.mapping(onto_sphere(start + found[0].step)) - toy.mapping(start)).double().mean(0)
    assert int((training.components_ @ change).abs().argmax()) == 0


@pytest.mark.parametrize("toy_", [toy_stylegan2(), toy_stylegan1()], ids=["stylegan2", "stylegan1"])
def test_affine_weights_are_the_layers_own(toy_: Any):
    """Read from the layers, with their learning-rate gain; a row of StyleGAN2 has its RGB layer's only if asked."""
    network, rows = toy_.synthesis_network, toy_.num_ws
    own = [network.layer(name).affine for name in toy_.style_names if not name.endswith("torgb")]
    own += [network.layer(name).affine for name in toy_.style_names[-1:] if name.endswith("torgb")]
    expected = sum(
        ((layer.weight / 4).double().T @ (layer.weight / 4).double().T.T for layer in own), torch.zeros(16, 16)
    )
    found = affine_weights(toy_).double()
    torch.testing.assert_close(found @ found.T, expected.double(), atol=1e-4, rtol=1e-4)
    assert affine_weights(toy_, tuple(range(rows)), to_rgb=True).shape[1] == sum(toy_.style_dims)


def test_sefa_is_an_eigendecomposition(tmp_path: Path, toy: Generator):
    found = fitted(SeFaTraining(toy, num_components=3, rows=(2, 3)), tmp_path)
    weight = affine_weights(toy, (2, 3)).double()
    weight = weight / weight.norm(dim=0)
    values = np.linalg.eigvalsh((weight @ weight.T).numpy())[::-1]
    for value, direction in zip(values, found, strict=False):
        step = direction.step[0].double()
        torch.testing.assert_close(weight @ (weight.T @ step), value * step, atol=1e-4, rtol=1e-4)
        assert direction.rows == (2, 3) and direction.layers() == "2-3"
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["measured"]["eigenvalue_0"] == pytest.approx(values[0], abs=1e-3)


def test_draws_are_pictures_of_the_codes_that_are_fitted(tmp_path: Path, toy: Generator):
    from zinv.images import read_image, round_8bit

    fit(Draws(toy, ZPlus(), num=3, batch_size=2), tmp_path, "cpu")
    images = toy.synthesis(ZPlus().to_styles(toy, draws(ZPlus(), toy, 3)))
    stored = torch.stack([read_image(tmp_path / "pictures" / f"0000{i}.png") for i in range(3)])
    assert (stored - round_8bit(images)).abs().max() < 0.01


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "not a readable CSV"),
        ("image,smile\na,1\n", "wants columns draw and attributes; it has image, smile."),
        ("draw,smile\n0,1\n0,2\n", "wants one row for each draw from 0 to 1; it has 2."),
        ("draw,smile\n0,1\n1,much\n", "column smile is not a number in every row."),
    ],
)
def test_scores_that_do_not_fit(tmp_path: Path, text: str | None, words: str):
    if text is not None:
        (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_scores(tmp_path / "s.csv", 2)
    assert str(caught.value).startswith(f"model.scores={tmp_path / 's.csv'}: ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda toy: InterfaceGANTraining(toy, Z(), attributes=["smlie"], num=10),
            "model.attributes=smlie: there is no ",
        ),
        (
            lambda toy: InterfaceGANTraining(toy, Z(), conditions={"smile": ["aeg"]}, num=10),
            "model.conditions.smile=aeg: there is no such attribute. Did you mean 'age'?",
        ),
        (lambda toy: GANSpaceTraining(toy, S()), "model=ganspace: components are of w or z, not of S."),
        (lambda toy: GANSpaceTraining(toy, W(), num_components=17), "model.num_components=17: not an int of 1 to 16."),
        (lambda toy: SeFaTraining(toy, rows=(7,)), "model.rows=[7]: rows are 0 to 5."),
        (lambda toy: SeFaTraining(toy, num_components=0), "model.num_components=0: not an int of 1 to 16."),
    ],
)
def test_what_a_training_refuses(toy: Generator, make: Callable[[Generator], Trainee], words: str):
    with pytest.raises(ConfigError) as caught:
        make(toy)
    assert str(caught.value).startswith(words)


def test_the_nearest_attribute_is_named():
    with pytest.raises(
        ConfigError, match=r"model.attributes=glases: there is no such attribute. Did you mean 'glasses'\?"
    ):
        check_attributes(["glases"], ["glasses", "smile"])
