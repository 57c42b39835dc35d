"""Processes side by side: each has a GPU of its own where there are several."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from zinv import workers


@pytest.mark.parametrize(
    ("visible", "given"),
    [("4,7", ["4", "7", "4"]), ("GPU-a,GPU-b,GPU-c", ["GPU-a", "GPU-b", "GPU-c"]), ("3", [None] * 3)],
)
def test_processes_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch, visible: str, given: list[str | None]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [workers._gpu_of(place) for place in range(3)] == given


def test_without_a_word_all_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [workers._gpu_of(place) for place in range(3)] == ["0", "1", "0"]


class Pipe:
    """The end of a pipe with one task in it."""

    def __init__(self) -> None:
        self.tasks, self.sent = [None], list[workers.Outcome]()

    def recv(self) -> None:
        if not self.tasks:
            raise EOFError
        return self.tasks.pop()

    def send(self, outcome: workers.Outcome) -> None:
        self.sent.append(outcome)


def test_a_process_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(workers, "_end_with_parent", threading.Event().set)
    pipe = Pipe()
    workers._serve(pipe, lambda _: int(os.environ["CUDA_VISIBLE_DEVICES"]), torch.get_num_threads(), "7")  # type: ignore[arg-type]
    assert [outcome.status for outcome in pipe.sent] == [7]
