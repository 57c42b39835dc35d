"""Seconds an optimisation step of BDInvert in Z+, against a plain loop in the same process.

    python benchmarks/step.py --resolution 256 --batch 1 --json

StyleGAN2 of config-f's widths with random weights, MSE + 10 LPIPS-VGG of random weights. The two loops take turns; both
start from the same codes, and unequal losses at the end make the exit status 1. README.md beside this file says what
is measured, and what was.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import plain  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from zinv.generators.stylegan2 import StyleGAN2, new_stylegan2  # noqa: E402
from zinv.images import resize  # noqa: E402
from zinv.losses.base import Loss  # noqa: E402
from zinv.losses.perceptual import LPIPSTerm  # noqa: E402
from zinv.methods.bdinvert import BDInvert  # noqa: E402
from zinv.networks.stylegan2 import StyleGAN2Architecture  # noqa: E402
from zinv.seeding import image_rngs  # noqa: E402
from zinv.spaces.z import ZPlus  # noqa: E402


@dataclass
class Clock:
    """Times at which steps end; a step's seconds are those between two ends."""

    device: torch.device
    ends: list[float] = field(default_factory=list)

    def tick(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]


class TimedZPlus(ZPlus):
    """Z+ that notes when a method's step is over: so zinv's own loop is measured, not a copy."""

    clock: Clock

    def after_step(self, code: Tensor) -> Tensor:
        code = super().after_step(code)
        self.clock.tick()
        return code


@dataclass
class Loop:
    """One of the two loops: what its rounds took, and where its losses are after each."""

    run: Callable[[Clock], Tensor]
    seconds: list[float] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    peak_bytes: int = 0

    def round(self, device: torch.device) -> None:
        clock = Clock(device)
        reset_peak(device)
        self.losses.append(self.run(clock).double().cpu())
        self.peak_bytes = max(self.peak_bytes, peak(device))
        self.seconds += clock.seconds()


def config_f(resolution: int, max_width: int = 512, z_dim: int = 512, seed: int = 0) -> StyleGAN2:
    """StyleGAN2 of config-f's widths min(32768 / r, 512), its weights random, noise strengths and biases among them."""
    sides = [4 * 2**k for k in range(int(math.log2(resolution)) - 1)]
    channels = tuple(min(32768 // side, max_width) for side in sides)
    torch.manual_seed(seed)
    generator = new_stylegan2(StyleGAN2Architecture(resolution, channels, z_dim, z_dim, mapping_layers=8))
    for name, tensor in generator.tensors().items():
        if name.endswith(("bias", "noise_strength")) and "affine" not in name:
            tensor.add_(0.1 * torch.randn(tensor.shape))
    generator.trained = False  # so that an untrained base-code encoder will do
    return generator


def pictures(batch: int, resolution: int, seed: int = 0) -> Tensor:
    """Smooth random pictures `(N, 3, R, R)`."""
    coarse = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return resize(coarse, resolution, "bicubic").clamp(-1, 1)


def plain_lpips(network: nn.Module) -> nn.Module:
    """The `lpips` package's distance, with the backbone of zinv's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, on old argument names
        distance: nn.Module = importlib.import_module("lpips").LPIPS(net="vgg", pnet_rand=True, verbose=False)
    own = network.get_submodule("features").state_dict()
    for name, tensor in distance.get_submodule("net").state_dict().items():
        tensor.copy_(own[name.partition(".")[2]])
    return distance.requires_grad_(False).eval()


def loops(generator: StyleGAN2, target: Tensor, num_steps: int) -> tuple[Loop, Loop]:
    """zinv's loop and the plain one, from the same start."""
    space, loss = TimedZPlus(), Loss({"mse": 1.0, "lpips_random": 10.0})
    method = BDInvert(generator, space, loss, num_steps=num_steps).to(target.device)
    term = loss.parts()["lpips_random"]
    assert isinstance(term, LPIPSTerm)
    small = resize(target, min(256, target.shape[-1]), term.target_resize)
    rngs = partial(image_rngs, 0, [str(i) for i in range(len(target))])

    def ours(clock: Clock) -> Tensor:
        space.clock = clock
        return method.invert(target, rngs()).losses["total"]

    def theirs(clock: Clock) -> Tensor:
        distance = plain_lpips(term.lpips).to(target.device)
        with torch.no_grad():
            start = space.initial(method.above, rngs()), method.encoder(target)
        return plain.invert(generator.tensors(), distance, target, small, *start, num_steps, clock.tick)

    return Loop(ours), Loop(theirs)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """The two loops in turn, and what they took."""
    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.allow_tf32 = False
    generator = config_f(arguments.resolution, arguments.max_width).to(device)
    target = pictures(arguments.batch, arguments.resolution).to(device)
    ours, theirs = loops(generator, target, arguments.steps)
    for _ in range(arguments.rounds):
        ours.round(device)
        theirs.round(device)
    seconds, plain_seconds = statistics.median(ours.seconds), statistics.median(theirs.seconds)
    difference = (ours.losses[0] / theirs.losses[0] - 1).abs().max()
    return {
        "resolution": arguments.resolution,
        "batch": arguments.batch,
        "seconds_per_step": seconds,
        "plain_seconds_per_step": plain_seconds,
        "ratio": plain_seconds / seconds,
        "seconds_per_image": seconds / arguments.batch,
        "peak_bytes": ours.peak_bytes,
        "plain_peak_bytes": theirs.peak_bytes,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "loss": ours.losses[0].tolist(),
        "plain_loss": theirs.losses[0].tolist(),
        "relative_difference": float(difference),
        "losses_agree": bool(difference <= arguments.tolerance),
        "threads": torch.get_num_threads(),
        "device": device_name(device),
        "torch": torch.__version__,
    }


def reset_peak(device: torch.device) -> None:
    """Forget the highest memory so far, where the system can: CUDA's allocator, Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """Highest memory since `reset_peak`, in bytes: of CUDA's allocator, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="of a round; losses are compared after as many")
    parser.add_argument("--rounds", type=int, default=3, help="of each loop, taking turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--max-width", type=int, default=512, help="narrower networks, to try the script")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="relative difference of the losses that passes")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser.parse_args(arguments)


def text(result: dict[str, object]) -> str:
    width = max(map(len, result))
    return "\n".join(f"{name:{width}}  {value}" for name, value in result.items())


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    result = measure(given)
    print(json.dumps(result) if given.json else text(result))
    if not result["losses_agree"]:
        print(f"error: the two losses differ by more than {given.tolerance:g} of the plain one.", file=sys.stderr)
    return 0 if result["losses_agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
