"""What the documents show: it runs, it resolves, and it is where they say."""

from __future__ import annotations

import csv
import doctest
import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from zinv.check import _split
from zinv.cli import COMMANDS, _parse, main
from zinv.commands.rows import selection_of
from zinv.config import TRAIN_GROUPS, build, compose, experiment_names, find_experiment
from zinv.config.selection import select
from zinv.draw import KINDS
from zinv.figures.picks import parse
from zinv.generators.checkpoints.write import SUFFIXES, WRITERS
from zinv.listing import show_presets
from zinv.presets import preset_names
from zinv.published import PUBLISHED

CHECKOUT = Path(__file__).parents[1]
EXAMPLES = CHECKOUT / "docs" / "examples" / "mylab"
EXPERIMENTS = sorted(path.parent for path in (CHECKOUT / "experiments").glob("*/experiment.yaml"))
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
    *(folder / "README.md" for folder in EXPERIMENTS),
]
HEADINGS = ["Claim", "Command", "Hardware and hours", "Expected numbers", "Departures from the paper"]
PLACEHOLDERS = re.compile(r"…|NAME|<")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def page_name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder as docs/extending.md has it at its end."""
    preset, experiment = blocks(CHECKOUT / "docs" / "extending.md", "yaml")
    for path, text in {"configs/space/zr3.yaml": preset, "experiments/radius/experiment.yaml": experiment}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    shutil.copytree(EXAMPLES, tmp_path / "mylab", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_mylab()
    yield tmp_path
    forget_mylab()


def forget_mylab() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


@pytest.mark.parametrize("part", ["mylab.zradius.ZRadius", "mylab.losses.Edges"])
def test_the_examples_keep_their_contracts(lab: Path, capsys: pytest.CaptureFixture[str], part: str):
    assert main(["check", part]) == 0
    assert "every promise is kept" in capsys.readouterr().out


def test_the_examples_run(lab: Path, capsys: pytest.CaptureFixture[str]):
    parts = ["space=mylab.zradius.ZRadius", "loss.terms.mylab.losses.Edges=.1"]
    assert main(["evaluate", "generator=toy", *parts, "method.num_steps=3"]) == 0
    assert "Z(r)" in capsys.readouterr().out
    (records,) = lab.glob("runs/optimize-zradius-toy/*/records.csv")
    assert "loss_Edges" in records.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["mylab.zradius", "mylab.losses"])
def test_the_examples_doctests(lab: Path, module: str):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_excerpts_are_lines_of_the_examples():
    source = "".join(path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")).splitlines()
    for block in blocks(CHECKOUT / "docs" / "extending.md", "python"):
        lines = [line.partition("  #")[0].rstrip().removesuffix(" ...") for line in block.splitlines()]
        assert [line for line in lines if line and line.strip() != "..." and line not in source] == []


def run_python(page: Path) -> None:
    text = "\n".join(block for block in blocks(page, "python") if ">>>" in block)
    assert text
    example = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example).failed == 0


def test_the_readmes_python_runs(lab: Path):
    assert main(["evaluate", "generator=toy", "space=zplus", "method.num_steps=3"]) == 0
    run_python(CHECKOUT / "README.md")


def commands(page: Path) -> Iterator[str]:
    """Every `zinv …` of a page's shell blocks and, with arguments, its code spans; batch jobs unwrapped."""
    lines = [line.partition(" #")[0] for block in blocks(page, "bash") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for text in (*lines, *re.findall(r"`(zinv [^` ]+ [^`]+)`", prose)):
        wrapped = re.findall(r'--wrap "([^"]+)"', text)
        yield from (part.strip() for part in (wrapped or text.split("&&")) if part.strip().startswith("zinv "))


SHOWN = {line: page for page in reversed(PAGES) for line in commands(page) if not PLACEHOLDERS.search(line)}


@pytest.mark.parametrize("line", SHOWN, ids=[f"{page_name(page)}: {line}" for line, page in SHOWN.items()])
def test_commands_resolve(lab: Path, line: str):
    _, command, *words = shlex.split(line)
    given = _parse(command, COMMANDS[command], words)
    if command in ("evaluate", "show"):
        compose(given.overrides)
    elif command == "score":
        compose([*given.overrides, "generator=toy"])
    elif command == "train":
        compose(given.overrides, {"trainer": "fit"}, TRAIN_GROUPS)
    elif command in ("run", "submit"):
        name, overrides, selection = selection_of(given)
        own = [text for text in overrides if text.startswith(("cluster=", "cluster."))]
        compose(own, groups=("cluster",))
        for row in select(name, [text for text in overrides if text not in own], selection).rows:
            compose(row)
    elif command == "list":
        show_presets(given.group)
    elif command == "check":
        _split(given.part)
    elif command == "doctor":
        compose(given.overrides, groups=("trainer", "logger"))
    elif command == "weights":
        action, *names = given.words or ["list"]
        assert action in ("list", "fetch", "bundle", "unbundle")
        assert {*names} <= {*PUBLISHED} or action in ("bundle", "unbundle")
        for name in [vars(given)["for"], *(names if action == "bundle" else [])]:
            assert name is None or find_experiment(name)
    elif command == "convert":
        assert given.format in (None, *WRITERS) and Path(given.target).suffix in SUFFIXES
    elif command in ("status", "retry", "archive"):
        assert find_experiment(given.name)
    elif command == "figure":
        assert {word for word in given.words if "=" not in word} <= {*KINDS, *experiment_names()}
        assert parse(given.pick or "first:1")
    else:
        assert command in ("table", "logs", "sync", "clean", "reproduce", "diff", "interpolate")


def test_documents_show_every_command():
    assert {shlex.split(line)[1] for line in SHOWN} == set(COMMANDS)


def without_variants(names: Sequence[str]) -> set[str]:
    """Presets that are not called after another one, as `z_released` and `optimize_cosine` are."""
    return {name for name in names if name.rpartition("_")[0] not in names}


def test_the_table_of_methods_and_spaces_has_the_labels_that_tables_print():
    rows = re.findall(r"^\|(.*)\|$", (CHECKOUT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in row.split("|")] for row in rows]
    start = next(i for i, row in enumerate(cells) if row[0] == "method=")
    spaces = [name.removeprefix("space=") for name in cells[start][1:]]
    methods = {row[0]: row[1:] for row in cells[start + 2 :] if len(row) == len(cells[start])}
    assert set(spaces) == without_variants(preset_names("space"))
    assert set(methods) == without_variants(preset_names("method"))
    for method, labels in methods.items():
        for space, label in zip(spaces, labels, strict=True):
            config = compose([f"method={method}", f"space={space}", "generator=toy"])
            parts = {group: build(config, group) for group in ("generator", "space", "loss")}
            assert build(config, "method", **parts).label == label


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_an_experiments_readme_has_its_headings(folder: Path):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {folder.name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize(
    ("page", "name"),
    [("README.md", "demo"), *[(f"experiments/{name}/README.md", name) for name in ("demo", "demo_full", "table1")]],
)
def test_printed_tables_are_the_committed_results(page: str, name: str):
    committed = CHECKOUT / "experiments" / name / "results.csv"
    if not committed.is_file():
        pytest.skip(f"{name} has no results.csv yet")
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    table = text.partition(f"<!-- {name} table -->")[2].partition(f"<!-- /{name} table -->")[0]
    lines = [line for line in committed.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    means = {row["row"]: f"{float(row['mean']):.5f}" for row in csv.DictReader(lines) if row["metric"] == "mse"}
    assert {label: mean for label, mean in means.items() if mean not in table} == {}


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path):
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            missing.append(link)
    assert [link for link in missing if not link.endswith(".png")] == []
    if missing:
        pytest.skip(f"not drawn yet: {', '.join(missing)}")
