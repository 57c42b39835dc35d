"""The weighted sum of terms: per image, with frozen networks, and mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zinv import weights
from zinv.check import check
from zinv.config import build, compose
from zinv.errors import ConfigError, WeightsError
from zinv.generators import Generator
from zinv.images import resize
from zinv.losses import Loss, LossTerm, Prepared
from zinv.losses.perceptual import LPIPSTerm
from zinv.methods.bdinvert import BDInvert
from zinv.methods.optimize import Optimize
from zinv.metrics.perceptual import LPIPSDistance
from zinv.metrics.portraits import PortraitPerceptual
from zinv.networks.perceptual import load_lpips
from zinv.networks.portraits import PerceptualNet
from zinv.presets import preset_names, read_preset
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.w import WPlus

RANDOM = {"lpips": {"weights": "random/alexnet", "size": 40}}


def images(num: int = 2, size: int = 48, seed: int = 0) -> Tensor:
    return torch.rand(num, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Reduced(LossTerm):
    label = "reduced"

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        return image.mean()


class Delta(LossTerm):
    """How far the rows of w lie from the first; 0 where there is no w."""

    label = "delta"

    def __init__(self, generator: Generator, space: LatentSpace, power: float = 2.0) -> None:
        super().__init__()
        self.generator, self.space, self.power = generator, space, power

    def prepare(self, target: Tensor) -> Prepared:
        return ()

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        ws = self.space.to_ws(self.generator, code)
        if ws is None:
            return image.new_zeros(len(image))
        return (ws - ws[:, :1]).abs().pow(self.power).mean((1, 2))


class Wishes(Delta):
    """The same, of a generator that it may do without."""

    def __init__(self, generator: Generator | None = None) -> None:
        LossTerm.__init__(self)
        self.generator = generator

    def forward(self, image: Tensor, code: Tensor, prepared: Prepared) -> Tensor:
        return image.new_full((len(image),), 0.0 if self.generator is None else self.generator.num_ws)


DELTA, WISHES = f"{__name__}.Delta", f"{__name__}.Wishes"


def test_pixel_terms_of_constant_images() -> None:
    loss = Loss({"mse": 2.0, "l1": 1.0, "code_l2": 0.5})
    code = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    image, target = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), -1.5)
    values = loss(image, code, loss.prepare(target))
    assert {name: value.tolist() for name, value in values.items()} == {
        "mse": [4.0, 4.0],
        "l1": [2.0, 2.0],
        "code_l2": [5.0, 0.0],
    }
    assert loss.total(values).tolist() == [12.5, 10.0]


def test_a_first_stage_has_weights_of_its_own() -> None:
    options: dict[str, dict[str, object]] = {"lpips": {"weights": "random/alexnet", "size": 40}}
    loss = Loss({"mse": 1.0, "lpips": 0.0}, options, pivot={"lpips": 2.0})
    assert loss.weights == {"mse": 1.0} and loss.pivot is not None and loss.pivot.weights == {"lpips": 2.0}
    assert loss.pivot.parts()["lpips"].size == 40
    assert loss.networks() == loss.pivot.networks() and len(loss.networks()) == 1
    with pytest.raises(ConfigError, match=r"loss.pivot.l1: not among the terms \(a weight of 0 will do\)"):
        Loss({"mse": 1.0}, pivot={"l1": 1.0})


def test_lpips_term_resizes_the_two_images_differently() -> None:
    term, lpips = LPIPSTerm("random/alexnet", size=40), load_lpips("random/alexnet")
    image, target = images(seed=1), images(seed=2)
    bicubic = torch.nn.functional.interpolate(image, size=(40, 40), mode="bicubic", align_corners=False)
    expected = lpips(bicubic, resize(target, 40, "lanczos"))
    torch.testing.assert_close(term(image, torch.zeros(2, 1), term.prepare(target)), expected)


def test_lpips_term_does_not_enlarge() -> None:
    term = LPIPSTerm("random/alexnet", size=256)
    image, target = images(seed=1), images(seed=2)
    expected = LPIPSDistance("random/alexnet")(image, target)
    torch.testing.assert_close(term(image, torch.zeros(2, 1), term.prepare(target)), expected)


def test_portrait_term_is_the_metric(tmp_path: Path) -> None:
    net, path = PerceptualNet(widths=(4, 4, 4)), tmp_path / "perceptual.safetensors"
    weights.write(path, net.state_dict(), net.metadata())
    loss = Loss({"portrait_perceptual": 1.0}, {"portrait_perceptual": {"weights": str(path)}})
    image, target = images(size=64, seed=1), images(size=64, seed=2)
    value = loss(image, torch.zeros(2, 1), loss.prepare(target))["portrait_perceptual"]
    torch.testing.assert_close(value, PortraitPerceptual(str(path))(image, target))
    assert loss.networks() == (PortraitPerceptual.network,)


def test_networks_are_frozen_and_named_as_the_metrics_name_them() -> None:
    loss = Loss({"mse": 1.0, "lpips": 10.0}, RANDOM)
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert not any(module.training for term in loss.parts().values() for module in term.modules())
    assert loss.networks() == (LPIPSDistance("random/alexnet").network,)


def test_gradients_of_an_image_do_not_depend_on_its_batch() -> None:
    loss = Loss({"mse": 1.0, "lpips": 10.0}, RANDOM)
    image, target = images(3, seed=1), images(3, seed=2)

    def gradient(rows: slice) -> Tensor:
        own = image[rows].clone().requires_grad_(True)
        total = loss.total(loss(own, torch.zeros(len(own), 1), loss.prepare(target[rows])))
        return torch.autograd.grad(total.sum(), own)[0]

    together = gradient(slice(0, 3))
    alone = torch.cat([gradient(slice(i, i + 1)) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-7)


def test_targets_are_prepared_without_a_graph() -> None:
    loss = Loss({"mse": 1.0, "lpips": 10.0}, RANDOM)
    prepared = loss.prepare(images().requires_grad_(True))["lpips"]
    assert isinstance(prepared, tuple) and not any(tap.requires_grad for tap in prepared)
    assert {len(tap) for tap in prepared} == {2}


def test_weight_zero_leaves_a_term_out() -> None:
    assert list(Loss({"mse": 1.0, "lpips": 0.0}).parts()) == ["mse"]


def test_a_term_of_ones_own_needs_no_registration() -> None:
    loss = Loss({f"{__name__}.Reduced": 1.0})
    assert list(loss.weights) == ["Reduced"]
    with pytest.raises(ConfigError, match=r"loss.terms.Reduced: gives shape \(\), not one value an image."):
        loss(images(), torch.zeros(2, 1), loss.prepare(images()))


def test_shipped_presets() -> None:
    assert read_preset("loss", "paper")["terms"] == {"mse": 1.0, "lpips": 10.0}
    for name in preset_names("loss"):
        assert set(read_preset("loss", name)["terms"]) <= set(preset_names("term"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({"lpipz": 1.0}, {}, r"term=lpipz: there is no such preset. Did you mean 'lpips'\?"),
        ({"mse": -1.0}, {}, "loss.terms.mse=-1.0: not a weight of 0 or more."),
        ({"mse": float("nan")}, {}, "loss.terms.mse=nan: not a weight of 0 or more."),
        ({"mse": 0.0}, {}, "no term has a weight above 0"),
        ({}, {}, "no term has a weight above 0"),
        ({"mse": 1.0}, {"lpips": {}}, "loss.options.lpips: no such term in this loss."),
        ({"lpips": 1.0}, {"lpips": {"sise": 8}}, r"loss.options.lpips.sise: no such key. Did you mean 'size'\?"),
        ({"lpips": 1.0}, {"lpips": {"size": "big"}}, "loss.options.lpips.size=big: not an int or null."),
        ({"lpips": 1.0}, {"lpips": {"resize": "lanczos"}}, "lpips.resize=lanczos: has no gradient"),
        ({"zinv.metrics.MSE": 1.0}, {}, "zinv.metrics.MSE is not a LossTerm."),
    ],
)
def test_mistakes_are_named(terms: dict[str, float], options: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Loss(terms, options)


def test_small_images_are_refused() -> None:
    loss = Loss({"lpips": 1.0}, RANDOM)
    with pytest.raises(ConfigError, match="random alexnet, seed 0: needs 31 pixels a side, not 16."):
        loss.prepare(images(size=16))


def test_missing_weights_fail_when_the_loss_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("ZINV_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match="lpips/vgg16: the weight file vgg16-397923af.pth is missing."):
        Loss({"mse": 1.0, "lpips": 10.0})


def test_a_term_is_handed_the_methods_space_and_generator(toy: Generator) -> None:
    loss = Loss({"mse": 1.0, DELTA: 0.5}, {DELTA: {"power": 1.0}})
    method = Optimize(toy, WPlus(), loss, num_steps=2)
    found = method.invert(images(2, 16), image_rngs(0, ["ada", "ben"]))
    expected = (found.code - found.code[:, :1]).abs().mean((1, 2))  # a code of W+ is its ws
    assert found.losses is not None
    torch.testing.assert_close(found.losses["Delta"], expected)
    torch.testing.assert_close(found.losses["total"], found.losses["mse"] + 0.5 * expected)
    assert float(expected.min()) > 0


def test_above_a_base_code_a_term_has_the_rows_of_the_code(toy: Generator) -> None:
    loss = Loss({"mse": 1.0, DELTA: 0.5})
    method = BDInvert(toy, WPlus(), loss, num_steps=2)
    found = method.invert(images(2, 16), image_rngs(0, ["ada", "ben"]))
    assert found.losses is not None and found.code.shape[1] == method.above.num_ws < toy.num_ws
    torch.testing.assert_close(found.losses["Delta"], (found.code - found.code[:, :1]).square().mean((1, 2)))
    assert Optimize(toy, WPlus(), loss).loss.parts()["Delta"].generator is toy  # a loss may serve several methods


def test_parts_are_handed_by_configuration_and_are_no_settings(toy: Generator) -> None:
    given = ["generator=toy", "method=optimize", "space=s", "method.num_steps=2", f"loss.terms.{DELTA}=.1"]
    config = compose([*given, f"loss.options.{DELTA}.power=3"])
    assert config["loss"]["options"][DELTA] == {"_target_": DELTA, "power": 3.0}
    parts = {group: build(config, group) for group in ("generator", "space", "loss")}
    method = build(config, "method", **parts)
    found = method.invert(images(1, 16), image_rngs(0, ["ada"]))
    assert found.losses["Delta"].tolist() == [0.0]  # S has no w
    with pytest.raises(ConfigError, match=r"Delta.generator=toy: no such key. .*Choose from: power."):
        compose([*given, f"loss.options.{DELTA}.generator=toy"])


def test_a_term_without_its_parts_says_what_it_lacks(toy: Generator) -> None:
    loss = Loss({DELTA: 1.0})
    with pytest.raises(ConfigError, match=r"loss.terms.\S*Delta: it needs a Generator, which this command has not."):
        loss.prepare(images(1, 16))
    with pytest.raises(ConfigError, match=r"loss.terms.\S*Delta: it needs a LatentSpace, which this command has not."):
        loss.over(toy)


def test_a_term_may_do_without_a_part(toy: Generator) -> None:
    loss = Loss({WISHES: 1.0})
    code = torch.zeros(1, 1)
    assert loss(images(1), code, loss.prepare(images(1)))["Wishes"].tolist() == [0.0]
    wired = loss.over(toy, WPlus())
    assert wired(images(1), code, wired.prepare(images(1)))["Wishes"].tolist() == [toy.num_ws]
    assert loss(images(1), code, loss.prepare(images(1)))["Wishes"].tolist() == [0.0]


def test_a_term_with_parts_can_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(f"term={DELTA}") == 0
    assert "every promise is kept" in capsys.readouterr().out


def test_a_loss_without_such_terms_is_the_same_for_every_method(toy: Generator) -> None:
    loss = Loss({"mse": 1.0})
    assert loss.over(toy, WPlus()) is loss
