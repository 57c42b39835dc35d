"""Generators written in the formats that others read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from zinv.errors import CheckpointError
from zinv.generators.checkpoints import genforce, rosinality
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture

Writable = StyleGAN1 | StyleGAN2


def write_zinv(generator: Writable, path: Path) -> None:
    """Zinv's own safetensors, with all of the architecture."""
    generator.save(path, source=generator.sha256)


def write_rosinality(generator: Writable, path: Path) -> None:
    """What `stylegan2-pytorch` calls `g_ema`, and `latent_avg`.

    Raises:
        CheckpointError: a StyleGAN1, which that repository lacks.
    """
    if not isinstance(generator.arch, StyleGAN2Architecture):
        raise CheckpointError("rosinality's format holds StyleGAN2 alone")
    _save(rosinality.state_dict(generator.arch, generator.tensors()), path)


def write_genforce(generator: Writable, path: Path) -> None:
    """What genforce and BDInvert call `generator_smooth`.

    Raises:
        CheckpointError: a StyleGAN1 of another build than genforce's files can tell.
    """
    arch = generator.arch
    if isinstance(arch, StyleGAN1Architecture):
        fused = [4 << k for k in range(1, len(arch.channels)) if (4 << k >= arch.fused_from) != (4 << k >= 128)]
        other = "tanh" if arch.tanh else f"up-sampling fused from {arch.fused_from} pixels" if fused else ""
        if other:
            raise CheckpointError(f"genforce's format does not tell {other}")
    _save(genforce.state_dict(arch, generator.tensors()), path)


WRITERS: Final[dict[str, Callable[[Writable, Path], None]]] = {
    "zinv": write_zinv,
    "rosinality": write_rosinality,
    "genforce": write_genforce,
}
SUFFIXES: Final = {".safetensors": "zinv", ".pt": "rosinality", ".pth": "genforce"}


def remarks(generator: Writable, format: str) -> list[str]:
    """What a file of a format does not tell of a generator, or the format's own code cannot load."""
    arch, said = generator.arch, []
    if format != "zinv" and getattr(arch, "clamp", None) is not None:
        said.append(f"{format}'s format does not tell that layers are clamped")
    if format == "rosinality":
        if arch.channels not in rosinality.stock_widths(arch.resolution) or arch.z_dim != arch.w_dim:
            said.append("rosinality's own code builds other widths, and loads it only when changed")
    return said


def _save(content: dict[str, object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:  # given a path, torch raises a RuntimeError
            torch.save(content, file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
