"""The command line: what it says, what it calls, and how it stops."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from zinv import __version__
from zinv.cli import COMMANDS, main
from zinv.config import expand, experiment_names, find_experiment
from zinv.config.selection import Selection
from zinv.errors import InversionError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the command line calls, in place of the real thing."""
    made: list[tuple[object, ...]] = []
    for module, names in {
        "zinv.run": ("evaluate",),
        "zinv.rescoring": ("score",),
        "zinv.sweep": ("run_experiment",),
        "zinv.tables": ("table",),
        "zinv.train": ("train",),
        "zinv.check": ("check",),
    }.items():
        stub = types.ModuleType(module)
        for name in names:
            setattr(stub, name, lambda *given, name=name: made.append((name, *given)) or 0)
        monkeypatch.setitem(sys.modules, module, stub)
    return made


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("evaluate space=zplus seed=1", ("evaluate", ["space=zplus", "seed=1"], False, False, None)),
        ("evaluate --keep space=zplus --fresh", ("evaluate", ["space=zplus"], True, True, None)),
        ("run demo", ("run_experiment", "demo", [], False, False, False, None, Selection())),
        ("run demo seed=1 --update", ("run_experiment", "demo", ["seed=1"], False, False, True, None, Selection())),
        ("run demo --jobs 3 --keep", ("run_experiment", "demo", [], True, False, False, 3, Selection())),
        (
            "run --grid space=z,w seed=1 --only space=z --shards 2",
            ("run_experiment", None, ["space=z,w", "seed=1"], *[False] * 3, None, Selection(True, ("space=z",), 2)),
        ),
        ("score runs/a protocol=pixel", ("score", "runs/a", ["protocol=pixel"], False)),
        ("table a b", ("table", ["a", "b"], None, "terminal", None, False, None, False, False)),
        (
            "table a --against Z --format latex --output t.tex --update --pivot space",
            ("table", ["a"], "Z", "latex", "t.tex", True, "space", False, False),
        ),
        ("train model=identity --fresh", ("train", ["model=identity"], True)),
        ("check mylab.Z", ("check", "mylab.Z")),
    ],
)
def test_commands_call_their_functions(calls: list[tuple[object, ...]], line: str, call: tuple[object, ...]):
    assert main(line.split()) == 0
    assert calls == [call]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("evaluat", "zinv evaluat: there is no such command. Did you mean 'evaluate'? Choose from: archive, check, "),
        ("--versio", "zinv --versio: there is no such flag. Did you mean '--version'?"),
        ("evaluate --kepp", "zinv evaluate --kepp: no such flag. Did you mean '--keep'? Choose from: --config, "),
        ("evaluate --ke", "zinv evaluate --ke: no such flag. Did you mean '--keep'?"),
        ("run", "name an experiment (zinv list experiments), or give a grid: --grid space=z,zplus seed=0,1."),
        ("run demo --jobs 0", "--jobs 0: not an int of 1 or more."),
        ("run demo --jobs two", "--jobs two: not an int of 1 or more."),
        ("list space z", "zinv list z: one argument too many."),
        ("list spaces", "zinv list spaces: there is no such group. Did you mean 'space'?"),
        ("table a --format pdf", "zinv table: argument --format: invalid choice: 'pdf'"),
        ("table a --against", "zinv table: argument --against: expected one argument."),
        ("show space=zplu", "space=zplu: there is no such preset. Did you mean 'zplus'? Choose from: "),
        ("show space=Generator", "space=Generator: it is not a LatentSpace."),
        ("show nowhere", "nowhere: neither a configuration nor a run folder (it has no config.yaml)."),
        ("evaluate --dry-run generator=toy seed=x", "seed=x: not an int."),
        ("run nothing --dry-run", "nothing: there is no such experiment."),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], line: str, expected: str):
    assert error(capsys, *line.split()).startswith(expected)


