"""What is installed: every subpackage, the presets and the experiments."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def test_every_subpackage_is_named_in_setup_cfg():
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    named = set(config["options"]["packages"].split())
    folders = {path.parent.relative_to(CHECKOUT) for path in (CHECKOUT / "zinv").rglob("*.py")}
    assert named == {".".join(folder.parts) for folder in folders} | {"zinv.configs", "zinv.experiments"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("zinv", "configs", "experiments"):
        shutil.copytree(CHECKOUT / name, folder / "source" / name, ignore=copy)
    for path in CHECKOUT.glob("*"):
        if path.is_file():
            shutil.copy(path, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", folder]
    command.append(folder / "source")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("zinv-*.whl"))


@pytest.mark.slow
@pytest.mark.required
def test_the_wheel_has_code_presets_and_assets(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    for kind in ("configs", "experiments"):
        files = [path for path in (CHECKOUT / kind).rglob("*") if path.is_file() and path.suffix in (".yaml", ".txt")]
        assert {f"zinv/{path.relative_to(CHECKOUT).as_posix()}" for path in files} <= names
    modules = [path for path in (CHECKOUT / "zinv").rglob("*.py")]
    assets = [path for path in (CHECKOUT / "zinv" / "assets").rglob("*") if path.is_file()]
    assert {path.relative_to(CHECKOUT).as_posix() for path in [*modules, *assets]} <= names
    assert all(name.startswith("zinv/") for name in names)


@pytest.mark.slow
@pytest.mark.required
def test_an_installed_zinv_works_from_an_empty_folder(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "venv", system_site_packages=True, with_pip=False)
    own = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(own)
    others = [path for path in sys.path if path.endswith("site-packages")]
    (own / "others.pth").write_text("\n".join(others))
    (tmp_path / "empty").mkdir()
    command = [tmp_path / "venv" / "bin" / "python", "-m", "zinv", "list", "space"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False)
    assert "zplus" in done.stdout, done.stderr
    where = subprocess.run(
        [command[0], "-c", "import zinv.presets; print(zinv.presets.preset_folders())"],
        cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert str(own / "zinv" / "configs") in where.stdout
    environment["OMP_NUM_THREADS"] = "1"
    evaluated = subprocess.run(
        [command[0], "-m", "zinv", "evaluate", "generator=toy", "method.num_steps=2", "trainer=cpu"],
        cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    assert "protocol pixel" in evaluated.stdout
    assert list((tmp_path / "empty" / "runs").glob("*/*/records.csv"))
