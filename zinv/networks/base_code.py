"""BDInvert's base-code encoder (Kang et al. 2021): a picture to the feature map that synthesis starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from zinv import weights
from zinv.errors import WeightsError
from zinv.images import Resize, resize
from zinv.unpickle import Plain, load

KIND = "base code encoder"
STAGES, CONVS = 3, 3
SHRINK = 8
COUNTER = "num_batches_tracked"
NORM = ("weight", "bias", "running_mean", "running_var")


class BaseCodeEncoder(nn.Module):
    """Three stages of three convolutions with BatchNorm, halved after each, then two at the feature's width.

    The layout of `model` is that of the published files: convolutions at 0, 3, 6 | 10, 13, 16 | 20, 23, 26 | 30, 33.

    Args:
        size: side of the base code; pictures are seen at eight times that.
        channels: of the base code.
        width: channels of the first stage, which double each stage.
        max_width: of a stage.
        resize: how pictures come to the encoder's size.
    """

    def __init__(
        self, size: int, channels: int, width: int = 128, max_width: int = 512, resize: Resize = "lanczos"
    ) -> None:
        super().__init__()
        self.size, self.channels, self.width, self.max_width, self.resize = size, channels, width, max_width, resize
        layers: list[nn.Module] = []
        before = 3
        for stage in range(STAGES):
            wide = min(width * 2**stage, max_width)
            for _ in range(CONVS):
                layers += _block(before, wide)
                before = wide
            layers.append(nn.AvgPool2d(2))
        self.model = nn.Sequential(*layers, *_block(before, channels), _conv(channels, channels))

    @property
    def input_size(self) -> int:
        """Side of the pictures that the first layer sees."""
        return self.size * SHRINK

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] to base codes `(N, channels, size, size)`."""
        code: Tensor = self.model(resize(images, self.input_size, self.resize))
        return code

    def metadata(self, generator: str, point: str) -> dict[str, str]:
        """What a file says beside the tensors: the architecture, and what it encodes for."""
        fields = {"size": self.size, "channels": self.channels, "width": self.width, "max_width": self.max_width}
        architecture = json.dumps({**fields, "resize": self.resize})
        return {"kind": KIND, "architecture": architecture, "generator": generator, "point": point}

    @classmethod
    def load(cls, name: str, generator: str, point: str, channels: int) -> Self:
        """The frozen encoder of a weight file: zinv's, or a published torch file.

        Args:
            name: weight name or path; `untrained/0` is a narrow one with random weights of seed 0, for tests.
            generator: sha256 of the generator; a published file names none.
            point: where the base code goes in, "b16.conv0".
            channels: of the generator's feature there.

        Raises:
            WeightsError: there is no such file, or it is not an encoder for this generator and point.
        """
        size = int(point[1:].split(".")[0])
        if name.startswith(weights.UNTRAINED):
            return cls._untrained(weights.untrained_seed(name), size, channels)
        path = weights.find(name)
        is_own = path.suffix == ".safetensors"
        encoder = cls._own(path, generator, point) if is_own else cls._published(path, size)
        if encoder.channels != channels:
            raise WeightsError(f"{path}: base codes of {encoder.channels} channels; {point} has {channels}.")
        return encoder.eval().requires_grad_(False)

    @classmethod
    def _untrained(cls, seed: int, size: int, channels: int) -> Self:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(size, channels, width=8).eval().requires_grad_(False)

    @classmethod
    def _own(cls, path: Path, generator: str, point: str) -> Self:
        tensors, metadata = weights.read(path)
        if metadata.get("kind") != KIND:
            raise WeightsError(f"{path}: holds {metadata.get('kind', 'something else')}, not a {KIND}.")
        if metadata["generator"] != generator:
            trained = metadata["generator"][:8]
            raise WeightsError(f"{path}: trained for generator {trained}…, not for {generator[:8]}….")
        if metadata["point"] != point:
            raise WeightsError(f"{path}: trained for {metadata['point']}, not for {point}.")
        try:
            fields = json.loads(metadata["architecture"])
            return cls._filled(tensors, **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: not a {KIND} ({error}).") from error

    @classmethod
    def _published(cls, path: Path, size: int) -> Self:
        def encoder_of(tree: Plain) -> Plain:
            return tree.get("encoder", tree) if isinstance(tree, dict) else {}

        content = load(path, select=encoder_of)
        state = {str(k): x for k, x in content.items() if isinstance(x, Tensor)} if isinstance(content, dict) else {}
        try:
            width, max_width, channels = (state[f"model.{i}.weight"].shape[0] for i in (0, 20, 33))
            return cls._filled(state, size, channels, width, max_width)
        except (KeyError, IndexError, ValueError) as error:
            raise WeightsError(f"{path}: not a {KIND} ({error}).") from error

    @classmethod
    def _filled(
        cls,
        state: Mapping[str, Tensor],
        size: int,
        channels: int,
        width: int,
        max_width: int,
        resize: Resize = "lanczos",
    ) -> Self:
        """An encoder with the tensors of a file, whose shapes are checked before memory is taken for it."""
        shapes = tensor_shapes(channels, width, max_width)
        names = {name for name in state if not name.endswith(COUNTER)}
        wrong = sorted(name for name in shapes.keys() | names if _shape(state, name) != shapes.get(name))
        if wrong:
            raise ValueError(f"{wrong[0]}: missing, unknown or of another shape")
        encoder = cls(size, channels, width, max_width, resize)
        encoder.load_state_dict(state, strict=False)  # some files have no counters
        return encoder


def tensor_shapes(channels: int, width: int, max_width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an encoder's tensors, without its batch counters."""
    places = [10 * stage + 3 * i for stage in range(STAGES) for i in range(CONVS)]
    widths = [min(width * 2 ** (place // 10), max_width) for place in places] + [channels, channels]
    shapes: dict[str, tuple[int, ...]] = {}
    for place, before, wide in zip([*places, 30, 33], [3, *widths], widths, strict=False):
        shapes |= {f"model.{place}.weight": (wide, before, 3, 3), f"model.{place}.bias": (wide,)}
        if place != 33:
            shapes |= {f"model.{place + 1}.{part}": (wide,) for part in NORM}
    return shapes


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [_conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
