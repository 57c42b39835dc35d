"""The invertibility predictor of a generator: zinv's own, the published one, or an untrained one for a toy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from zinv import weights
from zinv.errors import WeightsError
from zinv.generators.base import Generator
from zinv.generators.checkpoints import sam
from zinv.generators.checkpoints.formats import read_checkpoint
from zinv.networks.deeplab import DeepLabPredictor
from zinv.networks.invertibility import KIND, InvertibilityNet

MAX_SIZE: Final = 64  # of an untrained one
PUBLISHED: Final = {"F4": "b16.out", "F6": "b32.out", "F8": "b64.out", "F10": "b128.out"}


Predictor: TypeAlias = InvertibilityNet | DeepLabPredictor
"""Its first map is of the code, the others of points."""


def load_predictor(name: str, generator: Generator, space: str, points: Sequence[str]) -> tuple[Predictor, str]:
    """The frozen predictor of a weight file, zinv's or the published torch file, and where it comes from.

    Args:
        name: weight name or path; "auto" finds the one trained for these; `untrained/0` is a random one of seed 0.
        generator: whose layers it judges; a published file names none.
        space: label of the code's space; a published file's is W+, and stands for any.
        points: the other candidates.

    Raises:
        WeightsError: there is no such file, or it is not a predictor for this generator, space and points.
    """
    name = _find(generator, space, points) if name == "auto" else name
    if name.startswith(weights.UNTRAINED):
        size = min(MAX_SIZE, generator.resolution)
        network = InvertibilityNet.untrained([space, *points], size, weights.untrained_seed(name))
        return _frozen(network), "untrained"
    path = weights.find(name)
    if path.suffix == ".safetensors":
        return _frozen(_own(path, generator, [space, *points])), "trained"
    return _frozen(_published(path, points)), "published, for W+"


def _frozen(network: Predictor) -> Predictor:
    return network.eval().requires_grad_(False)


def _find(generator: Generator, space: str, points: Sequence[str]) -> str:
    for name in weights.names():
        facts = weights.metadata(weights.find(name))
        if facts.get("kind") == KIND and facts.get("generator") == generator.sha256:
            if json.loads(facts["architecture"])["candidates"] == [space, *points]:
                return name
    if not generator.trained:
        return f"{weights.UNTRAINED}0"
    raise WeightsError(
        f"method.predictor=auto: no {KIND} was trained for generator {generator.sha256[:8]}… and {space}, "
        f"{', '.join(points)}. Train one with `zinv train model=invertibility`, or name its file."
    )


def _own(path: Path, generator: Generator, candidates: Sequence[str]) -> InvertibilityNet:
    network, facts = InvertibilityNet.load(path)
    if facts["generator"] != generator.sha256:
        theirs = facts["generator"][:8]
        raise WeightsError(f"{path}: trained for generator {theirs}…, not for {generator.sha256[:8]}….")
    if network.candidates != tuple(candidates):
        theirs = ", ".join(network.candidates)
        raise WeightsError(f"{path}: trained for {theirs}, not for {', '.join(candidates)}.")
    return network


def _published(path: Path, points: Sequence[str]) -> DeepLabPredictor:
    found = read_checkpoint(path)
    if found.format != sam.FORMAT or not isinstance(found.architecture, dict):
        raise WeightsError(f"{path}: holds {found.what}, not an {KIND}.")
    names = str(found.architecture["spaces"]).split(",")
    theirs = [PUBLISHED.get(name, name) for name in names[1:]]
    if theirs != list(points):
        both = f"{', '.join(names)}, which is {', '.join(theirs)}; not for {', '.join(points)}"
        raise WeightsError(f"{path}: trained for {both}.")
    network = DeepLabPredictor(names, bool(found.architecture["dropout"]))
    network.load_state_dict({f"heads.{k}" if k.partition(".")[0] in names else k: x for k, x in found.tensors.items()})
    return network
