"""`zinv check` finds what is wrong with a part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zinv.check import broken
from zinv.contracts import (
    Contract,
    DataContract,
    GeneratorContract,
    MethodContract,
    MetricContract,
    SpaceContract,
    TermContract,
)
from zinv.data.sources import Toy
from zinv.generators import Generator
from zinv.generators.stylegan2 import StyleGAN2
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.losses.pixel import MSETerm
from zinv.methods.inversion import Inversion
from zinv.methods.optimize import Optimize
from zinv.metrics.distortion import MSE
from zinv.seeding import Rngs
from zinv.spaces.w import WPlus
from zinv.spaces.z import Z, ZPlus

Cli = Callable[..., Any]


def reasons(contract: Contract) -> dict[str, str]:
    """Broken promises, by their words, and how."""
    found = {words: broken(promise) for words, promise in contract.promises().items()}
    return {words: reason for words, reason in found.items() if reason}


def test_a_good_part_has_none(toy: Generator):
    assert reasons(SpaceContract(ZPlus(), toy)) == {}


class GlobalDraws(ZPlus):
    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return self.retract(torch.randn(len(rngs), generator.num_ws, generator.z_dim))


class FirstImage(WPlus):
    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return code - 0.1 * code.mean(0, keepdim=True)


class HalfRetracted(Z):
    def retract(self, code: Tensor) -> Tensor:
        return 0.5 * (code + super().retract(code))


class Outside(Z):
    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        return 2 * super().initial(generator, rngs)


class Line(Z):
    def interpolate(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        return torch.lerp(a, b, t)


class Trains(WPlus):
    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        generator.requires_grad_(True)
        return super().initial(generator, rngs)


class Detached(WPlus):
    def to_ws(self, generator: Generator, code: Tensor) -> Tensor:
        return super().to_ws(generator, code) + 0 * code if not code.requires_grad else 0 * code + code.detach()


class Holds(WPlus):
    def initial(self, generator: Generator, rngs: Rngs) -> Tensor:
        self.held = generator
        return super().initial(generator, rngs)


class OneSpread(WPlus):
    def spread(self, generator: Generator) -> Tensor:
        return torch.ones(1)


class MeanPenalty(WPlus):
    def penalty(self, generator: Generator, code: Tensor) -> Tensor:
        return code.square().mean()


@pytest.mark.parametrize(
    ("space", "words", "reason"),
    [
        (GlobalDraws(), "Each image is for itself", "initial of image 0 alone: it differs"),
        (FirstImage(), "Each image is for itself", "styles of image 0 alone: it differs"),
        (HalfRetracted(), "Starts lie in the space, and retracting twice is retracting once", "retracted twice"),
        (Outside(), "Starts lie in the space, and retracting twice is retracting once", "the start, retracted"),
        (Line(), "Interpolation begins and ends at its ends, and stays in the space", "interpolate at .5"),
        (Trains(), "The generator is left as it was found, and is not held", "the generator was changed"),
        (Holds(), "The generator is left as it was found, and is not held", "the space holds a generator"),
        (Detached(), "A gradient reaches every image's code", "no gradient reaches"),
        (OneSpread(), "Spread is positive and has a code's shape", "its shape is (1,), not (6, 16)"),
        (MeanPenalty(), "The penalty is one number an image", "its shape is (), not (3,)"),
    ],
)
def test_what_is_wrong_with_a_space_is_named(space: Any, words: str, reason: str):
    assert reason in reasons(SpaceContract(space, toy_stylegan2()))[words]


class BatchMean(MSETerm):
    def forward(self, image: Tensor, code: Tensor, prepared: Any) -> Tensor:
        return super().forward(image, code, prepared).mean().expand(image.shape[0])


class Root(MSETerm):
    def forward(self, image: Tensor, code: Tensor, prepared: Any) -> Tensor:
        return super().forward(image, code, prepared).sqrt()


class Scalar(MSETerm):
    def forward(self, image: Tensor, code: Tensor, prepared: Any) -> Tensor:
        return super().forward(image, code, prepared).mean()


class Writes(MSETerm):
    def forward(self, image: Tensor, code: Tensor, prepared: Any) -> Tensor:
        with torch.no_grad():
            image.clamp_(-0.1, 0.1)
        return super().forward(image, code, prepared)


@pytest.mark.parametrize(
    ("term", "words", "reason"),
    [
        (BatchMean(), "Each image is for itself", "the value of image 0 alone: it differs"),
        (Root(), "Its gradient is finite, also where image and target are equal", "where image and target are equal"),
        (Scalar(), "One number an image", "its shape is (), not (3,)"),
        (Writes(), "The same input gives the same value, and is left as it was", "a call changed its input"),
    ],
)
def test_what_is_wrong_with_a_term_is_named(term: MSETerm, words: str, reason: str):
    assert reason in reasons(TermContract(term, 16))[words]


class Upside(MSE):
    higher_is_better = True


class Mean(MSE):
    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        return super().forward(image, target).mean().expand(image.shape[0])


def test_what_is_wrong_with_a_metric_is_named():
    (words,) = reasons(MetricContract(Upside(), 16))
    assert words == "A picture is nearer to itself than to another, as higher_is_better says"
    assert "the value of image 0 alone" in reasons(MetricContract(Mean(), 16))["Each image is for itself"]


class Noisy(StyleGAN2):
    def synthesis(self, *args: Any, **kwargs: Any) -> Tensor:
        image = super().synthesis(*args, **kwargs)
        return image + 0.01 * torch.randn_like(image)


def test_a_generator_that_draws_noise_is_named():
    toy = toy_stylegan2()
    found = reasons(GeneratorContract(Noisy(toy.arch, toy.mapping_network, toy.synthesis_network)))
    assert (
        "a second rendering: it differs"
        in found["Rendering draws nothing and keeps no state, and the networks are frozen"]
    )
    assert "At every point, a feature edited into itself changes nothing" in found


class Forgets(Optimize):
    def invert(self, target: Tensor, rngs: Rngs) -> Inversion:
        found = super().invert(target + 0.5 * target.mean(0, keepdim=True), rngs)
        self.best = found.code + 1
        return found

    def reconstruct(self, inversion: Inversion) -> Tensor:
        code = getattr(self, "best", inversion.code)
        self.__dict__.pop("best", None)
        return super().reconstruct(Inversion(code))


def test_what_is_wrong_with_a_method_is_named():
    found = reasons(MethodContract(Forgets(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=3)))
    assert "an image alone: it differs" in found["Each image is for itself"]
    assert "the stored reconstruction: it differs" in found["What is stored renders the same picture"]


class Twice(Toy):
    def image(self, index: int) -> Tensor:
        return super().image(index) + torch.rand(()) * 3


def test_what_is_wrong_with_a_data_source_is_named():
    source = Twice(2)
    source.ids = ["a/b", "a/b"]
    found = reasons(DataContract(source))
    assert found["Ids are unique and safe as file names"] == "an id comes twice"
    assert "toy" not in found["Pictures are (3, R, R) float32 in [-1, 1], the same at each call"]


def test_it_prints_a_line_a_promise(cli: Cli):
    Path("zinv_test_check.py").write_text(
        "from zinv.spaces.z import Z\n\nclass Far(Z):\n    label = 'far'\n\n"
        "    def initial(self, generator, rngs):\n        return 2 * super().initial(generator, rngs)\n\n"
        "class Fails(Z):\n    def initial(self, generator, rngs):\n        raise KeyError('nothing')\n"
    )
    said = cli("check zinv.spaces.z.Z")
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[0] == "zinv.spaces.z.Z on the toy StyleGAN2:"
    assert lines[1] == "  ok      Label, coordinates and shapes are told"
    assert lines[-1] == "zinv.spaces.z.Z: every promise is kept."
    said = cli("check zinv_test_check.Far")
    assert said.status == 1
    assert (
        "  BROKEN  Starts lie in the space, and retracting twice is retracting once (the start, retracted: " in said.out
    )
    assert said.out.splitlines()[-1] == "zinv_test_check.Far: 4 promises are broken."
    said = cli("check zinv_test_check.Fails")
    assert said.status == 1 and "  BROKEN  It can be used at all (KeyError: 'nothing')" in said.out


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("zinv.errors.ConfigError", "zinv.errors.ConfigError: it is none of LatentSpace, Inverter, LossTerm, Metric, "),
        ("zinv.spaces.base.LatentSpace", "space=zinv.spaces.base.LatentSpace: it is abstract"),
        ("nowhere.Thing", "nowhere.Thing: nowhere cannot be imported"),
        ("zplus", "zplus: not an import path such as mylab.losses.Edges."),
        ("spce=zplus", "zinv check spce=zplus: there is no contract of this kind. Did you mean 'space'?"),
        ("space=zplu", "space=zplu: there is no such preset. Did you mean 'zplus'?"),
        ("zinv.data.folder.Folder", "data.path: not given. Add data.path=VALUE, a str."),
    ],
)
def test_mistakes(cli: Cli, part: str, message: str):
    said = cli(f"check {part}")
    assert said.status == 2
    assert said.err.startswith(f"error: {message}"), said.err