def test_an_error_of_the_run_is_one_line(capsys, calls, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> int:
        raise InversionError("first\n  second")

    monkeypatch.setattr(sys.modules["zinv.run"], "evaluate", fail)
    assert error(capsys, "evaluate") == "first second"


@pytest.mark.parametrize("as_lightning_does", [False, True])
def test_ctrl_c_says_how_to_go_on(capsys, calls, monkeypatch: pytest.MonkeyPatch, as_lightning_does: bool):
    def stop(*_: object) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if not as_lightning_does:
                raise
            sys.exit(1)

    monkeypatch.setattr(sys.modules["zinv.run"], "evaluate", stop)
    assert main(["evaluate", "name=two words"]) == 130
    assert "Every finished image is kept" in (said := capsys.readouterr().err)
    assert said.strip().endswith("zinv evaluate 'name=two words'")


def test_other_exits_pass_through(calls, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["zinv.run"], "evaluate", lambda *_: sys.exit(3))
    with pytest.raises(SystemExit, match="3"):
        main(["evaluate"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys: pytest.CaptureFixture[str], arguments: list[str]):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_and_an_example_that_parses(capsys, calls, name: str):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert COMMANDS[name].example in " ".join(capsys.readouterr().out.split())
    assert COMMANDS[name].example.startswith(f"zinv {name} ")


def test_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zinv {__version__}\n"


def test_list_names_presets_and_what_they_are(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    (empty_folder / "configs" / "space").mkdir(parents=True)
    (empty_folder / "configs" / "space" / "mine.yaml").write_text("# My own.\n_target_: mylab.Mine\n")
    assert main(["list", "space"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("space:\n")
    assert "\n  zplus " in printed
    assert "My own." in printed


def test_list_all_has_every_group(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    assert {"generator:", "space:", "term:", "experiments:"} <= set(capsys.readouterr().out.split("\n"))


def test_show_prints_what_a_run_would_be_and_its_folder(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    assert main(["show", "generator=toy", "space=zplus", "method=optimize"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# run folder: runs/optimize-zplus-toy/")
    assert "\nspace:\n  _name_: zplus\n  _target_: zinv.spaces.z.ZPlus\n" in printed
    (empty_folder / "config.yaml").write_text(printed)
    assert main(["show", "."]) == 0
    assert capsys.readouterr().out == printed.partition("\n")[2]


def test_show_without_the_weights_says_so(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    assert main(["show", "generator=file", "generator.path=nowhere", "data=toy", "loss=pixel"]) == 0
    assert "# run folder: not known yet (nowhere: no such weight file." in capsys.readouterr().out


def test_a_dry_run_prints_each_run_of_an_experiment(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    folder = empty_folder / "experiments" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text("base: {generator: toy}\ngrid: {space: [z, w]}")
    assert main(["run", "mine", "--dry-run", "seed=1"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("runs/optimize-z-toy/")
    assert second.endswith(": zinv evaluate generator=toy space=w seed=1")


def test_a_dry_run_says_once_what_is_missing(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    folder = empty_folder / "experiments" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        """
base: {generator: file, generator.path: mine/net, data: toy, loss: pixel, protocol: pixel}
rows: [{space: z}, {space: w}, {space: pn, space.statistics: nowhere}]
needs:
  - {file: mine/net, command: train model=generator}
  - {file: mine/code, command: train model=base_code}
"""
    )
    assert main(["run", "mine", "--dry-run"]) == 0
    first, second, third, *rows = capsys.readouterr().out.splitlines()
    assert first == "missing: mine/net; `zinv train model=generator` makes it"
    assert second == "missing: mine/code; `zinv train model=base_code` makes it"
    assert third.startswith("runs/optimize-z-file/not known yet: zinv evaluate generator=file")
    assert len(rows) == 2


def test_a_dry_run_says_once_what_no_command_makes(capsys: pytest.CaptureFixture[str], empty_folder: Path):
    folder = empty_folder / "experiments" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        "base: {generator: file, generator.path: mine/net, data: toy, loss: pixel}\ngrid: {seed: [0, 1]}"
    )
    assert main(["run", "mine", "--dry-run"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("missing: mine/net: no such weight file. Looked in ")
    assert len(rows) == 2


def test_help_and_listing_import_neither_torch_nor_lightning():
    code = (
        "import sys; from zinv.cli import main; main(['--help']); main(['list']); main(['show', 'space=zplu']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'numpy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_python_m_zinv_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "zinv", "evaluat"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: zinv evaluat: there is no such command.")


@pytest.mark.parametrize("name", experiment_names())
def test_the_dry_run_of_every_experiment_shows_its_runs(name: str, capsys: pytest.CaptureFixture[str]):
    pictures = [] if find_experiment(name).base.get("data") == "portraits" else ["data.path=PHOTOS"]
    assert main(["run", name, "--dry-run", *pictures]) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if ": zinv evaluate " in line]
    assert len({*shown}) == len(shown) >= len(expand(find_experiment(name)))
