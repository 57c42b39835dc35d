"""What one step of a descent costs, part by part: operations, bytes and seconds, against what the machine can do.

`step.py` prints it. Operations are multiplications and additions of convolutions and matrix products; bytes are what
every operator of torch reads and writes, each by itself, so that fusing two of them lowers the figure.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zinv.arithmetic import Precision, precision
from zinv.methods.bdinvert import BDInvert

CONV, CONV_BACK = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
PRODUCTS = {torch.ops.aten.mm.default: 0, torch.ops.aten.bmm.default: 0, torch.ops.aten.addmm.default: 1}
"""Operators and the place of the first factor among their arguments."""


def conv_operations(x: Sequence[int], weight: Sequence[int], out: Sequence[int], transposed: bool) -> int:
    """Of one convolution; each pixel of the side that the kernel is laid on meets the whole kernel."""
    return 2 * (x[0] * math.prod(x[2:]) if transposed else out[0] * math.prod(out[2:])) * math.prod(weight)


class Counter(TorchDispatchMode):
    """Counts operations and bytes of what runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        if func in PRODUCTS:
            a, b = args[PRODUCTS[func] :][:2]
            self.operations += 2 * a.numel() * b.shape[-1]
        elif func == CONV:
            self.operations += conv_operations(args[0].shape, args[1].shape, out.shape, args[6])
        elif func == CONV_BACK:
            grad, x, weight = args[:3]
            self.operations += sum(args[-1][:2]) * conv_operations(x.shape, weight.shape, grad.shape, args[7])
        return out


@dataclass
class Cost:
    """One direction of one part."""

    operations: int = 0
    bytes: int = 0
    times: list[float] = field(default_factory=list)

    def table(self) -> dict[str, float]:
        """As it is printed."""
        return {
            "operations": self.operations,
            "bytes": self.bytes,
            "seconds": round(statistics.median(self.times), 6),
        }


Part = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def parts(method: BDInvert, target: Tensor, term: str) -> dict[str, Part]:
    """The parts of a step of BDInvert; each takes what the one before gives, and the base code last.

    Args:
        method: with the loss terms `mse` and `term`.
        target: `(N, 3, R, R)`.
        term: whose network is the perceptual one.
    """
    above, space, prepared = method.above, method.space, method.loss.prepare(target)
    perceptual = method.loss.parts()[term]

    def mapping(given: Sequence[Tensor]) -> Sequence[Tensor]:
        ws = space.to_ws(above, given[0])
        assert ws is not None
        return ws, given[-1]

    return {
        "mapping": mapping,
        "affine": lambda given: (*above.affine(given[0]), given[-1]),
        "synthesis": lambda given: (above.synthesis(tuple(given[:-1]), base=(method.point, given[-1])),),
        "perceptual network": lambda given: (perceptual(given[0], given[0], prepared[term]),),
    }


def account(
    chain: dict[str, Part],
    first: Sequence[Tensor],
    rounds: int,
    inside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, dict[str, dict[str, float]]]:
    """Operations, bytes and median seconds of each part, forward and backward.

    Args:
        chain: the parts.
        first: what the first of them takes.
        rounds: of the clock; counted once.
        inside: the arithmetic to compute in.
    """
    costs = {name: (Cost(), Cost()) for name in chain}
    for i in range(rounds + 1):
        given = [x.detach() for x in first]
        for name, part in chain.items():
            given = [x.requires_grad_(True) for x in given]
            with inside():
                found = _measured(lambda part=part, given=given: part(given), costs[name][0], count=i == 0)
                _measured(lambda found=found, given=given: _backward(found, given), costs[name][1], count=i == 0)
            given = [x.detach() for x in found]
    return {name: {"forward": a.table(), "backward": b.table()} for name, (a, b) in costs.items()}


def _backward(found: Sequence[Tensor], given: Sequence[Tensor]) -> Sequence[Tensor]:
    moved = [x for x in found if x.grad_fn is not None]
    gradients = torch.autograd.grad(moved, given, [torch.ones_like(x) for x in moved], allow_unused=True)
    return [x for x in gradients if x is not None]


def _measured(run: Callable[[], Sequence[Tensor]], cost: Cost, count: bool) -> Sequence[Tensor]:
    if count:
        with Counter() as counter:
            found = run()
        cost.operations, cost.bytes = counter.operations, counter.bytes
        return found
    started = time.perf_counter()
    found = run()
    _wait(found[0].device)
    cost.times.append(time.perf_counter() - started)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device, seconds: float = 0.5) -> dict[str, dict[str, float]]:
    """What the machine does at best, a second: operations of a product and of a convolution, and bytes copied."""
    side = 2048 if device.type == "cpu" else 8192
    found: dict[str, dict[str, float]] = {}
    kinds: list[tuple[Precision, torch.dtype]] = [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
    if device.type == "cuda":
        kinds.append(("tf32", torch.float32))
    for name, dtype in kinds:
        a = torch.randn(side, side, device=device).to(dtype)
        x = torch.randn(8, 256, 64, 64, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(256, 256, 3, 3, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        with precision(name):
            found[name] = {
                "product": _rate(lambda a=a: a @ a, 2 * side**3, seconds, device),
                "convolution": _rate(
                    lambda x=x, w=w: F.conv2d(x, w, padding=1),
                    conv_operations(x.shape, w.shape, x.shape, False),
                    seconds,
                    device,
                ),
            }
    long = torch.empty(2**26, device=device)
    found["memory"] = {"bytes": _rate(long.clone, 2 * long.numel() * 4, seconds, device)}
    return found


def _rate(run: Callable[[], Tensor], amount: float, seconds: float, device: torch.device) -> float:
    """The best amount a second of several runs."""
    run()
    best, ends = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return round(amount / best, -6)


def total(table: dict[str, dict[str, dict[str, float]]], key: str) -> float:
    """Of all parts and both directions."""
    return sum(cost[key] for directions in table.values() for cost in directions.values())


def lines(table: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """The account as text."""
    head = f"{'part':20}{'':10}{'GFLOP':>10}{'MB':>10}{'ms':>10}{'GFLOP/s':>10}"
    rows = [
        f"{name:20}{way:10}{c['operations'] / 1e9:10.2f}{c['bytes'] / 1e6:10.1f}{c['seconds'] * 1e3:10.1f}"
        f"{c['operations'] / max(c['seconds'], 1e-9) / 1e9:10.1f}"
        for name, directions in table.items()
        for way, c in directions.items()
    ]
    return [head, *rows]
