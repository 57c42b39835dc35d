"""The memory of a process, since it was last asked to forget."""

from __future__ import annotations

import sys

import pytest
import torch

from zinv.ranks import forget_peak, peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot forget its peak")
def test_the_peak_is_that_of_one_run_and_not_of_those_before_it():
    forget_peak(CPU)
    before = peak_memory(CPU)
    large = torch.ones(200 * 2**20, dtype=torch.uint8)
    assert peak_memory(CPU) - before > 190 * 2**20
    del large
    assert peak_memory(CPU) - before > 190 * 2**20
    forget_peak(CPU)
    assert peak_memory(CPU) - before < 100 * 2**20
