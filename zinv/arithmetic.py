"""The arithmetic of a descent's heavy parts, synthesis and the networks of losses. All else is float32, always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

from zinv.errors import ConfigError

Precision = Literal["float32", "tf32", "bfloat16"]

_chosen: ContextVar[Precision] = ContextVar("precision", default="float32")


@contextmanager
def precision(chosen: Precision) -> Iterator[None]:
    """Inside, `heavy` parts compute so, forward and backward.

    >>> from zinv.generators.toy import toy_stylegan2
    >>> g = toy_stylegan2()
    >>> styles = g.affine(g.w_avg.repeat(1, g.num_ws, 1))
    >>> with precision("bfloat16"):
    ...     image = g.synthesis(styles)
    >>> image.dtype, bool((image - g.synthesis(styles)).abs().max() < 0.1)
    (torch.float32, True)
    """
    token, before = _chosen.set(chosen), (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("high" if chosen == "tf32" else before[0])
    torch.backends.cudnn.allow_tf32 = chosen == "tf32" or before[1]
    try:
        yield
    finally:
        _chosen.reset(token)
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def heavy(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 if that was chosen; TF32 needs nothing but its switches."""
    if _chosen.get() != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def full(x: Tensor) -> Tensor:
    """At least float32: what heavy parts give is summed and compared so."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_precision(chosen: Precision, device: torch.device) -> None:
    """Raise ConfigError if a device has no such arithmetic."""
    if chosen == "tf32" and device.type != "cuda":
        raise ConfigError(f"trainer.precision=tf32: a {device.type} device has none. Take float32 or bfloat16.")
