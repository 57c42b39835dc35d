"""Which device is used: CUDA if it works, else the CPU with a word; MPS on request."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from zinv.errors import ConfigError

GIVEN: Final = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES")
NONE_GIVEN: Final = ("", "-1", "none", "NoDevFiles")
AMD_DRIVER: Final = Path("/dev/kfd")


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver of this machine.

    Attributes:
        cuda: the newest CUDA that it runs, (12, 8).
        num_gpus: those that this process may use.
    """

    cuda: tuple[int, int]
    num_gpus: int


def driver() -> Driver | None:
    """What `libcuda` says, without torch; None where there is no such driver."""
    try:
        libcuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    libcuda.cuDriverGetVersion(ctypes.byref(version))
    if libcuda.cuInit(0) == 0:
        libcuda.cuDeviceGetCount(ctypes.byref(count))
    return Driver((version.value // 1000, version.value % 1000 // 10), count.value)


def given() -> str | None:
    """How SLURM or the user gave this process a GPU, `SLURM_JOB_GPUS=0`; None if they did not."""
    values = {name: os.environ.get(name, "") for name in GIVEN}
    return next((f"{name}={value}" for name, value in values.items() if value not in NONE_GIVEN), None)


def check_given(accelerator: str) -> None:
    """End a job that asked for a GPU and has none; needs no torch, so that it ends in its first second.

    Raises:
        ConfigError: the settings or SLURM say GPU, and no driver sees one.
    """
    asked = _asked(accelerator)
    if asked is None or AMD_DRIVER.exists():
        return
    found = driver()
    if found is None or found.num_gpus == 0:
        raise ConfigError(_refusal(asked, "no NVIDIA driver" if found is None else "the driver sees no GPU"))


Device = Literal["cuda", "cpu", "mps"]


def choose(accelerator: str) -> Device:
    """What `decide` finds; where that is the CPU for want of a GPU, a line says why, once."""
    device, reason = decide(accelerator)
    if reason:
        _say_once(f"device: the CPU ({reason}).")
    return device


def decide(accelerator: str) -> tuple[Device, str]:
    """Lightning's name of the device that `trainer.accelerator` stands for, and why it is not a GPU.

    Args:
        accelerator: cpu; mps; gpu or cuda, which must work; auto, CUDA if a kernel runs there and else the CPU.

    Raises:
        ConfigError: a device was asked for, by this setting or by what SLURM gave, and does not work.
    """
    import torch

    if accelerator == "cpu":
        return "cpu", ""
    if accelerator == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("trainer.accelerator=mps: torch sees no such device here. trainer=cpu runs without one.")
        return "mps", ""
    reason = cuda_failure(local_rank())
    if reason is None:
        return "cuda", ""
    if asked := _asked(accelerator):
        raise ConfigError(_refusal(asked, reason))
    return "cpu", reason


def cuda_failure(device: int = 0) -> str | None:
    """Why a tiny kernel does not run on a GPU; None if it does."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        without = torch.version.cuda is None and torch.version.hip is None
        said = " ".join(str(caught[0].message).split()) if caught else "torch sees no GPU"
        return f"torch {torch.__version__} was built without CUDA" if without else said
    try:
        two = torch.ones(1, device=f"cuda:{device % torch.cuda.device_count()}").add_(1)
        return None if two.item() == 2 else "a kernel gave a wrong result"
    except RuntimeError as error:
        return str(error).partition("\n")[0]


def local_rank() -> int:
    """This process among those of its machine, which is also the GPU that it will use."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def _asked(accelerator: str) -> str | None:
    if accelerator in ("gpu", "cuda"):
        return f"trainer.accelerator={accelerator}"
    return given() if accelerator == "auto" else None


def _refusal(asked: str, reason: str) -> str:
    return f"{asked}: a GPU was asked for, and none works ({reason}). `zinv doctor` says more; trainer=cpu needs none."


@cache
def _say_once(line: str) -> None:
    if local_rank() == 0:
        print(line, file=sys.stderr)
