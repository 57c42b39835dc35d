"""The manifest of weight files that others publish: the user fetches them, zinv finds and checks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Published:
    """One published file.

    Attributes:
        files: names that the file may have in a weight folder; the first is the publisher's.
        source: where to get it.
        sha256: digest of the publisher's file, which a file of that name must have.
        licence: as its publisher states it.
        used_by: the parts that need it.
    """

    files: tuple[str, ...]
    source: str
    sha256: str
    licence: str
    used_by: str


PUBLISHED: Final[dict[str, Published]] = {
    "lpips/vgg16": Published(
        files=("vgg16-397923af.pth", "lpips/vgg16.pth"),
        source="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        used_by="metric lpips_vgg, loss term lpips",
    ),
    "lpips/alexnet": Published(
        files=("alexnet-owt-7be5be79.pth", "lpips/alexnet.pth"),
        source="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        used_by="metric and loss term lpips_alex",
    ),
    "vggface2": Published(
        files=("20180402-114759-vggface2.pt", "vggface2.pt"),
        source="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        licence="MIT (davidsandberg/facenet); trained on VGGFace2, for research",
        used_by="metric identity",
    ),
}
