"""Results are written while the next batch is inverted, and before anything else when a run ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zinv.errors import StoreError
from zinv.evaluation.store import Run
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.run import evaluate

LINE = ["generator=toy", "data=toy", "method=optimize", "space=z", "method.num_steps=1", "trainer=cpu", "data.num=3"]
Step = Callable[[Inverter, Any, int], Inversion | None]
finish, predict_step = Run.finish, Inverter.predict_step


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def finished() -> list[str]:
    return sorted(path.parent.name for path in Path("runs").glob("*/*/images/[!.]*/result.json"))


def test_a_batch_is_inverted_while_the_one_before_is_written(monkeypatch: pytest.MonkeyPatch):
    """The first image is stored only once the second batch is there: without a thread this would wait for ever."""
    second = threading.Event()

    def step(self: Inverter, batch: Any, index: int) -> Inversion | None:
        if index == 1:
            second.set()
        return predict_step(self, batch, index)

    def slow(self: Run, *args: Any, **kwargs: Any) -> bool:
        assert second.wait(60)
        return finish(self, *args, **kwargs)

    monkeypatch.setattr(Inverter, "predict_step", step)
    monkeypatch.setattr(Run, "finish", slow)
    assert evaluate(LINE) == 0
    assert len(finished()) == 3


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_what_was_inverted_is_written_when_a_run_ends_early(monkeypatch: pytest.MonkeyPatch, error: BaseException):
    ended = threading.Event()

    def step(self: Inverter, batch: Any, index: int) -> Inversion | None:
        if index == 2:
            ended.set()
            raise error
        return predict_step(self, batch, index)

    def slow(self: Run, name: str, *args: Any, **kwargs: Any) -> bool:
        if name == "toy-00001":
            assert ended.wait(60)
        return finish(self, name, *args, **kwargs)

    monkeypatch.setattr(Inverter, "predict_step", step)
    monkeypatch.setattr(Run, "finish", slow)
    with pytest.raises((ValueError, KeyboardInterrupt, SystemExit)):
        evaluate(LINE)
    assert finished() == ["toy-00000", "toy-00001"]


@pytest.mark.parametrize("last", [False, True])
def test_a_result_that_cannot_be_written_ends_the_run(monkeypatch: pytest.MonkeyPatch, last: bool):
    def fails(self: Run, name: str, *args: Any, **kwargs: Any) -> bool:
        if (name == "toy-00002") == last:
            raise StoreError("no space")
        return finish(self, name, *args, **kwargs)

    monkeypatch.setattr(Run, "finish", fails)
    with pytest.raises(StoreError, match="no space"):
        evaluate(LINE)
    assert finished() == (["toy-00000", "toy-00001"] if last else [])
