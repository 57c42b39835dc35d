"""A short campaign of `benchmarks/fuzz.py`, and that it would find something."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).parents[3]
SCRIPT = CHECKOUT / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def burn(path: Path) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    "read, finding",
    [
        (lambda path: {}["key"], "KeyError"),
        (lambda path: os.system("true"), "it ran os.system"),
        (lambda path: Path(path).with_name("canary").write_text(""), "it ran open"),
        (lambda path: bytearray(200 << 20), r"it took \d+ MiB"),
        (burn, "Slow"),
    ],
)
def test_what_must_not_be_is_found(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, finding: str
):
    monkeypatch.setattr(fuzz, "seeds", lambda: [fuzz.Seed("ours", b"\x80\x02N.", read)])
    monkeypatch.setattr(fuzz, "warm_up", lambda files, folder: None)
    arguments = [
        "--num",
        "1",
        "--seconds",
        ".5",
        "--out",
        str(tmp_path / "out.json"),
        "--findings",
        str(tmp_path / "kept"),
    ]
    assert fuzz.main(arguments) == 1
    (found,) = json.loads((tmp_path / "out.json").read_text())["findings"]
    assert re.search(finding, found), found
    assert (tmp_path / "kept" / "0-0.pkl").exists()


@pytest.mark.slow
def test_a_short_campaign_finds_nothing(tmp_path: Path):
    out = tmp_path / "fuzz.json"
    command = [sys.executable, SCRIPT, "--minutes", ".33", "--seed", "1", "--out", out, "--findings", tmp_path / "kept"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    result = json.loads(out.read_text())
    assert result["files"] > 200
    assert result["findings"] == []
