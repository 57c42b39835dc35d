"""Which format a file has, found in its content, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints import (
    base_code,
    e4e,
    genforce,
    idinvert,
    nvidia_tf,
    nvidia_torch,
    rosinality,
    sam,
)
from zinv.generators.checkpoints.base import Checkpoint, Found, Tensors, energy, one_line, tensors_in
from zinv.generators.checkpoints.sampling import give_back, prior
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import PERSISTENT, Plain, Stub, load

FORMATS: Final[tuple[Callable[[Plain], Found | None], ...]] = tuple(
    module.find for module in (rosinality, genforce, nvidia_torch, nvidia_tf, idinvert, base_code, e4e, sam)
)
CLASSES: Final = ((PERSISTENT, "*"), nvidia_tf.NETWORK)
W_AVG: Final = "mapping.w_avg"
W_AVG_DRAWS: Final = 20_000


def read_checkpoint(path: Path) -> Checkpoint:
    """What a file of another publisher holds. Nothing of it is imported, called or executed.

    Raises:
        CheckpointError: another kind of file, a damaged one, or a network that zinv lacks; says which.
    """
    seen: list[Found] = []

    def select(tree: Plain) -> Plain:
        found = recognise(tree)
        seen[:] = [found]
        return {"own": _tree(found.tensors), "raw": _tree(found.raw)}

    content = load(path, CLASSES, select)
    found = seen[0]
    assert isinstance(content, dict)
    own, raw = tensors_in(content.pop("own")), tensors_in(content.pop("raw"))
    raw_energy = energy(raw.values()) if raw else None
    raw.clear()
    try:
        return _built(found, own, raw_energy)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {str(error).rstrip('.')}.") from None


def recognise(tree: Plain) -> Found:
    """The format of a tree with its tensors on the meta device.

    Raises:
        CheckpointError: none that zinv reads.
    """
    for find in FORMATS:
        if found := find(tree):
            return found
    raise CheckpointError(f"it holds {_shown(tree)}, none of the networks that zinv reads")


def _tree(tensors: dict[str, Tensor]) -> Plain:
    return {name: x for name, x in tensors.items()}


def _built(found: Found, own: dict[str, Tensor], raw_energy: float | None) -> Checkpoint:
    tensors = Tensors(own)
    own.clear()
    arch, named = found.build(tensors)
    give_back()
    notes: tuple[str, ...] = ()
    if isinstance(arch, StyleGAN1Architecture | StyleGAN2Architecture) and W_AVG not in named:
        named[W_AVG] = prior(arch, named, W_AVG_DRAWS, seed=0)[0]
        notes = (f"w_avg is the mean of {W_AVG_DRAWS:,} draws, as the file has none",)
    return Checkpoint(found.format, found.what, arch, named, found.entry, raw_energy, notes)


def _shown(tree: Plain) -> str:
    """What a tree is, in a few words."""
    if isinstance(tree, Stub):
        return f"an instance of {one_line(tree.module)}.{one_line(tree.name)}"
    if isinstance(tree, Tensor):
        return f"a tensor of shape {tuple(tree.shape)}"
    if isinstance(tree, dict):
        return f"a dict of {', '.join(one_line(key) for key in list(tree)[:4])}{', …' if len(tree) > 4 else ''}"
    return f"a {type(tree).__name__}"
