"""Pivotal tuning of several images at once against one at a time: are the losses the same, and is it faster?

    python benchmarks/pti.py --batch 4 --steps 20

On the shipped portraits' generator or the toy; both ways start from the same pivots and take turns. Each image's loss
before each step is held against that of the image alone, and a larger difference than `--tolerance` makes the exit
status 1. README.md beside this file says what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from zinv.config import build, compose  # noqa: E402
from zinv.methods.inversion import Inversion  # noqa: E402
from zinv.methods.pti import PTI  # noqa: E402
from zinv.seeding import image_rngs  # noqa: E402


def method(given: argparse.Namespace, at_once: int) -> PTI:
    """PTI as its preset has it, from a pivot that is given."""
    overrides = [f"generator={given.generator}", f"space={given.space}", "method=pti", "method.pivot_steps=0"]
    overrides += [f"method.num_steps={given.steps}", f"method.images_at_once={at_once}"]
    config = compose(overrides)
    parts = {group: build(config, group) for group in ("generator", "space", "loss")}
    built: PTI = build(config, "method", **parts).to(given.device)
    built.trace_every = 1
    return built


def targets(given: argparse.Namespace) -> Tensor:
    """As many held-out pictures of the generator's domain."""
    data = build(compose([f"generator={given.generator}", f"data.num={given.batch}"]), "data")
    return torch.stack([data.image(i) for i in range(given.batch)]).to(given.device)


def tuned(built: PTI, target: Tensor) -> tuple[Tensor, float, float]:
    """The loss `(steps, N)` before each step, wall seconds, and seconds of the processor."""
    ids = [f"image {i}" for i in range(len(target))]
    pivot = Inversion(built.space.initial(built.generator, image_rngs(0, ids)))
    began, worked = time.perf_counter(), time.process_time()
    trace = built.invert(target, image_rngs(0, ids), pivot).trace
    if target.device.type == "cuda":
        torch.cuda.synchronize()
    assert trace is not None
    weights = {**built.loss.weights, "locality": built.locality}
    total = torch.stack([weight * trace[name] for name, weight in weights.items() if name in trace]).sum(0)
    return total, time.perf_counter() - began, time.process_time() - worked


def measure(given: argparse.Namespace) -> dict[str, object]:
    torch.set_num_threads(given.threads)
    target, methods = targets(given), {num: method(given, num) for num in (given.batch, 1)}
    losses: dict[int, Tensor] = {}
    wall: dict[int, list[float]] = {num: [] for num in methods}
    work: dict[int, list[float]] = {num: [] for num in methods}
    for _ in range(given.rounds):
        for num, built in methods.items():
            losses[num], seconds, worked = tuned(built, target)
            wall[num].append(seconds)
            work[num].append(worked)
    away = (losses[given.batch] / losses[1] - 1).abs().amax(1)
    one, all_at_once = (statistics.median(wall[num]) for num in (1, given.batch))
    return {
        **vars(given),
        "largest_difference": float(away.max()),
        "difference_at_the_end": float(away[-1]),
        "losses_agree": bool(away.max() <= given.tolerance),
        "seconds_one_at_a_time": one,
        "seconds_at_once": all_at_once,
        "speed_ratio": one / all_at_once,
        "processor_ratio": statistics.median(work[1]) / statistics.median(work[given.batch]),
        "torch": torch.__version__,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--generator", default="portraits")
    parser.add_argument("--space", default="zplus")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="of each way, taking turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative difference of a loss that passes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    result = measure(parse(arguments))
    print(json.dumps(result))
    return 0 if result["losses_agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
