"""Small networks of the portraits domain: identity, attributes, perceptual features. All see 64 x 64 pixels.

None has a norm layer: an image's result never depends on its batch, training and evaluation mode are one, and on a CPU
a step takes half the time. Residual branches start small instead (`BRANCH_GAIN`), as in norm-free networks.
"""

from __future__ import annotations

import json
from typing import ClassVar, Literal, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv import weights
from zinv.errors import WeightsError
from zinv.images import resize
from zinv.weights import Weights

Architecture: TypeAlias = "dict[str, int | str | list[int] | list[str]]"

RESOLUTION = 64
BRANCH_GAIN = 0.3
HIDDEN = 128


class PortraitNet(nn.Module):
    """Base of the three: a network whose weight file names its kind and architecture."""

    kind: ClassVar[str]

    def architecture(self) -> Architecture:
        """The constructor's arguments."""
        raise NotImplementedError

    def metadata(self) -> dict[str, str]:
        """What `load` needs beside the tensors."""
        return {"kind": self.kind, "architecture": json.dumps(self.architecture())}

    @classmethod
    def load(cls, name: str) -> Self:
        """The frozen network of a weight file.

        Raises:
            WeightsError: there is no such file, or it holds another network.
        """
        path = weights.find(name)
        tensors, metadata = weights.read(path)
        found = metadata.get("kind", "a network that names no kind")
        if found != cls.kind:
            raise WeightsError(f"{path}: holds {found}, not {cls.kind}.")
        network = cls(**json.loads(metadata["architecture"]))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise WeightsError(f"{path}: its tensors do not fit its architecture ({error}).") from error
        return network.eval().requires_grad_(False)


