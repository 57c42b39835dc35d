"""What every reader of a format is made of."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import Plain, shown

GeneratorArchitecture: TypeAlias = StyleGAN1Architecture | StyleGAN2Architecture
Architecture: TypeAlias = GeneratorArchitecture | Mapping[str, int | str]
"""A generator's, or the few numbers that tell an encoder's."""

MOST_BLOCKS: Final = 11  # 4096 pixels
FUSED_FROM: Final = 128  # pixels, StyleGAN1's "auto"
BATCHES: Final = "num_batches_tracked"
STYLEGAN2_FILTER: Final = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
STYLEGAN1_FILTER: Final = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        format: who writes such files: "rosinality".
        what: "StyleGAN2", "e4e encoder", …
        architecture: all that the tensors' shapes do not say, and what they do.
        tensors: float32 and contiguous. A generator's have zinv's names, an encoder's those of its publisher.
        entry: which of the file's networks it is: "g_ema"; empty if there is but one.
        raw_energy: sum of squares of the convolutions of the generator in training, if the file has that one too.
        notes: what was made up for, in words.
    """

    format: str
    what: str
    architecture: Architecture
    tensors: dict[str, Tensor]
    entry: str = ""
    raw_energy: float | None = None
    notes: tuple[str, ...] = ()


class Tensors:
    """Named tensors of a file. Each is taken once, so that what was converted can be freed."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._left = dict(tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """Names of the tensors that are left."""
        return list(self._left)

    def take(self, name: str) -> Tensor:
        """A tensor as float32; whole numbers stay as they are.

        Raises:
            CheckpointError: the file has none of this name.
        """
        if name not in self._left:
            raise CheckpointError(f"{name}: not in the file")
        tensor = self._left.pop(name)
        return tensor.float() if tensor.is_floating_point() else tensor

    def plus(self, numbers: Mapping[str, float]) -> Tensors:
        """Itself, with single numbers among its tensors."""
        self._left |= {name: torch.tensor(float(number)) for name, number in numbers.items()}
        return self

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that is left; empty if there is none."""
        return tuple(self._left[name].shape) if name in self._left else ()

    def drop_filters(self, expected: Tensor, *endings: str) -> None:
        """Drop the fixed low-pass filters among the tensors.

        Raises:
            CheckpointError: one is not the filter that zinv has.
        """
        for name in [name for name in self._left if name.endswith(endings)]:
            kernels = self._left.pop(name).float().flatten()
            if kernels.numel() % expected.numel():
                raise CheckpointError(
                    f"{one_line(name)}: a low-pass filter of {kernels.numel()} taps, not {expected.numel()}"
                )
            kernels = kernels.view(-1, expected.numel())
            if not torch.allclose(kernels / kernels.sum(1, keepdim=True), expected.flatten(), atol=1e-3):
                raise CheckpointError(f"{one_line(name)}: another low-pass filter than zinv's")

    def drop(self, *names: str) -> None:
        """Drop tensors that have no part in an image."""
        for name in names:
            self._left.pop(name, None)

    def finish(self) -> None:
        """Check that nothing but single numbers is left, counters and the like.

        Raises:
            CheckpointError: a tensor that no published network of this kind has.
        """
        left = sorted(name for name, x in self._left.items() if x.numel() > 1)
        if left:
            raise CheckpointError(f"{one_line(left[0])}: no tensor of this architecture, one of {len(left)} such")

    def verified(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """All tensors, of these names and shapes; batch counters may be there or not.

        Raises:
            CheckpointError: one is missing, unknown or of another shape.
        """
        counters = {name: self.take(name) for name in self.names() if name.endswith(BATCHES)}
        found = {name: self.take(name) for name in shapes}
        self.finish()
        for name, shape in shapes.items():
            if tuple(found[name].shape) != shape:
                raise CheckpointError(f"{name}: shape {tuple(found[name].shape)} does not fit the architecture")
        return found | counters


Build: TypeAlias = Callable[[Tensors], tuple[Architecture, dict[str, Tensor]]]


@dataclass(frozen=True)
class Found:
    """A format, recognised in the tree of a file before its tensors are read.

    Attributes:
        format: as in `Checkpoint`.
        what: as in `Checkpoint`.
        tensors: those wanted, on the meta device.
        build: makes architecture and named tensors of them, once they are read.
        entry: as in `Checkpoint`.
        raw: convolutions of the generator in training, on the meta device.
    """

    format: str
    what: str
    tensors: dict[str, Tensor]
    build: Build
    entry: str = ""
    raw: dict[str, Tensor] = field(default_factory=dict)


def tensors_in(tree: Plain) -> dict[str, Tensor]:
    """The named tensors of a state dict; none if it is something else."""
    if not isinstance(tree, dict):
        return {}
    return {name: x for name, x in tree.items() if isinstance(name, str) and isinstance(x, Tensor)}


def convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The 3 × 3 convolutions of a state dict of any layout."""
    return {k: x for k, x in state.items() if k.endswith("weight") and x.dim() > 3 and list(x.shape).count(3) > 1}


def energy(tensors: Iterable[Tensor]) -> float:
    """Sum of squares."""
    return sum(float(x.float().square().sum()) for x in tensors)


def count(names: Container[str], pattern: str, start: int = 0) -> int:
    """How many names there are in a row.

    >>> count({"fc0.weight", "fc1.weight", "fc3.weight"}, "fc{}.weight")
    2
    """
    num = 0
    while pattern.format(start + num) in names:
        num += 1
    return num


def in_short(value: object) -> str:
    """A value of the file as a few printable characters of one line."""
    if isinstance(value, str):
        return shown(value)
    known = value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 60)
    return str(value) if known else f"a {type(value).__name__.lower()}"


def one_line(name: object) -> str:
    """A name of the file, the same without quotes."""
    return in_short(name).strip("'")


def demand(settings: Mapping[str, object], where: str, **accepted: tuple[object, ...]) -> None:
    """Refuse settings that zinv lacks; those that are not given have the publisher's default.

    Raises:
        CheckpointError: names the setting, its value and what zinv has.
    """
    for name, values in accepted.items():
        value = settings.get(name, values[0])
        if isinstance(value, Tensor) or value not in values:
            raise CheckpointError(f"{one_line(where)}: {name} is {in_short(value)}; zinv has {values[0]!r} alone")


def stylegan2_architecture(tensors: Mapping[str, Tensor], clamp: float | None) -> StyleGAN2Architecture:
    """The architecture behind tensors of zinv's names.

    Raises:
        CheckpointError: there is no such.
    """
    num_blocks, num_fc = _depths(tensors)
    channels = tuple(_side(tensors, f"synthesis.b{4 << k}.torgb.weight", 1) for k in range(num_blocks))
    w_dim = _side(tensors, "synthesis.b4.conv1.affine.weight", 1)
    if _side(tensors, f"mapping.fc{num_fc - 1}.weight", 0) == w_dim * 2 * num_blocks:
        raise CheckpointError("its mapping network gives each layer a w of its own; zinv has that in StyleGAN1 alone")
    z_dim = _side(tensors, "mapping.fc0.weight", 1)
    with _sizes_checked():
        return StyleGAN2Architecture(4 << (num_blocks - 1), channels, z_dim, w_dim, num_fc, clamp)


def never_fused(num_blocks: int) -> int:
    """`fused_from` of a StyleGAN1 without fused up-sampling."""
    return max(FUSED_FROM, 4 << num_blocks)


def stylegan1_architecture(tensors: Mapping[str, Tensor], fused_from: int = FUSED_FROM) -> StyleGAN1Architecture:
    """The architecture behind tensors of zinv's names.

    Raises:
        CheckpointError: there is no such.
    """
    num_blocks, num_fc = _depths(tensors)
    channels = tuple(_side(tensors, f"synthesis.b{4 << k}.conv1.weight", 0) for k in range(num_blocks))
    w_dim = _side(tensors, "synthesis.b4.conv1.affine.weight", 1)
    w_per_layer = _side(tensors, f"mapping.fc{num_fc - 1}.weight", 0) == w_dim * 2 * num_blocks
    z_dim, resolution = _side(tensors, "mapping.fc0.weight", 1), 4 << (num_blocks - 1)
    with _sizes_checked():
        return StyleGAN1Architecture(resolution, channels, z_dim, w_dim, num_fc, w_per_layer, fused_from=fused_from)


@contextmanager
def _sizes_checked() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def check_depths(num_fc: int, num_blocks: int) -> None:
    """Raise CheckpointError if there is no network of so many mapping layers and blocks."""
    if not 0 < num_blocks <= MOST_BLOCKS or not num_fc:
        raise CheckpointError(f"a generator of {num_blocks} blocks with {num_fc} layers of mapping")


def _depths(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    num_blocks = 0
    while f"synthesis.b{4 << num_blocks}.conv1.weight" in tensors:
        num_blocks += 1
    num_fc = count(tensors, "mapping.fc{}.weight")
    check_depths(num_fc, num_blocks)
    return num_blocks, num_fc


def _side(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    if name not in tensors:
        raise CheckpointError(f"{name}: not in the file")
    if tensors[name].dim() <= axis:
        raise CheckpointError(f"{name}: shape {tuple(tensors[name].shape)} does not fit the architecture")
    return tensors[name].shape[axis]


def batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a batch normalisation."""
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def inside(tree: Plain, prefix: str) -> dict[str, Tensor]:
    """Tensors of a state dict whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): x for k, x in tensors_in(tree).items() if k.startswith(prefix)}
