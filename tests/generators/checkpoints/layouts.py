"""Files in the layouts that others publish, made of a zinv generator's tensors.

Each function puts the tensors where a format has them, by hand: none uses the readers' tables. Pickles name the classes
of the originals; the modules behind those names do not exist here.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2

State = dict[str, Tensor]
FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
BLUR = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16


def own(generator: StyleGAN1 | StyleGAN2) -> State:
    return {name: x.detach().clone() for name, x in generator.tensors().items()}


# rosinality


def rosinality(generator: StyleGAN2) -> State:
    t, state, num = own(generator), State(), len(generator.arch.channels)
    for i in range(generator.arch.mapping_layers):
        state[f"style.{i + 1}.weight"] = t[f"mapping.fc{i}.weight"]
        state[f"style.{i + 1}.bias"] = t[f"mapping.fc{i}.bias"]
    state["input.input"] = t["synthesis.b4.const"].unsqueeze(0)
    convs = [("conv1", "b4.conv1")]
    for k in range(1, num):
        r = 4 * 2**k
        convs += [(f"convs.{2 * (k - 1)}", f"b{r}.conv0"), (f"convs.{2 * (k - 1) + 1}", f"b{r}.conv1")]
    for n, (name, layer) in enumerate(convs):
        ours = f"synthesis.{layer}"
        state[f"{name}.conv.weight"] = t[f"{ours}.weight"].unsqueeze(0)
        state[f"{name}.conv.modulation.weight"] = t[f"{ours}.affine.weight"]
        state[f"{name}.conv.modulation.bias"] = t[f"{ours}.affine.bias"]
        if layer.endswith("conv0"):
            state[f"{name}.conv.blur.kernel"] = FIR * 4
        state[f"{name}.noise.weight"] = t[f"{ours}.noise_strength"].reshape(1)
        state[f"{name}.activate.bias"] = t[f"{ours}.bias"]
        side = t[f"{ours}.noise_const"].shape[0]
        state[f"noises.noise_{n}"] = t[f"{ours}.noise_const"].reshape(1, 1, side, side)
    for k in range(num):
        name, ours = ("to_rgb1" if k == 0 else f"to_rgbs.{k - 1}"), f"synthesis.b{4 * 2**k}.torgb"
        state[f"{name}.bias"] = t[f"{ours}.bias"].reshape(1, 3, 1, 1)
        if k:
            state[f"{name}.upsample.kernel"] = FIR * 4
        state[f"{name}.conv.weight"] = t[f"{ours}.weight"].unsqueeze(0)
        state[f"{name}.conv.modulation.weight"] = t[f"{ours}.affine.weight"]
        state[f"{name}.conv.modulation.bias"] = t[f"{ours}.affine.bias"]
    return state


def save_rosinality(path: Path, generator: StyleGAN2, /, **others: object) -> Path:
    torch.save({"g_ema": rosinality(generator), "latent_avg": own(generator)["mapping.w_avg"], **others}, path)
    return path


# genforce


def genforce2(generator: StyleGAN2) -> State:
    t, state, num = own(generator), _genforce_mapping(generator), len(generator.arch.channels)
    state["synthesis.early_layer.const"] = t["synthesis.b4.const"][None]
    for index in range(2 * num - 1):
        k = (index + 1) // 2
        up = index % 2 == 1
        ours, theirs = f"synthesis.b{4 * 2**k}.conv{0 if up else 1}", f"synthesis.layer{index}"
        weight = t[f"{ours}.weight"]
        state[f"{theirs}.weight"] = torch.flip(weight, (2, 3)) if up else weight
        state[f"{theirs}.bias"] = t[f"{ours}.bias"]
        state[f"{theirs}.style.weight"] = t[f"{ours}.affine.weight"]
        state[f"{theirs}.style.bias"] = t[f"{ours}.affine.bias"] - 1
        state[f"{theirs}.noise_strength"] = t[f"{ours}.noise_strength"]
        state[f"{theirs}.noise"] = t[f"{ours}.noise_const"][None, None]
        if up:
            state[f"{theirs}.filter.kernel"] = (FIR * 4)[None, None]
    for k in range(num):
        ours, theirs = f"synthesis.b{4 * 2**k}.torgb", f"synthesis.output{k}"
        state[f"{theirs}.weight"], state[f"{theirs}.bias"] = t[f"{ours}.weight"], t[f"{ours}.bias"]
        state[f"{theirs}.style.weight"] = t[f"{ours}.affine.weight"]
        state[f"{theirs}.style.bias"] = t[f"{ours}.affine.bias"] - 1
    state["synthesis.upsample.kernel"] = (FIR * 4)[None, None]
    return state


def genforce1(generator: StyleGAN1) -> State:
    t, state, num = own(generator), _genforce_mapping(generator), len(generator.arch.channels)
    state["synthesis.lod"] = torch.zeros(())
    state["synthesis.layer0.const"] = t["synthesis.b4.const"][None]
    for index in range(2 * num):
        ours, theirs = f"synthesis.b{4 * 2 ** (index // 2)}.conv{index % 2}", f"synthesis.layer{index}"
        if index:
            state[f"{theirs}.weight"] = t[f"{ours}.weight"]
        if index and index % 2 == 0:
            state[f"{theirs}.blur.kernel"] = BLUR.expand(len(t[f"{ours}.bias"]), 1, 3, 3).clone()
        state[f"{theirs}.bias"] = t[f"{ours}.bias"]
        state[f"{theirs}.apply_noise.weight"] = t[f"{ours}.noise_strength"]
        state[f"{theirs}.apply_noise.noise"] = t[f"{ours}.noise_const"][None, None]
        state[f"{theirs}.style.weight"] = t[f"{ours}.affine.weight"]
        state[f"{theirs}.style.bias"] = t[f"{ours}.affine.bias"]
    for k, width in enumerate(generator.arch.channels):
        weight, bias = _rgb1(t, generator, k, width)
        state[f"synthesis.output{k}.weight"], state[f"synthesis.output{k}.bias"] = weight, bias
    return state


def save_genforce(path: Path, generator: StyleGAN1 | StyleGAN2, /, **others: object) -> Path:
    state = genforce1(generator) if isinstance(generator, StyleGAN1) else genforce2(generator)
    torch.save({"generator_smooth": state, **others}, path)
    return path


def _genforce_mapping(generator: StyleGAN1 | StyleGAN2) -> State:
    t, state = own(generator), State()
    for i in range(generator.arch.mapping_layers):
        state[f"mapping.dense{i}.weight"] = t[f"mapping.fc{i}.weight"]
        state[f"mapping.dense{i}.bias"] = t[f"mapping.fc{i}.bias"]
    state["truncation.w_avg"] = t["mapping.w_avg"]
    return state


def _rgb1(t: State, generator: StyleGAN1, k: int, width: int) -> tuple[Tensor, Tensor]:
    """The RGB layer of a StyleGAN1's block; those below the last were of use in training alone."""
    last = k == len(generator.arch.channels) - 1
    ours = f"synthesis.b{generator.arch.resolution}.torgb"
    return (t[f"{ours}.weight"], t[f"{ours}.bias"]) if last else (torch.randn(3, width, 1, 1), torch.randn(3))


