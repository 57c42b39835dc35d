"""Hostile checkpoints: none runs, each ends in one line that says what and where, in bounded time and memory."""

from __future__ import annotations

import codecs
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import torch

from tests.unpickle.assembler import MODULE
from tests.unpickle.hostile import cases
from tests.unpickle.samples import samples
from zinv.errors import CheckpointError
from zinv.unpickle import PERSISTENT, Plain, Stub, load

CHECKOUT = Path(__file__).parents[2]
CORPUS = list(cases())
SAMPLES = samples()
SECONDS = 5.0
MEBIBYTES = 128
WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "shutil.", "socket.", "ctypes.", "pickle.", "marshal.")
CLASSES = {(PERSISTENT, "*"), ("dnnlib.tflib.network", "Network")}

for _codec in ("raw-unicode-escape", "latin1"):  # Python imports its own codecs at their first use
    codecs.getincrementaldecoder(_codec)


class Watch:
    """What Python reports while it is on: imports, executions, commands, files opened for writing."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[str] = []
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.on and (event.startswith(WATCHED) or (event == "open" and args[1] not in ("r", "rb", None))):
            self.events.append(f"{event} {args}"[:200])


WATCH = Watch()


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Works in an empty folder, where whatever runs leaves a canary or an event."""
    (tmp_path / f"{MODULE}.py").write_text("open('canary', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    events, WATCH.events, WATCH.on = WATCH.events, [], False
    assert events == []
    assert not (tmp_path / "canary").exists()
    assert MODULE not in sys.modules


def outcome(content: bytes, classes: Collection[tuple[str, str]] = ()) -> Plain | CheckpointError:
    Path("file.pkl").write_bytes(content)
    start, WATCH.on = time.process_time(), True
    try:
        return load("file.pkl", classes)
    except CheckpointError as error:
        return error
    finally:
        WATCH.on = False
        assert time.process_time() - start < SECONDS


def harmless(value: object, classes: Collection[str] = ("argparse",)) -> bool:
    """Whether it is built-in data, tensors, and stubs of the allowed modules alone."""
    if isinstance(value, Stub):
        return value.module in classes and harmless(value.state, classes) and harmless(value.args, classes)
    if type(value) in (dict, list, tuple):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return all(harmless(part, classes) for part in parts)
    return value is None or type(value) in (bool, int, float, str, bytes, torch.Tensor)


def test_the_trap_springs(tmp_path: Path):
    WATCH.on = True
    os.system("true")
    (tmp_path / "written").write_text("")
    WATCH.on = False
    events, WATCH.events = WATCH.events, []
    assert [event.partition(" ")[0] for event in events] == ["os.system", "open"]


def test_pythons_own_unpickler_would_have_run_them(tmp_path: Path):
    found = [case for case in CORPUS if case.name.startswith("os.system by")]
    ran = set()
    for case in found:
        (tmp_path / "file.pkl").write_bytes(case.content)
        code = "import pickle; pickle.load(open('file.pkl', 'rb'))"
        subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, check=False)
        if (tmp_path / "canary").exists():
            ran.add(case.name.removeprefix("os.system by "))
            (tmp_path / "canary").unlink()
    assert ran >= {"REDUCE", "REDUCE by STACK_GLOBAL", "REDUCE by the memo", "INST", "OBJ", "REDUCE and forgotten"}


@pytest.mark.parametrize("kind", sorted({case.kind for case in CORPUS}))
def test_hostile_files(kind: str):
    for case in (case for case in CORPUS if case.kind == kind):
        found = outcome(case.content)
        if case.message is None:
            assert harmless(found), case.name
        else:
            assert isinstance(found, CheckpointError), f"{case.name}: {type(found)}"
            assert re.search(case.message, str(found)), f"{case.name}: {found}"
            assert str(found).startswith("file.pkl: "), case.name
            assert str(found).isprintable(), case.name


def test_hostile_files_with_every_class_that_readers_ask_for():
    for case in (case for case in CORPUS if case.kind != "call"):
        found = outcome(case.content, CLASSES)
        assert isinstance(found, CheckpointError) or harmless(found, ("argparse", PERSISTENT)), case.name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_ends_early(name: str):
    content = SAMPLES[name]
    assert harmless(outcome(content, CLASSES), ("argparse", PERSISTENT, "dnnlib.tflib.network"))
    for size in range(0, len(content), 37):
        assert isinstance(outcome(content[:size], CLASSES), CheckpointError), size


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_with_another_bit(name: str):
    rng = random.Random(name)
    for _ in range(60):
        content = bytearray(SAMPLES[name])
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        found = outcome(bytes(content), CLASSES)
        assert isinstance(found, CheckpointError) or harmless(found, ("argparse", PERSISTENT, "dnnlib.tflib.network"))


BOUNDED = """
import json, pathlib, resource, sys
from zinv.errors import CheckpointError
from zinv.unpickle import load
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (int(sys.argv[2]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
refused = 0
for file in files:
    try:
        load(file)
    except CheckpointError:
        refused += 1
print(json.dumps([len(files), refused]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_memory_is_bounded(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    chosen = [case for case in CORPUS if case.kind not in ("call", "call in a container")]
    for i, case in enumerate(chosen):
        (tmp_path / "corpus" / f"{i}.pkl").write_bytes(case.content)
    command = [sys.executable, "-c", BOUNDED, tmp_path / "corpus", str(MEBIBYTES)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    assert json.loads(done.stdout) == [len(chosen), sum(case.message is not None for case in chosen)]
