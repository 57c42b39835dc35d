"""Fixtures of all tests, and the rule that a test marked `required` may not be skipped under CI."""

from __future__ import annotations

import os
from collections.abc import Generator as Yields
from pathlib import Path
from typing import TYPE_CHECKING

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Yields[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.get_closest_marker("required") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"a required test was skipped: {report.longrepr}"
    return report
