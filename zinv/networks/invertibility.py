"""The invertibility predictor: a picture to maps of how badly each layer would reproduce each of its places."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv import weights
from zinv.errors import ConfigError, WeightsError
from zinv.images import resize

KIND: Final = "invertibility predictor"
COARSEST: Final = 4
MAX_WIDTH: Final = 8  # times the first stage's
FIRST_BIAS: Final = -1.2  # softplus(-1.2) = .26: maps begin near distances that occur


class InvertibilityNet(nn.Module):
    """A U-Net without norm layers, so that no picture's maps depend on its batch.

    SAM (Parmar et al. 2022) has DeepLabV3+ on ImageNet's ResNet-101 for this, in `zinv.networks.deeplab`.

    Args:
        candidates: what the maps are of: a space's label, then points of a generator.
        size: side that pictures are seen at and maps have, a power of two from 4 on.
        width: channels at that side; they double with each halving, up to eight times.
    """

    def __init__(self, candidates: Sequence[str], size: int = 64, width: int = 24) -> None:
        super().__init__()
        if size < COARSEST or size & (size - 1):
            raise ConfigError(f"model.size={size}: not a power of two from {COARSEST} on.")
        self.candidates, self.size, self.width = tuple(candidates), size, width
        widths = [min(width * 2**i, MAX_WIDTH * width) for i in range(int(math.log2(size // COARSEST)) + 1)]
        pairs = list(zip(widths, widths[1:], strict=False))
        self.first = _block(3, width)
        self.down = nn.ModuleList(_block(fine, coarse, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in reversed(pairs))
        self.last = nn.Conv2d(width, len(self.candidates), 1)
        nn.init.constant_(self.last.bias, FIRST_BIAS)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] to maps `(N, candidates, size, size)`, 0 where nothing would be lost."""
        finer = [self.first(resize(images, self.size))]
        for stage in self.down:
            finer.append(stage(finer[-1]))
        x = finer.pop()
        for stage in self.up:
            x = stage(torch.cat([finer.pop(), F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        return F.softplus(self.last(x))

    def metadata(self, generator: str, network: str) -> dict[str, str]:
        """What a file says beside the tensors: the architecture, its generator, the network that errors were of."""
        architecture = {"candidates": list(self.candidates), "size": self.size, "width": self.width}
        belongs = {"generator": generator, "space": self.candidates[0], "network": network}
        return {"kind": KIND, "architecture": json.dumps(architecture), **belongs}

    @classmethod
    def untrained(cls, candidates: Sequence[str], size: int, seed: int) -> Self:
        """A narrow one with random weights, for tests."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(candidates, size, width=8)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, dict[str, str]]:
        """The network of zinv's own file, and its metadata.

        Raises:
            WeightsError: it holds another network.
        """
        tensors, metadata = weights.read(path)
        if metadata.get("kind") != KIND:
            raise WeightsError(f"{path}: holds {metadata.get('kind', 'something else')}, not an {KIND}.")
        network = cls(**json.loads(metadata["architecture"]))
        network.load_state_dict(tensors)
        return network, metadata


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    act = nn.LeakyReLU(0.2)
    return nn.Sequential(_conv(inputs, outputs, stride), act, _conv(outputs, outputs), act)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.kaiming_normal_(conv.weight, 0.2)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
