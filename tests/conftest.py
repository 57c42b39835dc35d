"""Fixtures of all tests, and the rule that a test marked `required` may not be skipped under CI."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Generator as Yields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from zinv.generators import Generator

os.environ.setdefault("OMP_NUM_THREADS", "1")
CHECKOUT = Path(__file__).parents[1]
REAL = CHECKOUT.parent / "shared" / "real"


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real photographs, networks and directions, which are not part of the project."""
    if not REAL.is_dir():
        pytest.skip("real photographs and networks (../shared/real) are not here")
    return REAL


@pytest.fixture(scope="session")
def toy() -> Generator:
    """The toy StyleGAN2 of 16 pixels."""
    from zinv.generators.toy import toy_stylegan2

    return toy_stylegan2()


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Yields[None]:
    """The user's weight folder is neither read nor written; what is computed is kept for the session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


class Said(NamedTuple):
    """What a command line returned and printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs command lines in this process, in an empty folder."""
    from zinv.cli import main

    monkeypatch.chdir(tmp_path)

    def call(line: str, *more: str) -> Said:
        capsys.readouterr()
        status = main([*line.split(), *more])
        return Said(status, *capsys.readouterr())

    return call


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Yields[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.get_closest_marker("required") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"a required test was skipped: {report.longrepr}"
    return report
