"""Seconds and peak memory of reading a 1024-pixel generator in each published format.

    python benchmarks/read.py

Files of the true layout and the published widths with random weights are written by the tests' writers, one by one. A
process of its own reads each: the resident memory that `load_generator` adds at its peak, with and without the check,
and the processor's seconds. NVIDIA's pickles have three networks as published, or the averaged generator alone, which
is harder to read within the file's own size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
COMMIT = ("git", "rev-parse", "HEAD")
HOW = ("read", "read_and_checked")
CHILD = """
import json, sys, time
from pathlib import Path
from zinv.generators import load_generator
from zinv.generators.toy import toy_stylegan2

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

toy = toy_stylegan2()
toy.synthesis(toy.affine(toy.as_ws(toy.mapping(toy.w_avg[None]))))  # what torch sets up once
Path("/proc/self/clear_refs").write_text("5")
before, started, clock = memory("VmRSS"), time.process_time(), time.perf_counter()
generator = load_generator(sys.argv[1], check=sys.argv[2] == "check")
for tensor in generator.tensors().values():
    tensor.sum()  # zinv's own file is mapped: its pages come when they are touched
found = {"seconds": time.process_time() - started, "clock_seconds": time.perf_counter() - clock}
print(json.dumps({"peak": memory("VmHWM") - before, **{name: round(value, 3) for name, value in found.items()}}))
"""


def files(folder: Path, resolution: int) -> Iterator[tuple[str, Callable[[], Path]]]:
    """Names of the files, and what writes them."""
    from tests.generators.checkpoints import layouts
    from tests.generators.checkpoints.conftest import stylegan1, stylegan2

    def two() -> dict[str, object]:
        widths = tuple(min(32768 // (4 << k), 512) for k in range(resolution.bit_length() - 2))
        return {"resolution": resolution, "channels": widths, "z_dim": 512, "w_dim": 512, "mapping_layers": 8}

    def one() -> dict[str, object]:
        return {**two(), "channels": tuple(min(16384 // (4 << k), 512) for k in range(resolution.bit_length() - 2))}

    file = folder / "file"
    yield "zinv safetensors, StyleGAN2", lambda: (stylegan2(**two()).save(file), file)[1]
    yield "rosinality, g_ema alone", lambda: layouts.save_rosinality(file, stylegan2(**two()))
    yield "genforce, StyleGAN2", lambda: layouts.save_genforce(file, stylegan2(**two()))
    yield "NVIDIA PyTorch, G_ema", lambda: layouts.save_nvidia(file, layouts.nvidia_module(stylegan2(**two())))

    def three() -> Path:
        module = layouts.nvidia_module(stylegan2(**two()))
        return layouts.save_nvidia(file, module, G=layouts.nvidia_module(stylegan2(1, **two())))

    yield "NVIDIA PyTorch, G and G_ema", three
    yield "NVIDIA TensorFlow, Gs", lambda: layouts.save_nvidia_tf(file, layouts.nvidia_tf2(stylegan2(**two())))
    yield "genforce, StyleGAN1", lambda: layouts.save_genforce(file, stylegan1(**one()))
    yield "NVIDIA TensorFlow, StyleGAN1", lambda: layouts.save_nvidia_tf(file, layouts.nvidia_tf1(stylegan1(**one())))
    inverting = {"w_per_layer": True, "tanh": True}
    yield "IDInvert", lambda: layouts.save_idinvert(file, stylegan1(**{**one(), **inverting}))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=None, help="where files are written; a temporary one")
    parser.add_argument("--resolution", type=int, default=1024, help="in pixels")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "read.json", help="result file")
    given, rows = parser.parse_args(arguments), []
    print(f"{'file':32} {'MB':>6} {'seconds':>8} {'peak/size':>9} {'with check':>10} {'peak/size':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        for name, write in files(given.folder or Path(temporary), given.resolution):
            path = write()
            size = path.stat().st_size
            plain, checked = (measured(path, how) for how in ("plain", "check"))
            rows.append({"file": name, "bytes": size, "read": plain, "read_and_checked": checked})
            cells = f"{plain['seconds']:8.2f} {plain['peak'] / size:9.2f} {checked['seconds']:10.2f}"
            print(f"{name:32} {size / 1e6:6.0f} {cells} {checked['peak'] / size:9.2f}", flush=True)
            path.unlink()
    result = {
        "command": "python benchmarks/read.py",
        "commit": subprocess.run(COMMIT, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "machine": f"{platform.machine()}, one thread",
        "resolution": given.resolution,
        "files": rows,
        "largest_peak_per_byte": max(row[how]["peak"] / row["bytes"] for row in rows for how in HOW),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def measured(path: Path, how: str) -> dict[str, float]:
    """Peak in bytes above what the process had, and seconds of the processor and of the clock."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-c", CHILD, path, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
