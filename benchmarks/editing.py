"""What do edits as jobs cost? Seconds, pictures a second against synthesis alone at the same batch, peak memory.

    python benchmarks/editing.py --num 50 > benchmarks/results/editing.json

Targets are inverted first, in one step, since a picture takes as long whatever its code; that is not counted. Then the
edits of all are made and measured as `zinv evaluate` does it, with and without controls, and as many pictures of the
inversions are synthesised, in batches as large, by the same method. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import torch  # noqa: E402

from zinv.altering.images import edit_images, edit_info  # noqa: E402
from zinv.config import compose, run_folder  # noqa: E402
from zinv.evaluation.edits import merge_edits, read_edits  # noqa: E402
from zinv.evaluation.store import Run  # noqa: E402
from zinv.methods.inversion import Inversion  # noqa: E402
from zinv.ranks import Ranks, forget_peak, peak_memory  # noqa: E402
from zinv.run import Parts, build_parts, device_name, evaluate_config  # noqa: E402

RUN = "generator=portraits data=portraits loss=demo protocol=demo method=bdinvert space=zplus method.num_steps=1"
EDITS = "direction=portraits direction.strengths=-2:2:11 direction.beyond=true"
OVERRIDES = (*RUN.split(), *EDITS.split())


def edited(parts: Parts, run: Run, ranks: Ranks) -> dict[str, float]:
    """Seconds and memory of all edits of a run, and how many there are."""
    assert parts.plan
    forget_peak(ranks.device)
    began = time.perf_counter()
    edit_images(run, parts.source, parts.method, parts.plan, parts.protocol, ranks, parts.source.ids)
    seconds = time.perf_counter() - began
    _, frame = read_edits(merge_edits(run, edit_info(parts.plan, parts.protocol), parts.source.ids))
    num = int((frame["status"] == "ok").sum())
    return {"edits": num, "seconds": seconds, "per_second": num / seconds, "peak_bytes": peak_memory(ranks.device)}


@torch.no_grad()
def synthesised(parts: Parts, run: Run, num: int, device: torch.device) -> float:
    """Pictures a second of the inversions alone, at the batch size of the edits."""
    assert parts.plan
    size = parts.plan.batch_size
    stored = run.read(parts.source.ids[0])
    one = ({key: x.to(device) for key, x in stored.tensors.items()}, stored.metadata)
    batch = Inversion.join([one] * size)
    parts.method.reconstruct(batch)
    began = time.perf_counter()
    for _ in range(-(-num // size)):
        parts.method.reconstruct(batch).sum().item()
    return -(-num // size) * size / (time.perf_counter() - began)


def measure(given: argparse.Namespace) -> dict[str, object]:
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, object] = {}
        num = 0
        for name, control in (("without_controls", False), ("with_controls", True)):
            own = [f"data.num={given.num}", f"runs={folder}", f"direction.control={str(control).lower()}"]
            config = compose([*(given.overrides or OVERRIDES), *own])
            evaluate_config({key: value for key, value in config.items() if key != "direction"})
            parts, run = build_parts(config), Run.open(run_folder(config))
            parts.method.to(device)
            found[name] = made = edited(parts, run, Ranks(0, 1, device))
            num = int(made["edits"])
        found["synthesis_per_second"] = synthesised(parts, run, num, device)
        assert parts.plan
        batch = parts.plan.batch_size
    about = {"images": given.num, "batch_size": batch, "device": device_name(device), "torch": torch.__version__}
    return {**about, "overrides": list(given.overrides or OVERRIDES), **found}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="of the run and its edits; by default those of the portraits")
    parser.add_argument("--num", type=int, default=50, help="images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(parser.parse_args(arguments))
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
