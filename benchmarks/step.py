"""Seconds an optimisation step of BDInvert in Z+, against a plain loop in the same process.

    python benchmarks/step.py --resolution 256 --batch 1 --json

StyleGAN2 of config-f's widths with random weights, MSE + 10 LPIPS-VGG of random weights. The two loops take turns; both
start from the same codes. Exit status 1 if, in float32, the plain loop's losses at zinv's last codes are others than
zinv's, or if, in float64, the two loops do not end alike. README.md beside this file says what is measured, and what
was.
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

import account  # noqa: E402
import plain  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from zinv.arithmetic import precision  # noqa: E402
from zinv.generators.stylegan2 import StyleGAN2  # noqa: E402
from zinv.images import resize  # noqa: E402
from zinv.losses.base import Loss  # noqa: E402
from zinv.losses.perceptual import LPIPSTerm  # noqa: E402
from zinv.methods.acceleration import accelerated  # noqa: E402
from zinv.methods.bdinvert import BDInvert  # noqa: E402
from zinv.methods.inversion import Inversion  # noqa: E402
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
    """One of the two loops: what its rounds took, and where each ended, losses first."""

    run: Callable[[Clock], tuple[Tensor, ...]]
    seconds: list[float] = field(default_factory=list)
    ends: list[tuple[Tensor, ...]] = field(default_factory=list)
    peak_bytes: int = 0
    first: float = 0.0

    @property
    def losses(self) -> Tensor:
        """After the first round."""
        return self.ends[0][0].double().cpu()

    def round(self, device: torch.device) -> None:
        clock, started = Clock(device), time.perf_counter()
        reset_peak(device)
        self.ends.append(self.run(clock))
        self.peak_bytes = max(self.peak_bytes, peak(device))
        self.seconds += clock.seconds()
        self.first = self.first or clock.ends[0] - started


def config_f(resolution: int, max_width: int = 512, z_dim: int = 512, seed: int = 0) -> StyleGAN2:
    """StyleGAN2 of config-f's widths min(32768 / r, 512), its weights random, noise strengths and biases among them."""
    sides = [4 * 2**k for k in range(int(math.log2(resolution)) - 1)]
    channels = tuple(min(32768 // side, max_width) for side in sides)
    torch.manual_seed(seed)
    generator = StyleGAN2.new(StyleGAN2Architecture(resolution, channels, z_dim, z_dim, mapping_layers=8))
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


@dataclass
class Bench:
    """Generator, picture and method of a measurement."""

    given: argparse.Namespace

    def __post_init__(self) -> None:
        self.device, self.dtype = torch.device(self.given.device), getattr(torch, self.given.dtype)
        generator = config_f(self.given.resolution, self.given.max_width)
        self.target = pictures(self.given.batch, self.given.resolution).to(self.device, self.dtype)
        self.space, loss = TimedZPlus(), Loss({"mse": 1.0, "lpips_random": 10.0})
        self.method = BDInvert(generator, self.space, loss, num_steps=self.given.steps).to(self.device, self.dtype)
        self.weights = generator.tensors()
        term = loss.parts()["lpips_random"]
        assert isinstance(term, LPIPSTerm)
        self.small = resize(self.target, min(256, self.given.resolution), term.target_resize)
        self.perceptual = plain_lpips(term.lpips).to(self.device, self.dtype)
        self.rngs = partial(image_rngs, 0, [str(i) for i in range(self.given.batch)])

    @torch.no_grad()
    def start(self) -> tuple[Tensor, Tensor]:
        """First detail codes and base codes."""
        return self.space.initial(self.method.above, self.rngs()).to(self.target), self.method.encoder(self.target)

    def ours(self, clock: Clock) -> tuple[Tensor, ...]:
        """zinv's loop."""
        self.space.clock = clock
        with precision(self.given.precision), accelerated(self.given.step):
            found: Inversion = self.method.invert(self.target, self.rngs())
        assert found.base is not None
        return found.losses["total"], found.code, found.base[1]

    def theirs(self, clock: Clock, nudge: float = 0.0) -> tuple[Tensor, ...]:
        """The plain loop, from a start that is off by a factor 1 + `nudge`."""
        z, feature = self.start()
        fixed = (self.weights, self.perceptual, self.target, self.small)
        z = z * (1 + nudge)
        return (plain.invert(*fixed, z, feature, self.given.steps, clock.tick),)

    def plain_losses(self, z: Tensor, feature: Tensor) -> Tensor:
        """The plain loop's losses at given codes."""
        fixed = (self.weights, self.perceptual, self.target, self.small)
        with torch.no_grad():
            return plain.losses(*fixed, z, feature, self.start()[1]).double().cpu()

    def account(self) -> dict[str, dict[str, dict[str, float]]]:
        """Of zinv's step."""
        chosen = partial(precision, self.given.precision)
        with chosen():
            chain = account.parts(self.method, self.target, "lpips_random")
        return account.account(chain, self.start(), self.given.rounds, chosen)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """The two loops in turn, and what they took."""
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.allow_tf32 = False
    bench = Bench(arguments)
    ours, theirs = Loop(bench.ours), Loop(bench.theirs)
    for _ in range(arguments.rounds):
        ours.round(bench.device)
        theirs.round(bench.device)
    seconds, plain_seconds = statistics.median(ours.seconds), statistics.median(theirs.seconds)
    return {
        "resolution": arguments.resolution,
        "batch": arguments.batch,
        "step": arguments.step,
        "precision": arguments.precision if arguments.dtype == "float32" else arguments.dtype,
        "seconds_per_step": seconds,
        "plain_seconds_per_step": plain_seconds,
        "ratio": plain_seconds / seconds,
        "seconds_to_the_first_step": ours.first,
        "seconds_per_image": seconds / arguments.batch,
        "peak_bytes": ours.peak_bytes,
        "plain_peak_bytes": theirs.peak_bytes,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        **agreement(bench, ours, theirs),
        **(budget(bench, seconds) if arguments.account else {}),
        "threads": torch.get_num_threads(),
        "device": device_name(bench.device),
        "torch": torch.__version__,
    }


def agreement(bench: Bench, ours: Loop, theirs: Loop) -> dict[str, object]:
    """How far the losses of the two loops are apart: at the same codes, and where each of them ended."""
    losses, given = ours.losses, bench.given
    same = float((losses / bench.plain_losses(*ours.ends[0][1:]) - 1).abs().max())
    ended = float((losses / theirs.losses - 1).abs().max())
    found: dict[str, object] = {
        "loss": losses.tolist(),
        "plain_loss": theirs.losses.tolist(),
        "relative_difference": ended,
        "relative_difference_at_the_same_codes": same,
    }
    if given.rounding:
        nudged = bench.theirs(Clock(bench.device), torch.finfo(bench.dtype).eps)[0].double().cpu()
        found["plain_loop_from_the_next_number"] = float((nudged / theirs.losses - 1).abs().max())
    exact = given.dtype == "float64"
    agree = same <= given.tolerance and (not exact or ended <= given.tolerance)
    return {**found, "losses_agree": agree if given.precision == "float32" else None}


def budget(bench: Bench, seconds: float) -> dict[str, object]:
    """The account of a step, the machine's ceilings, and the share of each that the step reaches."""
    table, ceilings = bench.account(), account.ceilings(bench.device)
    rate, ceiling = account.total(table, "operations") / seconds, max(ceilings[bench.given.precision].values())
    return {
        "account": table,
        "operations_per_step": account.total(table, "operations"),
        "bytes_per_step": account.total(table, "bytes"),
        "operations_per_second": rate,
        "ceiling": ceilings,
        "share_of_ceiling": rate / ceiling if bench.given.dtype == "float32" else None,
        "share_of_memory": account.total(table, "bytes") / seconds / ceilings["memory"]["bytes"],
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
    kinds = ("float32", "tf32", "bfloat16")
    parser.add_argument("--precision", choices=kinds, default="float32", help="of zinv's loop")
    parser.add_argument("--step", choices=("plain", "graph", "compile"), default="plain", help="how zinv makes steps")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of both loops' tensors")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="relative difference of the losses that passes")
    parser.add_argument("--rounding", action="store_true", help="run the plain loop again from the next number too")
    parser.add_argument("--account", action=argparse.BooleanOptionalAction, default=True, help="parts, ceilings")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    given = parser.parse_args(arguments)
    if given.precision == "tf32" and not given.device.startswith("cuda"):
        parser.error(f"--precision tf32: a {given.device} device has none. Take float32 or bfloat16.")
    return given


def text(result: dict[str, object]) -> str:
    width = max(map(len, result))
    return "\n".join(
        "\n".join(account.lines(value)) if name == "account" else f"{name:{width}}  {value}"  # type: ignore[arg-type]
        for name, value in result.items()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    result = measure(given)
    print(json.dumps(result) if given.json else text(result))
    if result["losses_agree"] is False:
        print(f"error: the two losses differ by more than {given.tolerance:g} of the plain one.", file=sys.stderr)
    return 1 if result["losses_agree"] is False else 0


if __name__ == "__main__":
    sys.exit(main())
