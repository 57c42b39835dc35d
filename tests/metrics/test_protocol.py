"""Protocols: what is done to the images, what names them, and what they refuse."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import resize as tensor_resize

from zinv.errors import ConfigError, ProtocolError, WeightsError
from zinv.metrics import Metric, Protocol, perceptual
from zinv.metrics.identity import IdentitySimilarity
from zinv.metrics.seen import Seen
from zinv.networks.perceptual import LPIPS
from zinv.presets import preset_names, read_preset
from zinv.published import PUBLISHED


def preset(choice: str, **changes: object) -> Protocol:
    settings = {**read_preset("protocol", choice), **changes}
    settings.pop("_target_")
    return Protocol(**settings)  # type: ignore[arg-type]


def images(num: int, size: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(num, 3, 8, 8, generator=rng) * 2.2 - 1.1
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")


def as_8bit(image: Tensor) -> np.ndarray:
    return np.asarray(((image.clamp(-1, 1) + 1) * 127.5).round().byte()[0].permute(1, 2, 0))


def pil_256(image: Tensor) -> np.ndarray:
    return np.asarray(Image.fromarray(as_8bit(image)).resize((256, 256), Image.Resampling.BILINEAR)).astype(np.float64)


class Faceless(Metric):
    label, name, higher_is_better = "faceless", "faceless", True

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        return torch.full(image.shape[:1], math.nan)


def test_scores_do_not_depend_on_the_batch() -> None:
    protocol = Protocol("test", ["mse", "psnr", "ssim", "lpips_alex"], {"lpips_alex": {"weights": "random/alexnet"}})
    image, target = images(3, 40, 1), images(3, 40, 2)
    together = protocol.score(image, target)
    for i in range(3):
        alone = protocol.score(image[i : i + 1], target[i : i + 1])
        assert {name: value[i].item() for name, value in together.items()} == {n: v.item() for n, v in alone.items()}
    assert list(together) == protocol.columns == ["mse", "psnr", "ssim", "lpips_alex"]
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in together.values())


@pytest.mark.parametrize("name", ["demo", "e4e", "ganinverter"])
def test_a_comparison_of_seen_pictures_is_their_score(name: str) -> None:
    """Whichever is the target, and under uneven resizing; each is embedded once, or once as image and as target."""
    metrics = ["mse", "portrait_identity", "portrait_perceptual"] if name == "demo" else ["mse", "lpips_alex"]
    options = {} if name == "demo" else {"lpips_alex": {"weights": "random/alexnet"}}
    protocol = preset(name, metrics=metrics, options=options)
    pictures = images(2, 64, 1)
    seen = [Seen(picture[None]) for picture in pictures]
    for _ in range(2):
        for i, j in ((0, 1), (1, 0), (0, 0)):
            expected = protocol.score(pictures[i : i + 1], pictures[j : j + 1])
            found = {column: protocol.compare(column, seen[i], seen[j]) for column in metrics}
            assert found == {column: value.item() for column, value in expected.items()}
    uneven = 2 if name == "ganinverter" else 1
    assert [len(each.embeddings) for each in seen] == [uneven * len(metrics)] * 2


def test_a_batch_may_be_empty() -> None:
    scores = preset("pixel").score(torch.empty(0, 3, 16, 16), torch.empty(0, 3, 16, 16))
    assert {name: tuple(value.shape) for name, value in scores.items()} == {"mse": (0,), "psnr": (0,), "ssim": (0,)}


def test_images_are_rounded_to_8_bits_and_clipped() -> None:
    image, target = images(1, 16, 1), images(1, 16, 2)
    expected = np.mean((as_8bit(image) / 127.5 - as_8bit(target) / 127.5) ** 2)
    assert preset("pixel").score(image, target)["mse"].item() == pytest.approx(expected, rel=1e-6)
    exact = Protocol("float", ["mse"], levels="float").score(image * 0.5, target)["mse"].item()
    assert exact == pytest.approx(
        ((image * 0.5 - torch.tensor(as_8bit(target) / 127.5 - 1).permute(2, 0, 1)) ** 2).mean().item()
    )


def test_e4e_resizes_both_files_with_pil() -> None:
    image, target = images(1, 320, 1), images(1, 320, 2)
    small = [
        np.asarray(Image.fromarray(as_8bit(x)).resize((256, 256), Image.Resampling.BILINEAR)) for x in (image, target)
    ]
    expected = np.mean((small[0] / 127.5 - small[1] / 127.5) ** 2)
    protocol = preset("e4e", metrics=["mse"])
    assert protocol.score(image, target)["mse"].item() == pytest.approx(expected, rel=1e-6)


def test_ganinverter_rounds_down_and_resizes_unevenly() -> None:
    image, target = images(1, 320, 1), images(1, 320, 2)
    lowered = ((image + 1) / 2 * 255).clamp(0, 255).to(torch.uint8).float() / 127.5 - 1
    ours = tensor_resize(lowered, [256, 256], antialias=True)
    theirs = pil_256(target) / 127.5 - 1
    mse = ((ours[0].permute(1, 2, 0).double().numpy() - theirs) ** 2).mean()
    scores = preset("ganinverter", metrics=["mse", "psnr_ganinverter"]).score(image, target)
    assert scores["mse"].item() == pytest.approx(mse, rel=1e-4)
    assert scores["psnr_ganinverter"].item() == pytest.approx(10 * math.log10(2 / mse), abs=1e-3)


def test_rounding_down_leaves_8_bit_files_as_they_are() -> None:
    every_level = torch.arange(256.0).expand(3, 256)[None, :, None, :].expand(1, 3, 256, 256) / 127.5 - 1
    protocol = Protocol("floor", ["mse"], levels="floor")
    assert protocol.score(every_level, every_level)["mse"].item() == 0


def test_an_image_that_cannot_be_scored_is_nan() -> None:
    protocol = Protocol("faces", ["mse", f"{__name__}.Faceless"])
    scores = protocol.score(images(2, 16, 1), images(2, 16, 2))
    assert scores["Faceless"].isnan().all() and scores["mse"].isfinite().all()


def test_the_line_and_the_digest_tell_protocols_apart() -> None:
    pixel = preset("pixel")
    assert pixel.digest()[:8] in pixel.line()
    for part in ("pixel", "[-1, 1]", "8-bit", "own resolution", "MSE", "10 log10(4/MSE)", "opencv"):
        assert part in pixel.line()
    changes = [
        {"resolution": 16},
        {"levels": "floor"},
        {"options": {"ssim": {"variant": "wang"}}},
        {"metrics": ["mse"]},
    ]
    digests = {preset("pixel", **change).digest() for change in changes}
    assert len(digests | {pixel.digest()}) == 5
    assert preset("pixel", name="mine").digest() == pixel.digest()


@pytest.mark.parametrize("name", ["paper", "e4e", "ganinverter", "pixel"])
def test_the_documentation_shows_each_presets_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def published(self: IdentitySimilarity) -> None:
        Metric.__init__(self)
        self.sha256 = PUBLISHED["vggface2"].sha256

    monkeypatch.setattr(IdentitySimilarity, "__init__", published)
    monkeypatch.setattr(perceptual, "load_lpips", lambda weights, seed: LPIPS(weights.removeprefix("lpips/")))
    monkeypatch.setattr(perceptual, "weights_sha256", lambda weights: PUBLISHED[weights].sha256)
    documentation = Path(__file__).parents[2] / "docs" / "protocol.md"
    assert preset(name).line() in documentation.read_text(encoding="utf-8")


def test_facts_of_each_column() -> None:
    assert preset("pixel").facts()["psnr"] == {
        "label": "PSNR",
        "higher_is_better": True,
        "digits": 2,
        "network": None,
    }


@pytest.mark.parametrize("name", ["paper", "e4e", "ganinverter"])
def test_a_protocol_without_its_weights_fails_when_built(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("ZINV_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match="is missing. Get it from https://"):
        preset(name)


def test_shipped_presets() -> None:
    assert {"paper", "e4e", "ganinverter", "demo", "pixel"} <= set(preset_names("protocol"))
    for name in preset_names("protocol"):
        settings = read_preset("protocol", name)
        assert settings["name"] == name and set(settings["metrics"]) <= set(preset_names("metric"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["ssmi"]}, r"metric=ssmi: there is no such preset. Did you mean 'ssim'\?"),
        ({"metrics": ["zinv.errors.ZinvError"]}, "zinv.errors.ZinvError is not a Metric."),
        (
            {"metrics": ["mse"], "options": {"msee": {}}},
            r"protocol.options.msee: no such metric here. Did you mean 'mse'\?",
        ),
        ({"metrics": ["ssim"], "options": {"ssim": {"varint": 1}}}, "protocol.options.ssim.varint: no such key."),
        (
            {"metrics": ["ssim"], "options": {"ssim": {"variant": "a"}}},
            "ssim.variant=a: unknown choice.",
        ),
        ({"metrics": ["psnr"], "options": {"psnr": {"peak_power": "a"}}}, "psnr.peak_power=a: not a float."),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Protocol("wrong", **settings)  # type: ignore[arg-type]


def test_images_and_targets_must_match() -> None:
    with pytest.raises(ProtocolError, match=r"protocol=pixel: images \(1, 3, 8, 8\), targets \(1, 3, 16, 16\)."):
        preset("pixel").score(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16))


def test_precision_is_left_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    preset("pixel").score(images(1, 16, 1), images(1, 16, 2))
    assert torch.get_float32_matmul_precision() == before
