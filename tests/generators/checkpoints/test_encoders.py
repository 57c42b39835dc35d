"""Others' encoders are recognised, held to their layout, and called by name where a generator is wanted.

The layouts are modules with the originals' names, of the published sizes on the meta device, small where they may be.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from zinv.errors import CheckpointError
from zinv.generators import load_generator
from zinv.generators.checkpoints.base import Tensors
from zinv.generators.checkpoints.formats import read_checkpoint, recognise
from zinv.networks.base_code import BaseCodeEncoder


class Named(nn.Module):
    """A module of named parts."""

    def __init__(self, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def conv(before: int, width: int, side: int = 3, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(before, width, side, bias=bias)


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width)


# IDInvert


class Bias(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))


def in_domain(widths: list[int], w_dim: int) -> nn.Module:
    """Block 0, residual blocks of these widths, and the last, fully connected one."""
    blocks: dict[str, nn.Module] = {"block0": Named(conv=conv(3, widths[0]), bn=Named(bn=norm(widths[0])))}
    for i in range(1, len(widths)):
        before, width = widths[i - 1], widths[i]
        hidden = min(before, width)
        parts = {"conv1": conv(before, hidden), "wscale1": Bias(hidden), "bn1": Named(bn=norm(hidden))}
        parts |= {"conv2": conv(hidden, width), "wscale2": Bias(width), "bn2": Named(bn=norm(width))}
        if before != width:
            parts |= {"conv": conv(before, width, 1), "bn": Named(bn=norm(width))}
        blocks[f"block{i}"] = Named(**parts)
    outputs = w_dim * 2 * len(widths)
    last = Named(fc=nn.Linear(widths[-1] * 16, outputs, bias=False), bn=Named(bn=norm(outputs)))
    return Named(**blocks, **{f"block{len(widths)}": last})


# e4e


def e4e(num_ws: int) -> nn.Module:
    body, before = nn.Sequential(), 64
    for depth, num in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for _ in range(num):
            excite = Named(fc1=conv(depth, depth // 16, 1), fc2=conv(depth // 16, depth, 1))
            layers = [norm(before), conv(before, depth), nn.PReLU(depth), conv(depth, depth), norm(depth), excite]
            short = nn.Sequential(conv(before, depth, 1), norm(depth)) if before != depth else nn.MaxPool2d(1)
            body.append(Named(res_layer=nn.Sequential(*layers), shortcut_layer=short))
            before = depth
    heads = nn.ModuleList()
    for i in range(num_ws):
        convs = nn.Sequential()
        for _ in range(4 if i < 3 else 5 if i < 7 else 6):
            convs.extend([conv(512, 512, bias=True), nn.LeakyReLU()])
        heads.append(Named(convs=convs, linear=nn.Linear(512, 512)))
    first = nn.Sequential(conv(3, 64), norm(64), nn.PReLU(64))
    lateral = {"latlayer1": conv(256, 512, 1, bias=True), "latlayer2": conv(128, 512, 1, bias=True)}
    return Named(input_layer=first, body=body, styles=heads, **lateral)


# SAM


def deeplab(dropout: bool) -> nn.Module:
    resnet = torchvision.models.resnet101()
    resnet.fc = nn.Identity()
    pools = {f"aspp{i}": Named(atrous_conv=conv(2048, 256, 1 if i == 1 else 3), bn=norm(256)) for i in range(1, 5)}
    average = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(2048, 256, 1), norm(256), nn.ReLU())
    pyramid = Named(**pools, global_avg_pool=average, conv1=conv(1280, 256, 1), bn1=norm(256))
    layers = [conv(304, 256), norm(256), nn.ReLU(), conv(256, 256), norm(256), nn.ReLU(), conv(256, 8, 1, bias=True)]
    if dropout:
        layers = [*layers[:3], nn.Dropout(0.5), *layers[3:6], nn.Dropout(0.1), layers[6]]
    decoder = Named(conv1=conv(256, 48, 1), bn1=norm(48), last_conv=nn.Sequential(*layers))
    return Named(backbone=resnet, aspp=pyramid, decoder=decoder)


def head() -> nn.Module:
    first, last = nn.ConvTranspose2d(8, 4, 3), nn.ConvTranspose2d(4, 1, 1)
    return Named(m=nn.Sequential(first, norm(4), nn.LeakyReLU(0.2), last, nn.ReLU()))


def tree_of(name: str) -> dict[str, object]:
    """A published file as a tree on the meta device."""
    with torch.device("meta"):
        if name == "e4e":
            state = {f"encoder.{k}": x for k, x in e4e(18).state_dict().items()}
            decoder = {"decoder.conv1.conv.modulation.weight": torch.empty(512, 512)}
            return {"state_dict": {**state, **decoder}, "latent_avg": torch.empty(18, 512), "opts": {"lr": 1e-4}}
        if name == "IDInvert":
            return dict(in_domain([64, 128, 256, 512, 1024, 1024, 1024], 512).state_dict())
        if name == "BDInvert":
            return {"encoder": BaseCodeEncoder(16, 512).state_dict(), "optimizer": {}, "scheduler": {}, "epoch": 10000}
        base = {f"module.{k}": x for k, x in deeplab(dropout=name == "SAM").state_dict().items()}
        heads = {space: dict(head().state_dict()) for space in ("W+", "F4", "F6", "F8", "F10")}
        return {"sd_base": base, **heads}


def state_of(tree: dict[str, object]) -> dict[str, Tensor]:
    """The state dict inside that a tensor can be taken from."""
    return next(x for x in (tree.get("state_dict"), tree.get("encoder"), tree.get("sd_base"), tree) if x)


FACTS = {
    "e4e": ("e4e encoder", {"num_ws": 18, "w_dim": 512}),
    "IDInvert": ("in-domain encoder", {"resolution": 256, "num_ws": 14, "w_dim": 512, "max_width": 1024}),
    "BDInvert": ("base-code encoder", {"width": 128, "max_width": 512, "channels": 512}),
    "SAM": ("invertibility predictor", {"spaces": "W+,F4,F6,F8,F10", "dropout": 1}),
    "SAM without dropout": ("invertibility predictor", {"spaces": "W+,F4,F6,F8,F10", "dropout": 0}),
}


@pytest.mark.parametrize("name", FACTS)
def test_the_published_encoders_are_known_by_their_layout(name: str):
    tree = tree_of(name)
    found = recognise(tree)
    arch, state = found.build(Tensors(found.tensors))
    what, facts = FACTS[name]
    assert (found.format, found.what, dict(arch)) == (name.split()[0], what, facts)
    own = {k.removeprefix("encoder.").removeprefix("module.") for k in state_of(tree) if not k.startswith("decoder")}
    assert {k.removeprefix("base.") for k in state} >= own


BROKEN = {
    "e4e": "encoder.body.3.res_layer.1.weight",
    "IDInvert": "block2.wscale1.bias",
    "BDInvert": "model.10.weight",
    "SAM": "module.backbone.layer3.22.conv2.weight",
}


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("change", ["missing", "shape", "unknown"])
def test_another_layout_is_refused_by_the_tensors_name(name: str, change: str):
    tree = tree_of(name)
    state = state_of(tree)
    last = BROKEN[name.split()[0]]
    whole = state.pop(last)
    if change == "shape":
        state[last] = torch.empty(*whole.shape, 2, device="meta")
    elif change == "unknown":
        state |= {last: whole, f"{last}.extra": whole}
    found = recognise(tree)
    end = last.removeprefix("encoder.").removeprefix("module.")
    with pytest.raises(CheckpointError, match=rf"{end}.*: (not in the file|shape|no tensor)"):
        found.build(Tensors(found.tensors))


NO_LAYOUT = {
    "BDInvert": ("model.0.weight", torch.ones(()), "a base-code encoder without widths"),
    "IDInvert": (
        "block7.fc.weight",
        torch.ones(13, 16),
        r"block7\.fc\.weight: shape \(13, 16\) is no row of w for each",
    ),
    "SAM": ("module.decoder.last_conv.8.weight", None, r"last_conv: neither of the two published decoders, with drop"),
    "e4e": (
        "encoder.styles.0.linear.weight",
        torch.ones(3),
        r"styles\.0\.linear\.weight: shape \(3,\) does not fit the",
    ),
}


@pytest.mark.parametrize("name", NO_LAYOUT)
def test_what_tells_the_sizes_is_checked_first(name: str):
    tensor, change, words = NO_LAYOUT[name]
    tree = tree_of(name)
    del state_of(tree)[tensor]
    if change is not None:
        state_of(tree)[tensor] = change
    found = recognise(tree)
    with pytest.raises(CheckpointError, match=words):
        found.build(Tensors(found.tensors))


@pytest.mark.parametrize("inside", [True, False])
def test_a_base_code_encoder_from_a_file_has_its_tensors(tmp_path: Path, inside: bool):
    encoder = BaseCodeEncoder(16, channels=6, width=4, max_width=12)
    state = encoder.state_dict()
    torch.save({"encoder": state, "epoch": 1} if inside else state, tmp_path / "encoder.pth")
    found = read_checkpoint(tmp_path / "encoder.pth")
    again = BaseCodeEncoder(16, 6, 4, 12)
    again.load_state_dict(found.tensors)
    assert found.architecture == {"width": 4, "max_width": 12, "channels": 6}
    assert all(torch.equal(x, y) for x, y in zip(again.state_dict().values(), state.values(), strict=True))


def test_a_small_in_domain_encoder_from_a_file_has_its_tensors(tmp_path: Path):
    state = in_domain([4, 8, 8], 5).state_dict()
    torch.save(state, tmp_path / "encoder.pth")
    found = read_checkpoint(tmp_path / "encoder.pth")
    assert found.architecture == {"resolution": 16, "num_ws": 6, "w_dim": 5, "max_width": 8}
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], x) for name, x in state.items())


def test_where_a_generator_is_wanted_an_encoder_is_called_by_name(tmp_path: Path):
    path = tmp_path / "encoder.pth"
    torch.save({"encoder": BaseCodeEncoder(16, 6, 4, 12).state_dict()}, path)
    words = (
        r"encoder\.pth: no generator; it is BDInvert base-code encoder: "
        r"width 4, max_width 12, channels 6, [\d,]+ parameters, sha256 [0-9a-f]{16}…\.$"
    )
    with pytest.raises(CheckpointError, match=words):
        load_generator(str(path))
