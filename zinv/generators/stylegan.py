"""What StyleGAN1 and StyleGAN2 share as Generators: two networks, whole or above a base code."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import ge, gt
from pathlib import Path
from typing import Generic, Self, TypeVar

from torch import Tensor

from zinv.arithmetic import heavy
from zinv.errors import ConfigError
from zinv.generators.base import BaseCode, FeatureEdit, Generator, Noise, Styles, Unfilled, fill
from zinv.networks import stylegan1, stylegan2
from zinv.networks.stylegan import StyledLayer, block_points, order
from zinv.weights import digest, write

Architecture = TypeVar("Architecture", stylegan1.StyleGAN1Architecture, stylegan2.StyleGAN2Architecture)
MappingNetwork = stylegan1.MappingNetwork | stylegan2.MappingNetwork
SynthesisNetwork = stylegan1.SynthesisNetwork | stylegan2.SynthesisNetwork


class StyleGAN(Generator, Generic[Architecture]):
    """A generator of two networks; `start` makes it a view above a base code.

    Args:
        arch: widths and depths.
        mapping: the mapping network.
        synthesis: the synthesis network.
        start: point of the base code that this view starts from; None for the whole generator.
        sha256: digest of the file; computed from the tensors if not given.
    """

    def __init__(
        self,
        arch: Architecture,
        mapping: MappingNetwork,
        synthesis: SynthesisNetwork,
        start: str | None = None,
        sha256: str | None = None,
    ):
        super().__init__()
        self.arch: Architecture = arch
        self.start = start
        self.mapping_network, self.synthesis_network = mapping, synthesis
        self.requires_grad_(False).eval()
        is_left = ge if self.base_is_exact else gt  # a base code from before a layer's end leaves its style to it
        self.layers = [x for x in self.styled_layers(arch) if not start or is_left(order(x.name), order(start))]
        self.first_ws = self.layers[0].row
        self.num_ws = arch.num_ws - self.first_ws
        self.resolution, self.z_dim, self.w_dim = arch.resolution, arch.z_dim, arch.w_dim
        self.style_dims = tuple(layer.dim for layer in self.layers)
        self.style_names = tuple(layer.name for layer in self.layers)
        points = block_points(len(arch.channels))
        self.points = tuple(point for point in points if not start or order(point) > order(start))
        self.sha256 = sha256 or digest(self.tensors())

    @staticmethod
    @abstractmethod
    def networks(arch: Architecture) -> tuple[MappingNetwork, SynthesisNetwork]:
        """New networks of these sizes."""

    @staticmethod
    @abstractmethod
    def styled_layers(arch: Architecture) -> list[StyledLayer]:
        """All modulated layers, lowest first."""

    @classmethod
    def new(cls, arch: Architecture) -> Self:
        """An untrained generator."""
        return cls(arch, *cls.networks(arch))

    @classmethod
    def from_tensors(cls, arch: Architecture, tensors: Mapping[str, Tensor], sha256: str) -> Self:
        """The generator with the tensors of a file.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape; names it.
        """
        with Unfilled():
            mapping, synthesis = cls.networks(arch)
        fill({"mapping": mapping, "synthesis": synthesis}, tensors)
        return cls(arch, mapping, synthesis, sha256=sha256)

    @property
    def w_avg(self) -> Tensor:  # type: ignore[override]
        return self.mapping_network.w_avg

    @property
    def noise_layers(self) -> list[str]:
        """Names of the layers with noise that are computed, lowest first."""
        return [name for name in self.style_names if not name.endswith("torgb") and name != self.start]

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        return tuple((side, side) for side, _ in map(order, self.noise_layers))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; those of StyleGAN2's PyTorch checkpoints where there are such."""
        mapping = {f"mapping.{k}": v for k, v in self.mapping_network.state_dict().items()}
        return mapping | {f"synthesis.{k}": v for k, v in self.synthesis_network.state_dict().items()}

    def mapping(self, z: Tensor, normalize: bool = True) -> Tensor:
        w: Tensor = self.mapping_network(z, normalize)
        return w[:, self.first_ws :] if self.w_per_layer else w

    def affine(self, ws: Tensor) -> Styles:
        rows, network = ws.unbind(1), self.synthesis_network
        return tuple(network.layer(layer.name).affine(rows[layer.row - self.first_ws]) for layer in self.layers)

    def synthesis(
        self,
        styles: Styles,
        base: BaseCode | None = None,
        edits: Mapping[str, FeatureEdit] | None = None,
        noise: Noise = "const",
    ) -> Tensor:
        return self._run(styles, base, edits, noise, ())[0]

    def features(
        self, styles: Styles, points: Sequence[str], edits: Mapping[str, FeatureEdit] | None = None
    ) -> dict[str, Tensor]:
        return self._run(styles, None, edits, "const", points)[1]

    def above(self, point: str) -> Self:
        self.check_point(point)
        view = type(self)(self.arch, self.mapping_network, self.synthesis_network, point, self.sha256)
        view.trained = self.trained
        return view

    def save(self, path: Path, half: bool = False, **metadata: str) -> None:
        """Write zinv's own safetensors file; `load_generator` reads it."""
        described = {"kind": self.kind, "architecture": json.dumps(asdict(self.arch)), **metadata}
        write(path, self.tensors(), described, half)

    def _run(
        self,
        styles: Styles,
        base: BaseCode | None,
        edits: Mapping[str, FeatureEdit] | None,
        noise: Noise,
        taps: Sequence[str],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        for point in (*taps, *(edits or {}), *((base[0],) if base else ())):
            if point != self.start:
                self.check_point(point)
        if base is None and self.start is not None:
            raise ConfigError(f"base=None: this is what is left above {self.start}; it needs a base code there.")
        by_name = dict(zip(self.style_names, styles, strict=True))
        changes = {point: (edit.value, edit.keep) for point, edit in (edits or {}).items()}
        found: tuple[Tensor, dict[str, Tensor]]
        with heavy(self.w_avg.device):
            found = self.synthesis_network(by_name, self._noise(noise), base, changes, taps)
        return found

    def _noise(self, noise: Noise) -> dict[str, Tensor]:
        if noise == "none":
            return {}
        if noise == "const":
            layers = {name: self.synthesis_network.get_submodule(name) for name in self.noise_layers}
            return {name: layer.get_buffer("noise_const")[None, None] for name, layer in layers.items()}
        return dict(zip(self.noise_layers, noise, strict=True))
