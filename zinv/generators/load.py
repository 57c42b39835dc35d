"""Reading a generator from a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TypeVar

from zinv.errors import CheckpointError
from zinv.generators.base import Generator
from zinv.generators.checkpoints.base import Checkpoint
from zinv.generators.checkpoints.check import NOTHING, examine, line
from zinv.generators.checkpoints.formats import read_checkpoint
from zinv.generators.stylegan1 import StyleGAN1, stylegan1_from_tensors
from zinv.generators.stylegan2 import StyleGAN2, stylegan2_from_tensors
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.weights import Weights, check_published, find, read, sha256

Architecture = TypeVar("Architecture", StyleGAN1Architecture, StyleGAN2Architecture)


def load_generator(path: Weights, check: bool = True) -> Generator:
    """The generator in a file, by path or by its name in the manifest (`portraits/generator`).

    The format is found in the content: zinv's safetensors, NVIDIA's PyTorch and TensorFlow pickles, rosinality `.pt`,
    genforce `.pth`, IDInvert's. Nothing of a file is imported, called or executed. Float32 whatever the file has.

    Args:
        path: file or weight name.
        check: examine what others' files hold, which takes seconds; one line on stderr says what was found.

    Raises:
        WeightsError: the file is missing or truncated.
        CheckpointError: the file holds something else; says what.
    """
    file = find(str(path))
    check_published(str(path), file)
    if _is_safetensors(file):
        return _own(str(path), file)
    return open_checkpoint(file, check)[0]


def open_checkpoint(file: Path, check: bool = True) -> tuple[StyleGAN1 | StyleGAN2, str]:
    """The generator in a file of another publisher, and the line that describes it.

    Raises:
        CheckpointError: the file holds something else.
    """
    checkpoint, digest = read_checkpoint(file), sha256(file)
    try:
        findings = examine(checkpoint) if check else NOTHING
        described = line(checkpoint, findings, digest)
        generator = _generator(checkpoint, digest)
    except CheckpointError as error:
        words = " ".join(str(error).split()).rstrip(".")
        raise CheckpointError(f"{file}: {words}.") from None
    if check and os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{file.name}: {described}", file=sys.stderr)
    return generator, described


def _generator(checkpoint: Checkpoint, digest: str) -> StyleGAN1 | StyleGAN2:
    arch = checkpoint.architecture
    if isinstance(arch, StyleGAN1Architecture):
        return stylegan1_from_tensors(arch, checkpoint.tensors, digest)
    if isinstance(arch, StyleGAN2Architecture):
        return stylegan2_from_tensors(arch, checkpoint.tensors, digest)
    raise CheckpointError(f"no generator; it is {line(checkpoint, NOTHING, digest)}")


def _is_safetensors(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def _own(path: str, file: Path) -> Generator:
    tensors, metadata = read(file)
    try:
        if metadata.get("kind") == "stylegan1":
            return stylegan1_from_tensors(_architecture(metadata, StyleGAN1Architecture), tensors, sha256(file))
        if metadata.get("kind") == "stylegan2":
            return stylegan2_from_tensors(_architecture(metadata, StyleGAN2Architecture), tensors, sha256(file))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    raise CheckpointError(f"{path}: it holds {metadata.get('kind', 'no generator')}, not a StyleGAN1 or StyleGAN2.")


def _architecture(metadata: dict[str, str], kind: type[Architecture]) -> Architecture:
    try:
        fields = json.loads(metadata["architecture"])
        return kind(**{**fields, "channels": tuple(fields["channels"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its architecture cannot be read ({error}).") from error
