"""StyleGAN1 as a Generator, whole or above a base code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from zinv.errors import ConfigError
from zinv.generators.base import BaseCode, FeatureEdit, Generator, Noise, Styles, Unfilled, fill
from zinv.networks.stylegan1 import MappingNetwork, StyleGAN1Architecture, SynthesisNetwork, layer_names
from zinv.weights import digest, write


class StyleGAN1(Generator):
    """StyleGAN1 from its two networks; `start` makes it a view above a base code.

    A style `(N, 2 C)` is what its layer's normalisation is followed by: scales, to which 1 is added, and shifts. A base
    code at "b16.conv0" comes before that normalisation, so it counts up to a scale and a shift of each channel.

    Args:
        arch: widths and depths.
        mapping: the mapping network.
        synthesis: the synthesis network.
        start: point of the base code that this view starts from; None for the whole generator.
        sha256: digest of the file; computed from the tensors if not given.
    """

    kind = "stylegan1"
    base_is_exact = True

    def __init__(
        self,
        arch: StyleGAN1Architecture,
        mapping: MappingNetwork,
        synthesis: SynthesisNetwork,
        start: str | None = None,
        sha256: str | None = None,
    ):
        super().__init__()
        self.arch, self.start = arch, start
        self.mapping_network, self.synthesis_network = mapping, synthesis
        self.requires_grad_(False).eval()
        names = layer_names(arch)
        self.layers = [name for name in names if start is None or _order(name) >= _order(start)]
        self.first_ws, self.num_ws = arch.num_ws - len(self.layers), len(self.layers)
        self.noise_layers = [name for name in self.layers if name != start]
        self.resolution, self.z_dim, self.w_dim = arch.resolution, arch.z_dim, arch.w_dim
        self.w_per_layer = arch.w_per_layer
        self.style_dims = tuple(2 * arch.channels[names.index(name) // 2] for name in self.layers)
        self.style_names = tuple(self.layers)
        self.points = tuple(_points(arch, start))
        self.sha256 = sha256 or digest(self.tensors())

    @property
    def w_avg(self) -> Tensor:  # type: ignore[override]
        return self.mapping_network.w_avg

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        return tuple((side, side) for side, _ in map(_order, self.noise_layers))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name; those of StyleGAN2's PyTorch checkpoints where there are such."""
        mapping = {f"mapping.{k}": v for k, v in self.mapping_network.state_dict().items()}
        return mapping | {f"synthesis.{k}": v for k, v in self.synthesis_network.state_dict().items()}

    def mapping(self, z: Tensor, normalize: bool = True) -> Tensor:
        w: Tensor = self.mapping_network(z, normalize)
        return w[:, self.first_ws :] if self.w_per_layer else w

    def affine(self, ws: Tensor) -> Styles:
        rows = zip(self.layers, ws.unbind(1), strict=True)
        return tuple(self.synthesis_network.layer(name).affine(row) for name, row in rows)

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

    def above(self, point: str) -> StyleGAN1:
        self.check_point(point)
        view = StyleGAN1(self.arch, self.mapping_network, self.synthesis_network, point, self.sha256)
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
        by_name = dict(zip(self.layers, styles, strict=True))
        changes = {point: (edit.value, edit.keep) for point, edit in (edits or {}).items()}
        return self.synthesis_network(by_name, self._noise(noise), base, changes, taps)

    def _noise(self, noise: Noise) -> dict[str, Tensor]:
        if noise == "none":
            return {}
        if noise == "const":
            return {name: self.synthesis_network.layer(name).noise_const[None, None] for name in self.noise_layers}
        return dict(zip(self.noise_layers, noise, strict=True))


def _order(name: str) -> tuple[int, int]:
    side, part = name[1:].split(".")
    return int(side), ("conv0", "conv1", "out").index(part)


def _points(arch: StyleGAN1Architecture, start: str | None) -> list[str]:
    """Those of a StyleGAN2 of the same size: no base code of 4 pixels, and nothing after the last block."""
    names = [f"b{4 * 2**k}.{part}" for k in range(len(arch.channels)) for part in ("conv0", "out")][1:-1]
    return [name for name in names if start is None or _order(name) > _order(start)]


def new_stylegan1(arch: StyleGAN1Architecture) -> StyleGAN1:
    """An untrained StyleGAN1."""
    return StyleGAN1(arch, MappingNetwork(arch), SynthesisNetwork(arch))


def stylegan1_from_tensors(arch: StyleGAN1Architecture, tensors: Mapping[str, Tensor], sha256: str) -> StyleGAN1:
    """StyleGAN1 with the tensors of a file.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; names it.
    """
    with Unfilled():
        mapping, synthesis = MappingNetwork(arch), SynthesisNetwork(arch)
    fill({"mapping": mapping, "synthesis": synthesis}, tensors)
    return StyleGAN1(arch, mapping, synthesis, sha256=sha256)
