"""NVIDIA's PyTorch pickles: StyleGAN2 of stylegan2-ada-pytorch and stylegan3, and modules that PTI saved whole.

The file's own source code is ignored; names and numbers come from the pickled modules' attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final, TypeAlias

import torch
from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import (
    STYLEGAN2_FILTER,
    Found,
    Tensors,
    convolutions,
    demand,
    in_short,
    one_line,
    stylegan2_architecture,
)
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import PERSISTENT, Key, Plain, Stub

FORMAT: Final = "NVIDIA PyTorch"
MAPPING_RATE: Final = 0.01
LARGEST_CLAMP: Final = 1e9
State: TypeAlias = dict[str, Plain]


def find(tree: Plain) -> Found | None:
    """G_ema of a training pickle, G if there is no other, or a generator saved by itself."""
    networks = tree if isinstance(tree, dict) else {"": tree}
    entry = next((name for name in ("G_ema", "G", "") if _is_module(networks.get(name))), None)
    if entry is None:
        return None
    modules = dict(_modules(networks[entry]))
    _refuse_others(modules)
    raw = convolutions(_tensors(dict(_modules(networks["G"])))) if entry == "G_ema" and "G" in networks else {}
    build = partial(_build, clamp=_clamp(modules), silent=_silent(modules))
    return Found(FORMAT, "StyleGAN2", _tensors(modules), build, entry, raw)


def _is_module(value: Plain) -> bool:
    return isinstance(value, Stub) and value.module == PERSISTENT and "_modules" in value.state


def _modules(value: Plain, name: str = "") -> Iterator[tuple[str, State]]:
    """Each module's attributes by its dotted name; the root's is empty."""
    if not isinstance(value, Stub):
        return
    yield name, value.state
    inside = value.state.get("_modules")
    for child, module in inside.items() if isinstance(inside, dict) else ():
        yield from _modules(module, f"{name}.{child}".lstrip("."))


def _tensors(modules: Mapping[str, State]) -> dict[str, Tensor]:
    found = {}
    for name, state in modules.items():
        for kind in ("_parameters", "_buffers"):
            own = state.get(kind)
            for key, x in own.items() if isinstance(own, dict) else ():
                if isinstance(x, Tensor):
                    found[f"{name}.{key}".lstrip(".")] = x
    return found


def _refuse_others(modules: Mapping[str, State]) -> None:
    whole = _facts(modules[""])
    if "synthesis.input" in modules:
        raise CheckpointError("a StyleGAN3 generator; zinv has StyleGAN1 and StyleGAN2")
    if "synthesis.b4" not in modules or "mapping.fc0" not in modules:
        raise CheckpointError(f"a generator whose parts are {', '.join(one_line(name) for name in list(modules)[1:6])}")
    if whole.get("c_dim", 0) != 0 or "mapping.embed" in modules:
        raise CheckpointError(
            f"a generator conditional on labels (c_dim {in_short(whole.get('c_dim'))}); zinv has none"
        )
    demand(whole, "generator", img_channels=(3,))
    for name, state in modules.items():
        facts = _facts(state)
        demand(facts, name, architecture=("skip",))
        if name.startswith("mapping.fc"):
            demand(facts, name, activation=("lrelu",), bias_gain=(MAPPING_RATE,))
        elif name.endswith(("conv0", "conv1")):
            demand(facts, name, activation=("lrelu",))


def _facts(state: State) -> dict[str, object]:
    """A module's numbers and words, as given to its constructor and as it keeps them."""
    given = state.get("_init_kwargs")
    kept: dict[Key, Plain] = dict(given) if isinstance(given, dict) else {}
    kept.update(state.items())
    return {str(name): x for name, x in kept.items() if isinstance(x, bool | int | float | str | None)}


def _clamp(modules: Mapping[str, State]) -> float | None:
    """`conv_clamp` of the layers; it acts in float32 too.

    Raises:
        CheckpointError: the file does not say, or layers differ.
    """
    layers = [name for name in modules if name.endswith((".conv0", ".conv1", ".torgb"))]
    clamps = {_inherited(modules, name) for name in layers}
    if len(clamps) != 1:
        raise CheckpointError(f"conv_clamp differs between layers: {sorted(map(str, clamps))}; zinv has one for all")
    clamp = clamps.pop()
    return None if clamp is None else float(clamp)


def _inherited(modules: Mapping[str, State], name: str) -> float | None:
    """A layer's clamp: its own, its block's, or what the constructors above were given."""
    for holder in (name, name.rpartition(".")[0], "synthesis", ""):
        state = modules.get(holder, {})
        given = state.get("_init_kwargs")
        inside = given.get("synthesis_kwargs") if isinstance(given, dict) else None
        for facts in (_facts(state), inside if isinstance(inside, dict) else {}):
            clamp = facts.get("conv_clamp", "")
            if clamp is None or (isinstance(clamp, int | float) and 0 < clamp < LARGEST_CLAMP):
                return clamp
    raise CheckpointError(f"{one_line(name)}: the file does not say whether the layer is clamped (conv_clamp)")


def _silent(modules: Mapping[str, State]) -> set[str]:
    """Layers that were built without noise."""
    return {name for name, state in modules.items() if _facts(state).get("use_noise") is False}


def _build(tensors: Tensors, clamp: float | None, silent: set[str]) -> tuple[StyleGAN2Architecture, dict[str, Tensor]]:
    tensors.drop_filters(STYLEGAN2_FILTER, "resample_filter")
    named = {name: tensors.take(name).contiguous() for name in tensors.names()}
    arch = stylegan2_architecture(named, clamp)
    for side in [4 << k for k in range(len(arch.channels))]:
        for layer in silent & {f"synthesis.b{side}.conv0", f"synthesis.b{side}.conv1"}:
            named |= {f"{layer}.noise_strength": torch.zeros(()), f"{layer}.noise_const": torch.zeros(side, side)}
    return arch, named
