"""StyleGAN1 as a Generator."""

from __future__ import annotations

from zinv.generators.stylegan import StyleGAN
from zinv.networks.stylegan import StyledLayer
from zinv.networks.stylegan1 import MappingNetwork, StyleGAN1Architecture, SynthesisNetwork, styled_layers


class StyleGAN1(StyleGAN[StyleGAN1Architecture]):
    """StyleGAN1 from its two networks, whole or above a base code.

    A style `(N, 2 C)` is what its layer's normalisation is followed by: scales, to which 1 is added, and shifts. A base
    code at "b16.conv0" comes before that normalisation, so it counts up to a scale and a shift of each channel.
    """

    kind = "stylegan1"
    base_is_exact = True

    @property
    def w_per_layer(self) -> bool:  # type: ignore[override]
        return self.arch.w_per_layer

    @staticmethod
    def networks(arch: StyleGAN1Architecture) -> tuple[MappingNetwork, SynthesisNetwork]:
        return MappingNetwork(arch), SynthesisNetwork(arch)

    @staticmethod
    def styled_layers(arch: StyleGAN1Architecture) -> list[StyledLayer]:
        return styled_layers(arch)