# IDInvert


def idinvert(generator: StyleGAN1) -> State:
    t, state, num = own(generator), State(), len(generator.arch.channels)
    for i in range(generator.arch.mapping_layers):
        state[f"mapping.dense{i}.fc.weight"] = t[f"mapping.fc{i}.weight"]
        state[f"mapping.dense{i}.wscale.bias"] = t[f"mapping.fc{i}.bias"]
    state["truncation.w_avg"] = t["mapping.w_avg"]
    state["truncation.truncation"] = torch.ones(1, 2 * num, 1)
    state["synthesis.lod"] = torch.zeros(())
    state["synthesis.layer0.const"] = t["synthesis.b4.const"][None]
    for index in range(2 * num):
        side = 4 * 2 ** (index // 2)
        ours, theirs = f"synthesis.b{side}.conv{index % 2}", f"synthesis.layer{index}"
        if index and index % 2 == 0 and side >= generator.arch.fused_from:
            state[f"{theirs}.weight"] = t[f"{ours}.weight"].permute(2, 3, 1, 0).contiguous()
        elif index:
            state[f"{theirs}.conv.weight"] = t[f"{ours}.weight"]
        if index and index % 2 == 0:
            state[f"{theirs}.blur.kernel"] = BLUR.expand(len(t[f"{ours}.bias"]), 1, 3, 3).clone()
        epilogue = f"{theirs}.epilogue"
        state[f"{epilogue}.bias"] = t[f"{ours}.bias"]
        state[f"{epilogue}.apply_noise.weight"] = t[f"{ours}.noise_strength"]
        state[f"{epilogue}.apply_noise.noise"] = t[f"{ours}.noise_const"][None, None]
        state[f"{epilogue}.style_mod.dense.fc.weight"] = t[f"{ours}.affine.weight"]
        state[f"{epilogue}.style_mod.dense.wscale.bias"] = t[f"{ours}.affine.bias"]
    for k, width in enumerate(generator.arch.channels):
        weight, bias = _rgb1(t, generator, k, width)
        state[f"synthesis.output{k}.conv.weight"], state[f"synthesis.output{k}.bias"] = weight, bias
    return state


# NVIDIA, PyTorch


class EasyDict(dict[str, object]):
    """Pickled as `dnnlib.util.EasyDict`."""


def reconstruct(meta: object) -> object:
    """Pickled as `torch_utils.persistence._reconstruct_persistent_obj`."""
    raise NotImplementedError


class Persistent(nn.Module):
    """A module that pickles as NVIDIA's persistent classes do: a call with its source, name and attributes."""

    def __init__(self, class_name: str, given: Mapping[str, object], **attributes: object):
        super().__init__()
        self._class_name = class_name
        self._init_args, self._init_kwargs = (), EasyDict(given)
        for name, value in {**given, **attributes}.items():
            setattr(self, name, value)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != "_class_name"}
        source = "import os\nos._exit(1)  # the source of a module, which nobody may run\n"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self._class_name, "state": state}
        return reconstruct, (meta,), None


