"""StyleGAN2 as a Generator."""

from __future__ import annotations

from zinv.generators.stylegan import StyleGAN
from zinv.networks.stylegan import StyledLayer
from zinv.networks.stylegan2 import MappingNetwork, StyleGAN2Architecture, SynthesisNetwork, styled_layers


class StyleGAN2(StyleGAN[StyleGAN2Architecture]):
    """StyleGAN2 from its two networks, whole or above a base code, from which RGB starts at zero."""

    kind = "stylegan2"

    @staticmethod
    def networks(arch: StyleGAN2Architecture) -> tuple[MappingNetwork, SynthesisNetwork]:
        return MappingNetwork(arch), SynthesisNetwork(arch)

    @staticmethod
    def styled_layers(arch: StyleGAN2Architecture) -> list[StyledLayer]:
        return styled_layers(arch)
