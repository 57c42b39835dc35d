"""Imports point down: a module imports from lower rows only, and inside its folder without going round in circles."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
HUGE_PAGES = MODE.read_text() if MODE.is_file() else ""


def rows() -> list[list[str]]:
    """Units of zinv (a folder or a module) by row of docs/architecture.md; those of row 0 one by one."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| \d+ \|([^|]*)\|", text, re.MULTILINE)
    first, *others = [[name.strip("`/").removesuffix(".py") for name in line.split()] for line in lines]
    return [*([name] for name in first), *others]


ROW = {name: i for i, row in enumerate(rows()) for name in row}


def modules() -> dict[str, Path]:
    """Every module's file by its dotted name without `zinv.`; a folder's `__init__` has the folder's name."""
    found = {}
    for path in (CHECKOUT / "zinv").rglob("*.py"):
        parts = path.relative_to(CHECKOUT / "zinv").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return {name: path for name, path in found.items() if name}


MODULES = modules()


def imported(path: Path) -> set[str]:
    """What a file imports of zinv, by those names; imports inside functions count."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name.removeprefix("zinv.") in MODULES else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("zinv.") for name in found if name.startswith("zinv.")}


def unit(name: str) -> str:
    return name.partition(".")[0]


def test_the_rows_of_the_architecture_have_every_module():
    assert set(ROW) == {unit(name) for name in MODULES} - {"__main__"}


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"__main__"}))
def test_a_module_imports_from_lower_rows_only(name: str):
    others = {other for other in imported(MODULES[name]) if unit(other) != unit(name)}
    assert {other for other in others if ROW[unit(other)] >= ROW[unit(name)]} == set()


def test_no_circles_inside_a_folder():
    graph = {name: {other for other in imported(path) if unit(other) == unit(name)} for name, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("base", ["generators", "metrics", "data", "spaces", "losses", "methods", "training"])
def test_a_base_imports_none_of_its_members(base: str):
    inside = {other for other in imported(MODULES[f"{base}.base"]) if unit(other) == base}
    made_of = {"methods.acceleration", "methods.descent", "methods.inversion", "methods.memory"}  # every method
    assert inside <= made_of


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_import_zinv_is_light():
    heavy = ("torch", "lightning", "numpy", "pandas", "omegaconf", "PIL")
    done = run(f"import sys, zinv; print([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif("[madvise]" not in HUGE_PAGES, reason="a kernel that gives huge pages to all or to none")
@pytest.mark.parametrize("wanted", ["1", "0"])
def test_large_tensors_are_in_huge_pages_unless_told_otherwise(wanted: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    if wanted == "0":
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", wanted)
    done = run("import zinv, torch; x = torch.ones(2**24); print(open('/proc/self/smaps').read())")
    kilobytes = sum(map(int, re.findall(r"^AnonHugePages: +(\d+) kB$", done.stdout, re.MULTILINE)))
    assert (kilobytes > 2**14) is (wanted == "1"), done.stderr  # the tensor has 2**16


@pytest.mark.slow
def test_help_answers_in_half_a_second_and_show_in_little_more_than_lightning_takes():
    """In processor time, and both sides of the ratio one after the other: other programs may run beside."""

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run(code).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    show = "from zinv.cli import main; main(['show', 'generator=toy', 'space=zplus', 'method=bdinvert'])"
    assert min(seconds("from zinv.cli import main; main(['--help'])") for _ in range(3)) < 0.5
    assert min(seconds(show) / seconds("import lightning") for _ in range(3)) <= 1.3