NAMES: dict[object, tuple[str, str]] = {
    reconstruct: ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    EasyDict: ("dnnlib.util", "EasyDict"),
}


class Pickler(pickle._Pickler):  # the one in Python, whose names can be chosen
    def save_global(self, obj: object, name: str | None = None) -> None:
        module, shown = NAMES.get(obj, (getattr(obj, "__module__", ""), name or getattr(obj, "__qualname__", "")))
        self.save(module.replace("numpy._core", "numpy.core"))
        self.save(shown)
        self.write(pickle.STACK_GLOBAL)

    dispatch = {**pickle._Pickler.dispatch, type: save_global, type(reconstruct): save_global}


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 4).dump(value)
    return buffer.getvalue()


def nvidia_module(generator: StyleGAN2, clamp: float | None = None, half: int = 0) -> Persistent:
    """`G_ema` as stylegan2-ada-pytorch has it; its `half` highest resolutions would run in float16."""
    t, arch = own(generator), generator.arch
    sizes = {"z_dim": arch.z_dim, "c_dim": 0, "w_dim": arch.w_dim}
    image = {"img_resolution": arch.resolution, "img_channels": 3}
    inner = {"channel_base": 16384, "channel_max": 512, "num_fp16_res": half, "conv_clamp": clamp}
    given = {**sizes, **image, "mapping_kwargs": EasyDict(num_layers=arch.mapping_layers), "synthesis_kwargs": inner}
    whole = Persistent("Generator", given, num_ws=arch.num_ws)
    whole.mapping = Persistent("MappingNetwork", {**sizes, "num_ws": arch.num_ws}, w_avg_beta=0.995)
    for i in range(arch.mapping_layers):
        whole.mapping.add_module(f"fc{i}", _fully_connected(t, f"mapping.fc{i}", "lrelu", 0.01))
    whole.mapping.register_buffer("w_avg", t["mapping.w_avg"])
    whole.synthesis = Persistent("SynthesisNetwork", {"w_dim": arch.w_dim, **image, **inner}, num_ws=arch.num_ws)
    for k, width in enumerate(arch.channels):
        side, below = 4 * 2**k, arch.channels[k - 1] if k else 0
        halved = side > arch.resolution // 2**half
        sizes = {"in_channels": below, "out_channels": width, "w_dim": arch.w_dim, "resolution": side}
        flags = {"is_last": side == arch.resolution, "architecture": "skip", "use_fp16": halved, "conv_clamp": clamp}
        block = Persistent("SynthesisBlock", {**sizes, "img_channels": 3, **flags}, num_torgb=1, num_conv=2 if k else 1)
        del block.conv_clamp  # blocks hand it to their layers and do not keep it
        block.register_buffer("resample_filter", FIR)
        if k == 0:
            block.const = nn.Parameter(t["synthesis.b4.const"])
        for i in (0, 1) if k else (1,):
            block.add_module(f"conv{i}", _styled(t, f"synthesis.b{side}.conv{i}", side, 2 - i, clamp))
        block.torgb = _rgb(t, f"synthesis.b{side}.torgb", width, clamp)
        if halved:  # they keep their pixels' channels together in memory, and so in the file
            block.to(memory_format=torch.channels_last)
        whole.synthesis.add_module(f"b{side}", block)
    return whole.eval().requires_grad_(False)


