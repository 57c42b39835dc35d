"""Reading a generator from a file."""

from __future__ import annotations

import json
from pathlib import Path

from zinv.errors import CheckpointError
from zinv.generators.base import Generator
from zinv.generators.stylegan2 import stylegan2_from_tensors
from zinv.networks.stylegan2 import StyleGAN2Architecture
from zinv.weights import Weights, find, read, sha256


def load_generator(path: Weights) -> Generator:
    """The generator in a file, by path or by its name in the manifest (`portraits/generator`).

    Raises:
        WeightsError: the file is missing or truncated.
        CheckpointError: the file holds something else.
    """
    file = find(str(path))
    tensors, metadata = read(file)
    if metadata.get("kind") != "stylegan2":
        raise CheckpointError(f"{path}: it holds {metadata.get('kind', 'no generator')}, not a StyleGAN2.")
    return stylegan2_from_tensors(_architecture(file, metadata), tensors, sha256(file))


def _architecture(path: Path, metadata: dict[str, str]) -> StyleGAN2Architecture:
    try:
        fields = json.loads(metadata["architecture"])
        return StyleGAN2Architecture(**{**fields, "channels": tuple(fields["channels"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its architecture cannot be read ({error}).") from error
