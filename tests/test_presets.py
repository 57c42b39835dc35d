"""Presets: where they are found, what they build, and how mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from zinv.errors import ConfigError
from zinv.metrics import SSIM, Metric
from zinv.presets import locate, make, preset_folders, preset_names, read_preset


def test_the_working_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs" / "metric").mkdir(parents=True)
    (tmp_path / "configs" / "metric" / "ssim.yaml").write_text("_target_: zinv.metrics.SSIM\nvariant: wang\n")
    monkeypatch.chdir(tmp_path)
    assert preset_folders()[0] == tmp_path / "configs"
    assert read_preset("metric", "ssim")["variant"] == "wang"
    assert "mse" in preset_names("metric")


def test_numbers_with_exponents_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs" / "metric").mkdir(parents=True)
    (tmp_path / "configs" / "metric" / "psnr.yaml").write_text("_target_: zinv.metrics.PSNR\npeak_power: 1e-3\n")
    monkeypatch.chdir(tmp_path)
    assert read_preset("metric", "psnr")["peak_power"] == 1e-3


def test_a_class_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylab_presets.py").write_text(
        "from zinv.metrics import MSE\n\n\nclass Mine(MSE):\n    label = 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)
    assert make("metric", "mylab_presets.Mine", Metric, {}, "metric").label == "mine"  # type: ignore[type-abstract]


def test_options_override_the_preset() -> None:
    metric = make("metric", "ssim_wang", SSIM, {"variant": "skimage"}, "options.ssim_wang")
    assert metric.variant == "skimage"


@pytest.mark.parametrize(
    ("dotted", "message"),
    [
        ("mylab", "mylab: not an import path such as mylab.losses.Edges."),
        ("..", r"\.\.: not an import path"),
        ("nowhere_at_all.Thing", "nowhere_at_all.Thing: nowhere_at_all cannot be imported"),
        ("zinv.errors.ConfigEror", "zinv.errors has no 'ConfigEror'. Did you mean 'ConfigError'?"),
    ],
)
def test_bad_paths_are_named(dotted: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        locate(dotted)


def test_an_abstract_class_is_not_a_choice() -> None:
    with pytest.raises(ConfigError, match="zinv.metrics.Metric is not a Metric|abstract"):
        make("metric", "zinv.metrics.Metric", Metric, {}, "metric")  # type: ignore[type-abstract]


def test_a_broken_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs" / "metric").mkdir(parents=True)
    (tmp_path / "configs" / "metric" / "broken.yaml").write_text("a: [1,")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="broken.yaml: not a readable YAML file"):
        read_preset("metric", "broken")