def _fully_connected(t: State, name: str, activation: str, rate: float) -> Persistent:
    out, inputs = t[f"{name}.weight"].shape
    given = {"in_features": inputs, "out_features": out, "activation": activation, "lr_multiplier": rate}
    gains = {"weight_gain": rate / np.sqrt(inputs), "bias_gain": rate}
    layer = Persistent("FullyConnectedLayer", given, **gains)
    layer.weight, layer.bias = nn.Parameter(t[f"{name}.weight"]), nn.Parameter(t[f"{name}.bias"])
    return layer


def _styled(t: State, name: str, side: int, up: int, clamp: float | None) -> Persistent:
    given = {"resolution": side, "up": up, "use_noise": True, "activation": "lrelu", "conv_clamp": clamp}
    layer = Persistent("SynthesisLayer", given, padding=1, act_gain=math.sqrt(2))
    layer.affine = _fully_connected(t, f"{name}.affine", "linear", 1.0)
    layer.weight, layer.bias = nn.Parameter(t[f"{name}.weight"]), nn.Parameter(t[f"{name}.bias"])
    layer.noise_strength = nn.Parameter(t[f"{name}.noise_strength"])
    layer.register_buffer("resample_filter", FIR)
    layer.register_buffer("noise_const", t[f"{name}.noise_const"])
    return layer


def _rgb(t: State, name: str, width: int, clamp: float | None) -> Persistent:
    layer = Persistent("ToRGBLayer", {"conv_clamp": clamp}, weight_gain=1 / np.sqrt(width))
    layer.affine = _fully_connected(t, f"{name}.affine", "linear", 1.0)
    layer.weight, layer.bias = nn.Parameter(t[f"{name}.weight"]), nn.Parameter(t[f"{name}.bias"])
    return layer


def save_torch(path: Path, value: object) -> Path:
    """`torch.save` of objects that pickle by names of our choice."""

    class module:
        Pickler, dumps = _TorchPickler, staticmethod(pickled)

    torch.save(value, path, pickle_module=module, pickle_protocol=4)
    return path


class _TorchPickler(Pickler):
    """Tensors' storages go where torch puts them: it gives a `persistent_id` to a subclass."""


def save_nvidia(path: Path, g_ema: Persistent, **others: object) -> Path:
    discriminator = Persistent("Discriminator", {"c_dim": 0})
    discriminator.weight = nn.Parameter(torch.randn(4, 4))
    kwargs = EasyDict(class_name="training.dataset.ImageFolderDataset", path="ffhq.zip", max_size=70000)
    tree = {"training_set_kwargs": kwargs, "augment_pipe": None, "D": discriminator, **others, "G_ema": g_ema}
    path.write_bytes(pickled(tree))
    return path


# NVIDIA, TensorFlow


class Network:
    """Pickled as `dnnlib.tflib.network.Network`: its state is a dict of settings, components and variables."""

    def __init__(self, name: str, settings: Mapping[str, object], version: int, variables: list[tuple[str, object]]):
        self.state = {"version": version, "name": name, "static_kwargs": EasyDict(settings), "components": EasyDict()}
        self.state |= {"build_module_src": "raise SystemExit", "build_func_name": name, "variables": variables}

    def __getstate__(self) -> dict[str, object]:
        return self.state


NAMES[Network] = ("dnnlib.tflib.network", "Network")


def nvidia_tf2(generator: StyleGAN2, **settings: object) -> Network:
    t = own(generator)
    sizes = {"num_channels": 3, "resolution": generator.resolution, "label_size": 0}
    variables: list[tuple[str, object]] = []
    for k in range(len(generator.arch.channels)):
        side = 4 * 2**k
        if k == 0:
            variables += [("4x4/Const/const", t["synthesis.b4.const"][None].numpy())]
        for part in ("conv0", "conv1", "torgb") if k else ("conv1", "torgb"):
            scope = {"conv0": "Conv0_up", "conv1": "Conv1" if k else "Conv", "torgb": "ToRGB"}[part]
            ours = f"synthesis.b{side}.{part}"
            weight = t[f"{ours}.weight"]
            weight = weight.flip(2).flip(3) if part == "conv0" else weight
            variables += [
                (f"{side}x{side}/{scope}/weight", np.ascontiguousarray(weight.numpy().transpose(2, 3, 1, 0))),
                (f"{side}x{side}/{scope}/mod_weight", np.ascontiguousarray(t[f"{ours}.affine.weight"].numpy().T)),
                (f"{side}x{side}/{scope}/mod_bias", (t[f"{ours}.affine.bias"] - 1).numpy()),
                (f"{side}x{side}/{scope}/bias", t[f"{ours}.bias"].numpy()),
            ]
            if part != "torgb":
                noise = t[f"{ours}.noise_const"][None, None].numpy()
                variables += [(f"{side}x{side}/{scope}/noise_strength", np.float32(t[f"{ours}.noise_strength"]))]
                variables += [(f"noise{2 * k - 1 if part == 'conv0' else 2 * k}", noise)]
    return _tf_whole(generator, {**sizes, **settings}, variables, version=4)