class IdentityNet(PortraitNet):
    """Residual convolutions to a unit vector; the cosine of two vectors says how alike two persons are.

    The last map is flattened, not pooled: who someone is lies in where things are.

    Args:
        widths: channels at 32, 16, 8 and 4 pixels.
        blocks: residual blocks at 32, 16 and 8 pixels.
        dim: length of the vector.
    """

    kind = "portraits identity"

    def __init__(
        self, widths: tuple[int, ...] = (32, 64, 96, 64), blocks: tuple[int, ...] = (1, 2, 1), dim: int = 128
    ) -> None:
        super().__init__()
        self.widths, self.blocks, self.dim = tuple(widths), tuple(blocks), dim
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), _conv(12, widths[0])]
        for width, following, num in zip(widths, widths[1:], blocks, strict=False):
            layers += [*(_Residual(width) for _ in range(num)), _conv(width, following, stride=2)]
        self.body = nn.Sequential(*layers, nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(widths[-1] * 16, dim)

    def architecture(self) -> Architecture:
        """The constructor's arguments."""
        return {"widths": list(self.widths), "blocks": list(self.blocks), "dim": self.dim}

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] to unit vectors `(N, dim)`."""
        return F.normalize(self.head(self.body(resize(images, RESOLUTION))).float(), dim=1)


class AttributeNet(PortraitNet):
    """Attribute values in the domain's units; a binary one as its probability.

    Two kinds, so that one can judge what the other steers: `plain` is a stack of convolutions from 32 pixels on,
    `residual` starts from patches of 4 x 4 pixels.

    Args:
        names: attributes, in the order of the columns.
        binary: those that are present or not.
        style: the kind of layers.
        width: channels of the first map.
    """

    kind = "portraits attributes"

    def __init__(
        self,
        names: tuple[str, ...],
        binary: tuple[str, ...] = (),
        style: Literal["plain", "residual"] = "plain",
        width: int = 32,
    ) -> None:
        super().__init__()
        self.names, self.binary, self.style, self.width = tuple(names), tuple(binary), style, width
        self.body, last = _plain(width) if style == "plain" else _residual(width)
        self.head = nn.Sequential(nn.Linear(16 * last, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(names)))
        self.register_buffer("is_binary", torch.tensor([name in self.binary for name in self.names]), persistent=False)
        self.is_binary: Tensor

    def architecture(self) -> Architecture:
        """The constructor's arguments."""
        return {"names": list(self.names), "binary": list(self.binary), "style": self.style, "width": self.width}

    def logits(self, images: Tensor) -> Tensor:
        """As `forward`, with log odds for the binary ones; linear where probabilities saturate."""
        values: Tensor = self.head(self.body(resize(images, RESOLUTION)))
        return values.float()

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] to `(N, len(names))`."""
        logits = self.logits(images)
        return torch.where(self.is_binary, logits.sigmoid(), logits)


class PerceptualNet(PortraitNet):
    """Feature maps whose weighted distance judges what a plain pixel error cannot: texture, edges, parts, expression.

    As LPIPS (Zhang et al. 2018, eq. 1): unit length over channels, squared difference, a weight a channel, mean over
    places, sum over channels and taps. The distance of two random portraits is 1 on average, and the taps have equal
    shares in it.

    Args:
        widths: channels of the taps at 32, 16, 8 and 4 pixels.
    """

    kind = "portraits perceptual"

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 112)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        first = nn.Sequential(nn.PixelUnshuffle(2), *_stage(12, widths[0], stride=1))
        rest = (_stage(i, o, stride=2) for i, o in zip(widths, widths[1:], strict=False))
        self.stages = nn.ModuleList([first, *rest])
        self.register_buffer("scale", torch.ones(sum(widths)))  # the channels' weights, tap after tap
        self.scale: Tensor

    def architecture(self) -> Architecture:
        """The constructor's arguments."""
        return {"widths": list(self.widths)}

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """`(N, 3, H, W)` in [-1, 1] to maps, that of 32 pixels first."""
        x, maps = resize(images, RESOLUTION), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def differences(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
        """Mean squared difference of two sets of feature maps in each channel, `(N, sum(widths))`, unweighted."""
        pairs = zip(a, b, strict=True)
        return torch.cat([(_unit(x) - _unit(y)).square().sum((2, 3)) / x[0, 0].numel() for x, y in pairs], 1)

    def distance(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
        """Distance `(N,)` of two sets of feature maps."""
        return self.differences(a, b) @ self.scale

    def map(self, images: Tensor, target: Tensor) -> Tensor:
        """Where two batches of images differ, `(N, 1, 64, 64)`: each tap's map, bilinearly upsampled, summed."""
        size, maps = (RESOLUTION, RESOLUTION), []
        for scale, x, y in zip(
            self.scale.split(self.widths), self.features(images), self.features(target), strict=True
        ):
            found = (scale[:, None, None] * (_unit(x) - _unit(y)).square()).sum(1, keepdim=True)
            maps.append(F.interpolate(found, size=size, mode="bilinear", align_corners=False))
        return torch.stack(maps).sum(0)

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Distance `(N,)` of two batches of images."""
        return self.distance(self.features(images), self.features(target))


def load_identity(name: Weights = "portraits/identity") -> IdentityNet:
    """The identity network of a weight file."""
    return IdentityNet.load(name)


def load_attributes(name: Weights = "portraits/attributes") -> AttributeNet:
    """The attribute network of a weight file; `portraits/attributes_second` is the one to score with."""
    return AttributeNet.load(name)


def load_perceptual(name: Weights = "portraits/perceptual") -> PerceptualNet:
    """The perceptual network of a weight file."""
    return PerceptualNet.load(name)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.SiLU(), _conv(width, width), nn.SiLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.branch(x)
        return x + BRANCH_GAIN * change


def _plain(width: int) -> tuple[nn.Sequential, int]:
    """From 32 pixels to 4, and the channels there."""
    widths = (12, width, width, 2 * width, 2 * width, 3 * width, 3 * width, 3 * width // 2)
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [_conv(inputs, outputs, stride=2 if i in (2, 4, 6) else 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten()), widths[-1]


def _residual(width: int) -> tuple[nn.Sequential, int]:
    """From 16 pixels to 4, and the channels there."""
    widths = (width, 3 * width // 2, 3 * width // 8)
    layers: list[nn.Module] = [nn.PixelUnshuffle(4), _conv(48, width)]
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [_Residual(inputs), _conv(inputs, outputs, stride=2)]
    return nn.Sequential(*layers, nn.SiLU(), nn.Flatten()), widths[-1]


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    act = nn.LeakyReLU(0.2, inplace=True)
    return nn.Sequential(_conv(inputs, outputs, stride), act, _conv(outputs, outputs), act)


def _unit(features: Tensor) -> Tensor:
    return features * (torch.linalg.vector_norm(features, dim=1, keepdim=True).square() + 1e-8).rsqrt()
