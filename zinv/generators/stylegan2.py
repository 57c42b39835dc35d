"""StyleGAN2 as a Generator, whole or above a base code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import BaseCode, FeatureEdit, Generator, Noise, Styles, Unfilled, fill
from zinv.networks.stylegan2 import (
    MappingNetwork,
    StyledConv,
    StyleGAN2Architecture,
    SynthesisNetwork,
    styled_layers,
)
from zinv.weights import digest, write


class StyleGAN2(Generator):
    """StyleGAN2 from its two networks; `start` makes it a view above a base code.

    Args:
        arch: widths and depths.
        mapping: the mapping network.
        synthesis: the synthesis network.
        start: point of the base code that this view starts from; None for the whole generator.
        sha256: digest of the file; computed from the tensors if not given.
    """

    kind = "stylegan2"

    def __init__(
        self,
        arch: StyleGAN2Architecture,
        mapping: MappingNetwork,
        synthesis: SynthesisNetwork,
        start: str | None = None,
        sha256: str | None = None,
    ):
        super().__init__()
        self.arch, self.start = arch, start
        self.mapping_network, self.synthesis_network = mapping, synthesis
        self.requires_grad_(False).eval()
        self.layers = [layer for layer in styled_layers(arch) if start is None or _is_above(layer.name, start)]
        self.first_ws = self.layers[0].row
        self.num_ws = arch.num_ws - self.first_ws
        self.resolution, self.z_dim, self.w_dim = arch.resolution, arch.z_dim, arch.w_dim
        self.style_dims = tuple(layer.dim for layer in self.layers)
        self.style_names = tuple(layer.name for layer in self.layers)
        self.points = tuple(_points(arch, start))
        self.sha256 = sha256 or digest(self.tensors())

    @property
    def w_avg(self) -> Tensor:  # type: ignore[override]
        return self.mapping_network.w_avg

    @property
    def noise_layers(self) -> list[str]:
        """Names of the layers with noise, lowest first."""
        return [layer.name for layer in self.layers if not layer.name.endswith("torgb")]

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        return tuple((side, side) for side in (int(name[1:].split(".")[0]) for name in self.noise_layers))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under the names of the PyTorch checkpoints."""
        mapping = {f"mapping.{k}": v for k, v in self.mapping_network.state_dict().items()}
        return mapping | {f"synthesis.{k}": v for k, v in self.synthesis_network.state_dict().items()}

    def mapping(self, z: Tensor, normalize: bool = True) -> Tensor:
        return self.mapping_network(z, normalize)

    def affine(self, ws: Tensor) -> Styles:
        rows = ws.unbind(1)
        network = self.synthesis_network
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

    def above(self, point: str) -> StyleGAN2:
        self.check_point(point)
        view = StyleGAN2(self.arch, self.mapping_network, self.synthesis_network, point, self.sha256)
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
        by_name = {layer.name: style for layer, style in zip(self.layers, styles, strict=True)}
        changes = {point: (edit.value, edit.keep) for point, edit in (edits or {}).items()}
        return self.synthesis_network(by_name, self._noise(noise), base, changes, taps)

    def _noise(self, noise: Noise) -> dict[str, Tensor]:
        if noise == "none":
            return {}
        if noise == "const":
            layers = {name: self.synthesis_network.layer(name) for name in self.noise_layers}
            return {name: x.noise_const[None, None] for name, x in layers.items() if isinstance(x, StyledConv)}
        return dict(zip(self.noise_layers, noise, strict=True))


def _order(name: str) -> tuple[int, int]:
    side, part = name[1:].split(".")
    return int(side), ("conv0", "conv1", "torgb", "out").index(part)


def _is_above(name: str, point: str) -> bool:
    return _order(name) > _order(point)


def _points(arch: StyleGAN2Architecture, start: str | None) -> list[str]:
    points = []
    for k in range(len(arch.channels)):
        points += [f"b{4 * 2**k}.conv0"] if k > 0 else []
        points += [f"b{4 * 2**k}.out"] if k < len(arch.channels) - 1 else []
    return [point for point in points if start is None or _is_above(point, start)]


def new_stylegan2(arch: StyleGAN2Architecture) -> StyleGAN2:
    """An untrained StyleGAN2."""
    return StyleGAN2(arch, MappingNetwork(arch), SynthesisNetwork(arch))


def stylegan2_from_tensors(arch: StyleGAN2Architecture, tensors: Mapping[str, Tensor], sha256: str) -> StyleGAN2:
    """StyleGAN2 with the tensors of a file.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; names it.
    """
    with Unfilled():
        mapping, synthesis = MappingNetwork(arch), SynthesisNetwork(arch)
    fill({"mapping": mapping, "synthesis": synthesis}, tensors)
    return StyleGAN2(arch, mapping, synthesis, sha256=sha256)