def nvidia_tf1(generator: StyleGAN1, **settings: object) -> Network:
    t, num = own(generator), len(generator.arch.channels)
    sizes = {"num_channels": 3, "resolution": generator.resolution, "label_size": 0}
    variables: list[tuple[str, object]] = [
        ("lod", np.float32(0)),
        ("4x4/Const/const", t["synthesis.b4.const"][None].numpy()),
    ]
    for index in range(2 * num):
        k, side = index // 2, 4 * 2 ** (index // 2)
        ours = f"synthesis.b{side}.conv{index % 2}"
        scope = ("Conv0_up", "Conv1")[index % 2] if k else ("Const", "Conv")[index]
        if index:
            weight = np.ascontiguousarray(t[f"{ours}.weight"].numpy().transpose(2, 3, 1, 0))
            variables += [(f"{side}x{side}/{scope}/weight", weight)]
        style = np.ascontiguousarray(t[f"{ours}.affine.weight"].numpy().T)
        variables += [
            (f"noise{index}", t[f"{ours}.noise_const"][None, None].numpy()),
            (f"{side}x{side}/{scope}/Noise/weight", t[f"{ours}.noise_strength"].numpy()),
            (f"{side}x{side}/{scope}/bias", t[f"{ours}.bias"].numpy()),
            (f"{side}x{side}/{scope}/StyleMod/weight", style),
            (f"{side}x{side}/{scope}/StyleMod/bias", t[f"{ours}.affine.bias"].numpy()),
        ]
    for k, width in enumerate(generator.arch.channels):
        weight, bias = _rgb1(t, generator, k, width)
        lod = f"ToRGB_lod{num - 1 - k}"
        variables += [(f"{lod}/weight", weight.numpy().transpose(2, 3, 1, 0)), (f"{lod}/bias", bias.numpy())]
    return _tf_whole(generator, {**sizes, **settings}, variables, version=3)


def _tf_whole(
    generator: StyleGAN1 | StyleGAN2, settings: Mapping[str, object], synthesis: list[tuple[str, object]], version: int
) -> Network:
    t = own(generator)
    mapping: list[tuple[str, object]] = []
    for i in range(generator.arch.mapping_layers):
        mapping += [(f"Dense{i}/weight", np.ascontiguousarray(t[f"mapping.fc{i}.weight"].numpy().T))]
        mapping += [(f"Dense{i}/bias", t[f"mapping.fc{i}.bias"].numpy())]
    whole = Network("Gs", settings, version, [("dlatent_avg", t["mapping.w_avg"].numpy())])
    whole.state["components"] = EasyDict(
        synthesis=Network("G_synthesis", settings, version, synthesis),
        mapping=Network("G_mapping", settings, version, mapping),
    )
    return whole


def save_nvidia_tf(path: Path, gs: Network, g: Network | None = None) -> Path:
    discriminator = Network("D", {"resolution": 16}, 4, [("4x4/Conv/weight", np.ones((3, 3, 2, 2), np.float32))])
    path.write_bytes(pickled((g or discriminator, discriminator, gs)))
    return path


Writer = Callable[[Path, StyleGAN2], Path]
Writer1 = Callable[[Path, StyleGAN1], Path]

STYLEGAN2: dict[str, Writer] = {
    "rosinality": save_rosinality,
    "genforce": save_genforce,
    "NVIDIA PyTorch": lambda path, generator: save_nvidia(path, nvidia_module(generator)),
    "NVIDIA TensorFlow": lambda path, generator: save_nvidia_tf(path, nvidia_tf2(generator)),
}


def save_idinvert(path: Path, generator: StyleGAN1) -> Path:
    torch.save(idinvert(generator), path)
    return path


STYLEGAN1: dict[str, Writer1] = {
    "genforce": save_genforce,
    "NVIDIA TensorFlow": lambda path, generator: save_nvidia_tf(path, nvidia_tf1(generator)),
    "IDInvert": save_idinvert,
}
