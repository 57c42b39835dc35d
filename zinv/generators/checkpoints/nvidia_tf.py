"""NVIDIA's TensorFlow pickles (G, D, Gs) of StyleGAN2 and StyleGAN1, read without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import (
    FUSED_FROM,
    Build,
    Found,
    Tensors,
    convolutions,
    count,
    demand,
    never_fused,
    stylegan1_architecture,
    stylegan2_architecture,
)
from zinv.generators.checkpoints.genforce import at_full_size
from zinv.generators.checkpoints.renaming import MAP, ONE_LESS, ONE_ROW, Change, Pairs, Renaming, read_all, rename
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.unpickle import Plain, Stub

FORMAT: Final = "NVIDIA TensorFlow"
NETWORK: Final = ("dnnlib.tflib.network", "Network")
DEEPEST: Final = 4
LARGEST_CLAMP: Final = 1e9

FC: Final = Change(lambda x: x.permute(1, 0), lambda x: x.permute(1, 0))  # [in, out]
CONV: Final = Change(lambda x: x.permute(3, 2, 0, 1), lambda x: x.permute(2, 3, 1, 0))  # [kh, kw, in, out]
UP: Final = Change(lambda x: CONV.read(x).flip(2, 3), lambda x: CONV.write(x.flip(2, 3)))
DENSE: Final[Pairs] = {"weight": ("weight", FC), "bias": "bias"}
RGB: Final[Pairs] = {
    "weight": ("weight", CONV),
    "affine.weight": ("mod_weight", FC),
    "affine.bias": ("mod_bias", ONE_LESS),
    "bias": "bias",
}
STYLED: Final[Pairs] = {**RGB, "noise_strength": "noise_strength"}
STYLED1: Final[Pairs] = {
    "bias": "bias",
    "affine.weight": ("StyleMod/weight", FC),
    "affine.bias": "StyleMod/bias",
    "noise_strength": "Noise/weight",
}


def find(tree: Plain) -> Found | None:
    """Gs, the third of three networks, or a network by itself."""
    networks = tree if isinstance(tree, tuple | list) else (tree,)
    if len(networks) not in (1, 3) or not all(_is_network(network) for network in networks):
        return None
    entry = "Gs" if len(networks) == 3 else ""
    variables = dict(_variables(networks[-1]))
    tensors = {name: x for name, x in variables.items() if isinstance(x, Tensor)}
    numbers = {name: x for name, x in variables.items() if not isinstance(x, Tensor)}
    what, build = _kind(tensors, dict(_settings(networks[-1])))
    raw = {name: x for name, x in _variables(networks[0]) if isinstance(x, Tensor)} if entry else {}
    return Found(FORMAT, what, tensors, lambda read: build(read.plus(numbers)), entry, convolutions(raw))


def _is_network(value: Plain) -> bool:
    return isinstance(value, Stub) and (value.module, value.name) == NETWORK


def _variables(network: Plain, prefix: str = "") -> Iterator[tuple[str, Tensor | float]]:
    """Variables of a network and, by their names, of its components; single ones may be numbers."""
    if not isinstance(network, Stub) or prefix.count("/") > DEEPEST:
        return
    pairs = network.state.get("variables")
    for pair in pairs if isinstance(pairs, list | tuple) else ():
        name, value = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        if isinstance(name, str) and isinstance(value, Tensor | int | float):
            yield f"{prefix}{name}", value
    for name, component in _components(network):
        yield from _variables(component, f"{prefix}{name}/")


def _settings(network: Plain, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Keyword arguments of a network and of its components."""
    if not isinstance(network, Stub) or depth > DEEPEST:
        return
    given = network.state.get("static_kwargs")
    yield from ((str(name), value) for name, value in (given.items() if isinstance(given, dict) else ()))
    for _, component in _components(network):
        yield from _settings(component, depth + 1)


def _components(network: Stub) -> list[tuple[str, Plain]]:
    inside = network.state.get("components")
    return [(str(name), part) for name, part in inside.items()] if isinstance(inside, dict) else []


def _kind(variables: Mapping[str, Tensor], settings: Mapping[str, object]) -> tuple[str, Build]:
    shared: dict[str, tuple[object, ...]] = {
        "num_channels": (3,),
        "label_size": (0,),
        "mapping_lrmul": (0.01,),
        "mapping_nonlinearity": ("lrelu",),
        "nonlinearity": ("lrelu",),
        "normalize_latents": (True,),
    }
    if any(name.startswith("mapping/Label") for name in variables):
        raise CheckpointError("a generator conditional on labels; zinv has none")
    if "synthesis/4x4/Conv/mod_weight" in variables:
        demand(settings, "Gs", **shared, architecture=("skip",), resample_kernel=([1, 3, 3, 1], (1, 3, 3, 1)))
        if "synthesis/4x4/ToRGB/weight" not in variables:
            raise CheckpointError("a StyleGAN2 of orig or resnet architecture; zinv has skip alone")
        return "StyleGAN2", partial(_build2, clamp=_clamp(settings))
    if "synthesis/4x4/Conv/StyleMod/weight" in variables:
        usual = {name: (True,) for name in ("use_wscale", "use_styles", "use_noise", "use_instance_norm")}
        usual |= {"const_input_layer": (True,), "use_pixel_norm": (False,)}
        demand(settings, "Gs", **shared, **usual, blur_filter=([1, 2, 1], (1, 2, 1)))
        return "StyleGAN1", partial(_build1, fused=settings.get("fused_scale", "auto"))
    raise CheckpointError("a TensorFlow network that is neither StyleGAN2 nor StyleGAN1")


