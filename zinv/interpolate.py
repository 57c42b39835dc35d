"""`zinv interpolate RUN A B`: a strip of pictures from one stored inversion to another."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from zinv.chain import check_same
from zinv.config import build, load
from zinv.errors import ConfigError, StoreError, nearest
from zinv.evaluation.files import clear_errors
from zinv.evaluation.store import Run, Stored
from zinv.images import grid, write_png
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.metrics.protocol import full_precision
from zinv.rescoring import check_same_generator
from zinv.scoring import decode

FOLDER: Final = "interpolations"
NUM_TOLD: Final = 5  # ids that an error names


def interpolate(folder: str, first: str, last: str, steps: int = 7, to: str | None = None) -> int:
    """Write `RUN/interpolations/A-B-STEPS.png`, its ends the reconstructions, and print where it is.

    Codes go along their space's own path (great circles in Z and Z+, row by row; else a line), all else on a line.

    Args:
        folder: of the run that A is in.
        first: id of A.
        last: id of B.
        steps: pictures, both ends included.
        to: folder of the run that B is in, if it is another one.

    Raises:
        StoreError: an image is not finished, or the two cannot be interpolated.
        ConfigError: fewer than two steps, or one image is both ends.
    """
    if steps < 2:
        raise ConfigError(f"--steps {steps}: not an int of 2 or more.")
    runs = Run.open(folder), Run.open(to or folder)
    a, b = _stored(runs[0], first), _stored(runs[1], last)
    if a.folder.resolve() == b.folder.resolve():
        raise ConfigError(f"{first}: both ends are this image.")
    check_same(f"--to {to}", runs[0].facts["identity"], runs[1].facts["identity"])
    _check_alike(a, b)
    method = _method(runs[0])
    pictures = [decode(runs[0], method, first), *_between(method, a, b, steps), decode(runs[1], method, last)]
    path = runs[0].path / FOLDER / _name(first, last, steps, runs)
    with clear_errors(runs[0].path):
        path.parent.mkdir(exist_ok=True)
        write_png(grid(torch.stack(pictures), steps), path)
    print(path)
    return 0


def _name(first: str, last: str, steps: int, runs: tuple[Run, Run]) -> str:
    other = [] if runs[0].name == runs[1].name else [runs[1].path.resolve().name]
    return "-".join([first, *other, last, str(steps)]) + ".png"


def _stored(run: Run, name: str) -> Stored:
    """A finished image.

    Raises:
        StoreError: it is none.
    """
    finished = run.finished()
    if name in finished:
        return run.read(name)
    if name in run.failed():
        raise StoreError(f"{run.path}: image '{name}' has no inversion: {run.result(name)['reason']}.")
    near, some = nearest(name, finished), ", ".join(sorted(finished)[:NUM_TOLD])
    like = f" Did you mean '{near}'?" if near else ""
    there = f"{len(finished)} are" + (f", such as {some}" if len(finished) > NUM_TOLD else f": {some}")
    raise StoreError(f"{run.path}: no image '{name}' is finished.{like} {there if finished else 'None is'}.")


def _check_alike(a: Stored, b: Stored) -> None:
    """Raise an error if two inversions have no path between them.

    Raises:
        StoreError: tuned weights that were not kept or are of other parameters or another generator, base codes at
            different points, or parts that only one has.
    """
    one, other = a.folder.name, b.folder.name
    for end in (a, b):
        if end.metadata.get("left_out"):
            raise StoreError(f"'{end.folder.name}': its tuned weights were not kept (method.keep_weights=false).")
    if a.metadata.get("generator", "") != b.metadata.get("generator", ""):
        both = (_of(end.metadata.get("generator", "")[:8]) for end in (a, b))
        raise StoreError(f"'{one}' and '{other}': their own weights or layers are {' and '.join(both)}.")
    if a.metadata["base"] != b.metadata["base"]:
        both = (f"at {end.metadata['base']}" if end.metadata["base"] else "none" for end in (a, b))
        raise StoreError(f"'{one}' and '{other}': base codes differ, {' and '.join(both)}.")
    for end, rest in ((a, b), (b, a)):
        if alone := sorted(end.tensors.keys() - rest.tensors.keys()):
            what = _words(alone[0])
            raise StoreError(f"'{end.folder.name}' has {what}, '{rest.folder.name}' has not: no path leads there.")
    for name, x in a.tensors.items():
        if x.shape != (y := b.tensors[name]).shape:
            sizes = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise StoreError(f"'{one}' and '{other}': {_words(name)} of different shapes, {sizes}.")


def _of(generator: str) -> str:
    return f"of generator {generator}…" if generator else "none"


def _words(name: str) -> str:
    """A stored tensor in words, such as `tuned weights (b4.conv.weight)`."""
    group, _, rest = name.partition("/")
    known = {"weights": "tuned weights", "edits": "features of its own", "keep": "masks", "noise": "noise maps"}
    return f"{known.get(group, group)} ({rest})" if rest else {"base": "a base code"}.get(name, name)


def _method(run: Run) -> Inverter:
    """The run's method; the pictures that were inverted are not needed.

    Raises:
        StoreError: its generator's weights have changed.
    """
    config = load(run.path / "config.yaml")
    check_same_generator(run, config)
    parts = {group: build(config, group) for group in ("generator", "space", "loss")}
    method: Inverter = build(config, "method", **parts)
    return method


@torch.no_grad()
def _between(method: Inverter, first: Stored, last: Stored, steps: int) -> list[Tensor]:
    """Pictures between the ends, one at a time: none depends on the others."""
    a, b = (Inversion.join([(end.tensors, end.metadata)]) for end in (first, last))
    with full_precision(method.device):
        shares = [i / (steps - 1) for i in range(1, steps - 1)]
        return [method.reconstruct(method.interpolate(a, b, t))[0] for t in shares]
