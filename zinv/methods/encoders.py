"""Encoders by name: found for a generator and space, read from zinv's files or their publishers', or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from torch import Tensor

from zinv import weights as weight_files
from zinv.errors import WeightsError
from zinv.generators.base import Generator
from zinv.generators.checkpoints.base import Checkpoint
from zinv.generators.checkpoints.formats import read_checkpoint
from zinv.networks.encoders import RowEncoder
from zinv.networks.in_domain import InDomainEncoder
from zinv.networks.latent_encoder import LatentEncoder
from zinv.spaces.base import LatentSpace, truncation_of

Encoder = TypeVar("Encoder", bound=RowEncoder)
PUBLISHED_ROWS: Final = "W+"  # what e4e and IDInvert published
E4E_SIZE: Final = 256


def load_encoder(kind: type[Encoder], name: str, generator: Generator, space: LatentSpace) -> tuple[Encoder, str]:
    """The frozen encoder of a weight file, and its name.

    Args:
        kind: of encoder.
        name: weight name or path; "auto" finds the one trained for the generator and space; `untrained/0` is a narrow
            one with random weights of seed 0.
        generator: that it must have been trained for; published files name none, and must have its rows.
        space: that it must have been trained for, or one with the same rows.

    Raises:
        WeightsError: there is no such file, or it is for another generator, resolution or space.
    """
    name = find_encoder(kind, generator, space) if name == "auto" else name
    if name.startswith(weight_files.UNTRAINED):
        seed, prior = weight_files.untrained_seed(name), space.prior_rows(generator)
        return kind.untrained(seed, generator.resolution, prior), name
    path = weight_files.find(name)
    own = path.suffix == ".safetensors"
    encoder = _own(kind, path, generator, space) if own else _published(kind, path, generator, space)
    encoder.to(generator.w_avg.device)
    return encoder.eval().requires_grad_(False), name


def find_encoder(kind: type[RowEncoder], generator: Generator, space: LatentSpace) -> str:
    """The name of the encoder that was trained for a generator and space; an untrained one for the toys.

    Raises:
        WeightsError: there is none; says how to train it.
    """
    known = {name: weight_files.metadata(weight_files.find(name)) for name in weight_files.names()}
    for label in space.encoder_spaces(generator):
        fitting = {
            "kind": kind.kind,
            "generator": generator.sha256,
            "space": label,
            "truncation": truncation_of(space),
        }
        for name, facts in known.items():
            if fitting.items() <= facts.items():
                return name
    if not generator.trained:
        return f"{weight_files.UNTRAINED}0"
    raise WeightsError(
        f"encoder=auto: no {kind.kind} was trained for generator {generator.sha256[:8]}… and {_words(space)}. "
        f"Train one with `zinv train model={kind.model}`, or name its file."
    )


def _own(kind: type[Encoder], path: Path, generator: Generator, space: LatentSpace) -> Encoder:
    tensors, facts = weight_files.read(path)
    if facts.get("kind") != kind.kind:
        raise WeightsError(f"{path}: holds {facts.get('kind', 'something else')}, not a {kind.kind}.")
    if facts["generator"] != generator.sha256:
        theirs = f"{facts['generator'][:8]}… of {facts['resolution']} pixels"
        ours = f"{generator.sha256[:8]}… of {generator.resolution} pixels"
        raise WeightsError(f"{path}: trained for generator {theirs}, not for {ours}.")
    if facts["space"] not in space.encoder_spaces(generator):
        raise WeightsError(f"{path}: trained for {facts['space']}, not for {space.label}.")
    if facts["truncation"] != truncation_of(space):
        raise WeightsError(f"{path}: trained with truncation {facts['truncation']}, not {truncation_of(space)}.")
    encoder = kind(**_arguments(json.loads(facts["architecture"])))
    encoder.load_state_dict(tensors)
    return encoder


def _published(kind: type[Encoder], path: Path, generator: Generator, space: LatentSpace) -> Encoder:
    checkpoint = read_checkpoint(path)
    wanted = {LatentEncoder: "e4e encoder", InDomainEncoder: "in-domain encoder"}[kind]
    if checkpoint.what != wanted:
        raise WeightsError(f"{path}: holds {checkpoint.what}, not a {kind.kind}.")
    if PUBLISHED_ROWS not in space.encoder_spaces(generator) or truncation_of(space) != "none":
        raise WeightsError(f"{path}: trained for {PUBLISHED_ROWS} without truncation, not for {_words(space)}.")
    arch: Mapping[str, Any] = checkpoint.architecture  # type: ignore[assignment]
    theirs, ours = (arch["num_ws"], arch["w_dim"]), (generator.num_ws, generator.w_dim)
    if theirs != ours:
        rows = "emits {} rows of {}, the generator of {} pixels has {} of {}"
        raise WeightsError(f"{path}: {rows.format(*theirs, generator.resolution, *ours)}.")
    encoder = kind(**_published_arguments(checkpoint))
    encoder.load_state_dict(_published_tensors(checkpoint, generator))
    return encoder


def _published_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    arch: Mapping[str, Any] = checkpoint.architecture  # type: ignore[assignment]
    rows = {"num_rows": arch["num_ws"], "dim": arch["w_dim"]}
    if checkpoint.what == "e4e encoder":
        return {"size": E4E_SIZE, "head": arch["w_dim"], **rows}
    width = checkpoint.tensors["block0.conv.weight"].shape[0]
    return {"size": arch["resolution"], "width": width, "max_width": arch["max_width"], **rows}


def _published_tensors(checkpoint: Checkpoint, generator: Generator) -> dict[str, Tensor]:
    """With e4e's mean of w, one for all rows or one a row, or the generator's where the file has none."""
    counts = {name: x for name, x in checkpoint.tensors.items() if x.dim() or name.endswith("num_batches_tracked")}
    if checkpoint.what != "e4e encoder":
        return counts
    mean = checkpoint.tensors.get("latent_avg", generator.w_avg)
    return counts | {"latent_avg": mean.expand(generator.num_ws, -1).clone()}


def _arguments(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _words(space: LatentSpace) -> str:
    cut = truncation_of(space)
    return f"{space.label}{'' if cut == 'none' else f' truncated by {cut}'}"