def _clamp(settings: Mapping[str, object]) -> float | None:
    clamp = settings.get("conv_clamp")
    return float(clamp) if isinstance(clamp, int | float) and 0 < clamp < LARGEST_CLAMP else None


def _build2(tensors: Tensors, clamp: float | None) -> tuple[StyleGAN2Architecture, dict[str, Tensor]]:
    num_fc, num_blocks = count(tensors, "mapping/Dense{}/weight"), _num_blocks(tensors, "Conv0_up/mod_weight")
    for name in ("lod", "synthesis/lod"):
        tensors.drop(name)
    named = read_all(_renamings2(num_fc, num_blocks), tensors)
    tensors.finish()
    return stylegan2_architecture(named, clamp), named


def _num_blocks(tensors: Tensors, up: str) -> int:
    k = 1
    while f"synthesis/{4 << k}x{4 << k}/{up}" in tensors:
        k += 1
    return k


def _renamings2(num_fc: int, num_blocks: int) -> Iterator[Renaming]:
    yield from _mapping(num_fc)
    yield Renaming("synthesis.b4.const", "synthesis/4x4/Const/const", ONE_ROW)
    for k in range(num_blocks):
        for i in (0, 1) if k else (1,):
            ours, theirs = f"synthesis.b{4 << k}.conv{i}", _layer(k, i)
            pairs: Pairs = {**STYLED, "weight": ("weight", UP)} if i == 0 else STYLED
            yield from _slashed(pairs, ours, theirs)
            yield Renaming(f"{ours}.noise_const", f"synthesis/noise{2 * k - 1 + i}", MAP)
        yield from _slashed(RGB, f"synthesis.b{4 << k}.torgb", f"synthesis/{4 << k}x{4 << k}/ToRGB")


def _build1(tensors: Tensors, fused: object) -> tuple[StyleGAN1Architecture, dict[str, Tensor]]:
    num_fc, num_blocks = count(tensors, "mapping/Dense{}/weight"), _num_blocks(tensors, "Conv0_up/StyleMod/weight")
    for name in ("lod", "synthesis/lod"):
        at_full_size(tensors, name)
    tensors.drop(*(f"synthesis/ToRGB_lod{j}/{end}" for j in range(1, num_blocks) for end in DENSE))
    named = read_all(_renamings1(num_fc, num_blocks), tensors)
    tensors.finish()
    fused_from = FUSED_FROM if fused == "auto" else 8 if fused else never_fused(num_blocks)
    return stylegan1_architecture(named, fused_from=fused_from), named


def _renamings1(num_fc: int, num_blocks: int) -> Iterator[Renaming]:
    yield from _mapping(num_fc)
    yield Renaming("synthesis.b4.const", "synthesis/4x4/Const/const", ONE_ROW)
    for k in range(num_blocks):
        for i in (0, 1):
            ours, theirs = f"synthesis.b{4 << k}.conv{i}", _layer(k, i) if k or i else "synthesis/4x4/Const"
            weight: Pairs = {"weight": ("weight", CONV)} if k or i else {}
            yield from _slashed({**STYLED1, **weight}, ours, theirs)
            yield Renaming(f"{ours}.noise_const", f"synthesis/noise{2 * k + i}", MAP)
    rgb: Pairs = {"weight": ("weight", CONV), "bias": "bias"}
    yield from _slashed(rgb, f"synthesis.b{4 << (num_blocks - 1)}.torgb", "synthesis/ToRGB_lod0")


def _mapping(num_fc: int) -> Iterator[Renaming]:
    for i in range(num_fc):
        yield from _slashed(DENSE, f"mapping.fc{i}", f"mapping/Dense{i}")
    yield Renaming("mapping.w_avg", "dlatent_avg")


def _layer(k: int, i: int) -> str:
    return f"synthesis/{4 << k}x{4 << k}/{f'Conv{i}' if k else 'Conv'}{'' if i else '_up'}"


def _slashed(pairs: Pairs, ours: str, theirs: str) -> Iterator[Renaming]:
    for renaming in rename(pairs, ours, ""):
        yield renaming._replace(theirs=f"{theirs}/{renaming.theirs[1:]}")
