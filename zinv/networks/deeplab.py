"""The predictor that SAM's authors published: DeepLabV3+ (Chen et al. 2018) on ResNet-101, and a head for each space.

Modules are named as the tensors of their file, after `zinv.generators.checkpoints.sam` has joined its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zinv.images import resize

SIZE: Final = 256  # that it was trained at
RESNET101: Final = (3, 4, 23, 3)
STRIDES: Final = (1, 2, 2, 1)  # output stride 16
MULTI_GRID: Final = (2, 4, 8)  # dilations of the last stage's units: twice 1, 2, 4
RATES: Final = (1, 6, 12, 18)
HIDDEN: Final = 8


class DeepLabPredictor(nn.Module):
    """Pictures to a map for each space, at 256 pixels; images are for themselves, as its norms are frozen.

    Args:
        candidates: names of the spaces, which the heads have too.
        dropout: whether its decoder was trained with dropout, which its tensors' names tell.
        blocks: residual units a stage.
        width: channels of the first stage.
    """

    size: int = SIZE

    def __init__(
        self, candidates: Sequence[str], dropout: bool = True, blocks: Sequence[int] = RESNET101, width: int = 64
    ) -> None:
        super().__init__()
        self.candidates = tuple(candidates)
        self.base = DeepLab(dropout, blocks, width)
        self.heads = nn.ModuleDict({space: Head() for space in candidates})

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] to maps `(N, candidates, 256, 256)`, 0 or more."""
        hidden = self.base(resize(images, self.size))
        return torch.cat([self.heads[space](hidden) for space in self.candidates], 1)


class Head(nn.Module):
    """Features to one map."""

    def __init__(self) -> None:
        super().__init__()
        first, last = nn.ConvTranspose2d(HIDDEN, 4, 3, padding=1), nn.ConvTranspose2d(4, 1, 1)
        self.m = nn.Sequential(first, nn.BatchNorm2d(4), nn.LeakyReLU(0.2), last, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 8, H, W)` to `(N, 1, H, W)`."""
        maps: Tensor = self.m(x)
        return maps


class DeepLab(nn.Module):
    """Backbone, pyramid of dilated convolutions, decoder; up-sampling keeps corners on corners."""

    def __init__(self, dropout: bool, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        self.backbone = ResNet(blocks, width)
        self.aspp = Pyramid(32 * width)
        self.decoder = Decoder(4 * width, dropout)

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` to `(N, 8, H, W)`."""
        coarse, fine = self.backbone(images)
        return _up(self.decoder(self.aspp(coarse), fine), images)


class ResNet(nn.Module):
    """ResNet of bottleneck units, with output stride 16."""

    def __init__(self, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        before = width
        for stage, (num, stride) in enumerate(zip(blocks, STRIDES, strict=True)):
            dilations = MULTI_GRID if stage == 3 else (1,) * num
            units = []
            for i, dilation in zip(range(num), dilations, strict=False):
                units.append(Bottleneck(before, width << stage, stride if i == 0 else 1, dilation, i == 0))
                before = 4 * width << stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*units))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures to features of stride 16, and of stride 4."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        fine = self.get_submodule("layer1")(x)
        x = fine
        for stage in (2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return x, fine


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int, dilation: int, projected: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        shortcut = [nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)]
        self.downsample = nn.Sequential(*shortcut if projected else [])

    def forward(self, x: Tensor) -> Tensor:
        """Features to features."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class Pyramid(nn.Module):
    """Convolutions of four dilations and the mean over the picture, joined."""

    def __init__(self, before: int, width: int = 256) -> None:
        super().__init__()
        for i, rate in enumerate(RATES):
            self.add_module(f"aspp{i + 1}", Dilated(before, width, rate))
        mean = nn.AdaptiveAvgPool2d(1), nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        self.global_avg_pool = nn.Sequential(*mean)
        self.conv1, self.bn1 = nn.Conv2d(5 * width, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Features to features of the same side."""
        dilated = [self.get_submodule(f"aspp{i + 1}")(x) for i in range(len(RATES))]
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[-2:])
        return F.relu(self.bn1(self.conv1(torch.cat([*dilated, mean], 1))))


class Dilated(nn.Module):
    """A convolution with a norm."""

    def __init__(self, before: int, width: int, rate: int) -> None:
        super().__init__()
        side, padding = (1, 0) if rate == 1 else (3, rate)
        self.atrous_conv = nn.Conv2d(before, width, side, padding=padding, dilation=rate, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Features to features."""
        return F.relu(self.bn(self.atrous_conv(x)))


class Decoder(nn.Module):
    """Coarse features beside fine ones."""

    def __init__(self, fine: int, dropout: bool, width: int = 256, kept: int = 48) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fine, kept, 1, bias=False), nn.BatchNorm2d(kept)
        layers: list[nn.Module] = []
        for before, share in ((width + kept, 0.5), (width, 0.1)):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Dropout(share)] if dropout else []
        self.last_conv = nn.Sequential(*layers, nn.Conv2d(width, HIDDEN, 1))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Both to features of the finer side."""
        own = F.relu(self.bn1(self.conv1(fine)))
        hidden: Tensor = self.last_conv(torch.cat([_up(coarse, own), own], 1))
        return hidden


def _up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
