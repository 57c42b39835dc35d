"""Batches by memory: what a step keeps, how many images fit, and what happens where more do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zinv.data.sampler import Batch
from zinv.errors import ConfigError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods import fitting
from zinv.methods.bdinvert import BDInvert
from zinv.methods.fitting import images_that_fit, kept_bytes
from zinv.methods.inversion import Inversion
from zinv.methods.memory import out_of_memory
from zinv.seeding import Rngs
from zinv.spaces.z import ZPlus

TARGET = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
IDS = ["a", "b", "c", "d", "e"]


def bdinvert(num_steps: int = 3, resolution: int = 16) -> BDInvert:
    return BDInvert(toy_stylegan2(resolution=resolution), ZPlus(), Loss({"mse": 1.0}), num_steps=num_steps)


def test_what_is_kept_grows_with_images_and_not_with_steps():
    method = bdinvert()
    one, four = kept_bytes(method, TARGET[:1]), kept_bytes(method, TARGET[:4])
    assert 3.5 * one < four < 4.5 * one
    assert kept_bytes(bdinvert(100), TARGET[:1]) == one
    wide = torch.zeros(1, 3, 32, 32)
    assert kept_bytes(bdinvert(resolution=32), wide) > 2.5 * one


def test_as_many_as_memory_holds(monkeypatch: pytest.MonkeyPatch):
    method = bdinvert()
    one = 2 * kept_bytes(method, TARGET[:1])
    for free, num in ((0.5 * one, 1), (3.4 * one, 3), (1e6 * one, 32)):
        monkeypatch.setattr(fitting, "free_memory", lambda device, free=free: free)
        assert images_that_fit(method, TARGET[:1]) == num


class Small(BDInvert):
    """Room for two images at a time."""

    room = 2

    def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
        self.sizes = [*getattr(self, "sizes", []), len(target)]
        if len(target) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().invert(target, rngs, start)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]):
    batch = Batch(IDS, TARGET, {}, {})
    small = Small(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=3)
    found, whole = small.predict_step(batch, 0), bdinvert().predict_step(batch, 0)
    assert found is not None and whole is not None
    assert small.sizes == [5, 3, 2, 1, 2]
    torch.testing.assert_close(found.code, whole.code)
    torch.testing.assert_close(found.losses["total"], whole.losses["total"])
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "5 images at a time take more memory than there is; 3 from now on.",
        "3 images at a time take more memory than there is; 2 from now on.",
    ]
    small.sizes = []
    small.predict_step(batch, 1)
    assert small.sizes == [2, 2, 1]  # it does not try again


def test_one_image_that_does_not_fit_is_one_line():
    small = Small(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=3)
    small.room = 0
    with pytest.raises(ConfigError, match=r"^data\.batch_size=1: one image takes more memory than there is \(CUDA out"):
        small.predict_step(Batch(IDS[:2], TARGET[:2], {}, {}), 0)


@pytest.mark.parametrize(
    ("words", "memory"),
    [
        ("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried", True),
        ("CUDA error: out of memory\nCompile with", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("MPS backend out of memory (MPS allocated: 9.05 GB)", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_what_says_that_memory_ran_out(words: str, memory: bool):
    assert out_of_memory(RuntimeError(words)) == memory


def test_other_errors_are_not_taken_for_it():
    class Wrong(BDInvert):
        def invert(self, target: Tensor, rngs: Rngs, start: Inversion | None = None) -> Inversion:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Wrong(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0})).predict_step(Batch(IDS, TARGET, {}, {}), 0)


def test_parts_of_a_batch_keep_facts_and_notes():
    parts = [
        Inversion(torch.zeros(2, 4), facts={"share": torch.tensor([0.1, 0.2])}, notes={1: "b"}),
        Inversion(torch.zeros(1, 4), facts={"share": torch.tensor([0.3])}, notes={0: "c"}),
    ]
    joined = Inversion.together(parts)
    assert joined.facts["share"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert joined.notes == {1: "b", 2: "c"}


def test_auto_on_the_command_line(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    cell = "evaluate generator=toy method=optimize space=wplus method.num_steps=2 trainer=cpu"
    assert cli(f"{cell} runs=one").status == 0
    said = cli(f"{cell} runs=auto data.batch_size=auto")
    assert said.status == 0
    assert "data.batch_size=auto: up to 32 images at a time." in said.err
    (one,), (auto,) = (list(Path(folder).glob("*/*")) for folder in ("one", "auto"))
    assert one.name == auto.name  # it names no run
    assert cli(f"{cell} data.batch_size=many").err.startswith("error: data.batch_size=many: ")
