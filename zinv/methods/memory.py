"""Memory: how much is free, and what an error says of it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import torch

WORDS: Final = ("can't allocate memory", "out of memory", "_STATUS_ALLOC_FAILED")
"""Of the computer's allocator, of CUDA's and Metal's, of cuBLAS and cuDNN."""


def free_memory(device: torch.device) -> float:
    """Bytes: 80 % of what is free on a GPU, half of what is free in a computer's memory."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return 0.8 * (torch.cuda.mem_get_info(device)[0] + unused)
    memory = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", memory.read_text()) if memory.is_file() else None
    return 0.5 * (1024 * int(found[1]) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether that is what an error says, of a GPU or of the computer."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in WORDS)


def free_cache(device: torch.device) -> None:
    """Give back what a GPU's allocator keeps."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
