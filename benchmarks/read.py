"""Seconds and peak memory of reading a 1024-pixel generator in each published format.

    PYTHONPATH=. python benchmarks/read.py [FOLDER]

Files of the true layout and the published widths with random weights are written into FOLDER (a temporary one) by the
tests' writers, one by one. A process of its own reads each: the resident memory that `load_generator` adds at its peak,
with and without the check, and the processor's seconds. NVIDIA's pickles have three networks as published, or the
averaged generator alone, which is harder to read within the file's own size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

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
before, started = memory("VmRSS"), time.process_time()
generator = load_generator(sys.argv[1], check=sys.argv[2] == "check")
seconds = time.process_time() - started
print(json.dumps({"peak": memory("VmHWM") - before, "seconds": seconds}))
"""


def files(folder: Path) -> Iterator[tuple[str, Callable[[], Path]]]:
    """Names of the files, and what writes them."""
    from tests.generators.checkpoints import layouts
    from tests.generators.checkpoints.conftest import stylegan1, stylegan2

    def two() -> dict[str, object]:
        widths = tuple(min(32768 // (4 << k), 512) for k in range(9))
        return {"resolution": 1024, "channels": widths, "z_dim": 512, "w_dim": 512, "mapping_layers": 8}

    def one() -> dict[str, object]:
        return {**two(), "channels": tuple(min(16384 // (4 << k), 512) for k in range(9)), "fused_from": 128}

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


def main() -> None:
    print(f"{'file':32} {'MB':>6} {'seconds':>8} {'peak/size':>9} {'with check':>10} {'peak/size':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        for name, write in files(folder):
            path = write()
            size = path.stat().st_size
            plain, checked = (measured(path, how) for how in ("plain", "check"))
            cells = f"{plain['seconds']:8.2f} {plain['peak'] / size:9.2f} {checked['seconds']:10.2f}"
            print(f"{name:32} {size / 1e6:6.0f} {cells} {checked['peak'] / size:9.2f}", flush=True)
            path.unlink()


def measured(path: Path, how: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", CHILD, path, how], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
