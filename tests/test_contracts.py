"""Every shipped part keeps the contract of its kind; a new preset is tested by being there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from zinv.check import CONTRACTS, broken
from zinv.contracts import DataContract, GeneratorContract, MetricContract, TermContract
from zinv.data.folder import Folder
from zinv.errors import WeightsError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import LossTerm
from zinv.metrics.base import Metric
from zinv.presets import make, preset_names, read_preset

NEED_FOLDERS = {"folder", "ffhq", "celebahq", "celebahq50", "lsun_cat", "masks"}
NEED_PATHS = {"file"}


def names(group: str, without: set[str] | None = None) -> list[tuple[str, str]]:
    return [(group, name) for name in preset_names(group) if name not in (without or set())]


def random_weights(group: str, name: str) -> dict[str, object]:
    """LPIPS has the same contract with random weights, which are always there."""
    weights = str(read_preset(group, name).get("weights", ""))
    return {"weights": weights.replace("lpips/", "random/")} if weights.startswith("lpips/") else {}


@pytest.mark.parametrize(
    ("group", "name"),
    [
        *names("space"),
        *names("generator", NEED_PATHS),
        *names("data", NEED_FOLDERS),
        *names("method"),
        *names("segmentation", NEED_FOLDERS),
    ],
)
def test_a_preset_keeps_its_contract(group: str, name: str):
    try:
        contracts = list(CONTRACTS[group](name))
    except WeightsError as error:
        pytest.skip(str(error))
    found = {
        f"{title}: {words}": broken(promise)
        for title, start in contracts
        for words, promise in start().promises().items()
    }
    assert {words: reason for words, reason in found.items() if reason} == {}
    assert len(found) >= 2


@pytest.mark.parametrize("name", preset_names("term"))
def test_a_term_keeps_its_contract(name: str):
    try:
        term = make("term", name, LossTerm, random_weights("term", name), "options")  # type: ignore[type-abstract]
    except WeightsError as error:
        pytest.skip(str(error))
    assert list(filter(None, map(broken, TermContract(term).promises().values()))) == []


@pytest.mark.parametrize("name", preset_names("metric"))
def test_a_metric_keeps_its_contract(name: str):
    try:
        metric = make("metric", name, Metric, random_weights("metric", name), "options")  # type: ignore[type-abstract]
    except WeightsError as error:
        pytest.skip(str(error))
    assert list(filter(None, map(broken, MetricContract(metric).promises().values()))) == []


@pytest.mark.parametrize(("resolution", "width"), [(4, 8), (8, 4), (64, 6)])
def test_a_generator_of_any_size_keeps_its_contract(resolution: int, width: int):
    contract = GeneratorContract(toy_stylegan2(3, resolution, width))
    assert list(filter(None, map(broken, contract.promises().values()))) == []


def test_a_folder_keeps_its_contract(tmp_path: Path):
    for i, name in enumerate(("ada.png", "my photo (2).jpg")):
        Image.new("RGB", (20, 20), (100 * i, 30, 40)).save(tmp_path / name)
    contract = DataContract(Folder(str(tmp_path), resolution=16))
    assert list(filter(None, map(broken, contract.promises().values()))) == []
