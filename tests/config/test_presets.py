"""Every shipped preset fits its class, and the shipped defaults make runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from zinv.config import build, compose, expand, find_experiment, preset_names, run_id
from zinv.config.experiment import experiment_names
from zinv.config.fill import as_choice
from zinv.config.schema import PARTS, settings
from zinv.config.text import read
from zinv.errors import ConfigError
from zinv.presets import read_preset

CHECKOUT = Path(__file__).parents[2]
SHIPPED = sorted((path.parent.name, path.stem) for path in (CHECKOUT / "configs").glob("*/*.yaml"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


METHODS = [name for name in preset_names("method") if name != "idinvert_released"]  # which names a file


@pytest.mark.parametrize(("group", "name"), SHIPPED)
def test_a_preset_fits_its_class(group: str, name: str):
    choice = as_choice(group, name, read_preset(group, name), f"{group}={name}")
    known = settings(group, choice.target)
    for key, value in choice.values.items():
        if "${" not in str(value):
            read(value, known[key].annotation, f"{group}={name}: {key}")
    for other, suggested in choice.suggested.items():
        assert "." in other or suggested in preset_names(other)


def test_presets_are_in_groups_that_exist():
    assert {group for group, _ in SHIPPED} <= set(PARTS)


@pytest.mark.parametrize("space", ["z", "zplus", "w", "wplus", "pn", "pnplus", "s", "fixed"])
def test_every_space_goes_with_every_method_on_the_toy(space: str):
    ids = {run_id(compose([f"method={name}", f"space={space}", "generator=toy"])) for name in METHODS}
    assert len(ids) == len(METHODS)


def test_toy_runs_need_no_file():
    config = compose(["generator=toy", "space=zplus", "method=optimize"])
    parts = {group: build(config, group) for group in ("generator", "space", "loss", "data", "protocol")}
    assert build(config, "method", **parts).generator is parts["generator"]


@pytest.mark.parametrize("name", experiment_names())
def test_an_experiment_composes_as_soon_as_it_is_told_where_its_pictures_are(name: str):
    for row in expand(find_experiment(name)):
        try:
            compose(row)
        except ConfigError as error:
            assert str(error).startswith("data.path: not given.")
            compose([*row, "data.path=PHOTOS"])
