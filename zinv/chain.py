"""Starts from outside: where the descents of another run ended, image by image, or a latent encoder's codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import torch

from zinv import weights
from zinv.config import Config, identity
from zinv.config.identity import is_encoder
from zinv.config.settings import ENCODER
from zinv.data.base import DataSource
from zinv.data.sampler import Batch, collate
from zinv.errors import StoreError
from zinv.evaluation.files import Json
from zinv.evaluation.store import Run
from zinv.generators.base import Generator
from zinv.images import pixels_sha256
from zinv.methods.encoders import load_encoder
from zinv.methods.inversion import Inversion
from zinv.networks.latent_encoder import LatentEncoder
from zinv.spaces.base import LatentSpace
from zinv.values import show
from zinv.weights import UNTRAINED

DRAWN: Final = ("start", "num_candidates")  # of a space: where its own descents begin moves no code afterwards


class Start(Protocol):
    """Gives the inversions that descents begin at."""

    @property
    def name(self) -> str:
        """As tables print it."""

    def prepare(self, generator: Generator, space: LatentSpace) -> None:
        """What needs the parts of the run; raises WeightsError if it does not fit them."""

    def __call__(self, batch: Batch) -> Inversion:
        """The starts of a batch."""

    def lacking(self, ids: Sequence[str]) -> dict[str, str]:
        """Why images cannot start, by id."""

    def found(self) -> dict[str, str]:
        """Digests of the networks that it found: a run does not go on with others."""


@dataclass
class Encoded:
    """Codes of a latent encoder; "encoder" finds the one that was trained for generator and space."""

    file: str

    @property
    def name(self) -> str:
        """The file, or whether the encoder that was found is trained."""
        return f"untrained {self.file}" if self.found_as.startswith(UNTRAINED) else self.file

    def prepare(self, generator: Generator, space: LatentSpace) -> None:
        """Read the encoder.

        Raises:
            WeightsError: there is none, or it is for another generator, resolution or space.
        """
        self.generator, self.space = generator, space
        wanted = "auto" if self.file == ENCODER else self.file
        self.encoder, self.found_as = load_encoder(LatentEncoder, wanted, generator, space)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Inversion:
        """Codes of the targets."""
        rows = self.encoder.to(batch.target)(batch.target)
        return Inversion(self.space.from_rows(self.generator, rows))

    def lacking(self, ids: Sequence[str]) -> dict[str, str]:
        """Nothing."""
        return {}

    def found(self) -> dict[str, str]:
        """The encoder's digest."""
        return {"start_encoder": weights.digest(self.encoder.state_dict())}


@dataclass(frozen=True)
class Parent:
    """The run that another one starts from."""

    run: Run

    @property
    def name(self) -> str:
        """The run's."""
        return self.run.name

    def prepare(self, generator: Generator, space: LatentSpace) -> None:
        """Nothing: the configurations were compared."""

    def found(self) -> dict[str, str]:
        """Nothing: its identity counts."""
        return {}

    def __call__(self, batch: Batch) -> Inversion:
        """What it found for the images of a batch.

        Raises:
            StoreError: an image is not finished there, or it is another picture.
        """
        images = []
        for name, target in zip(batch.ids, batch.target, strict=True):
            self.run.check_target(name, pixels_sha256(target))
            stored = self.run.read(name)
            images.append(({key: x.to(target.device) for key, x in stored.tensors.items()}, stored.metadata))
        return Inversion.join(images)

    def lacking(self, ids: Sequence[str]) -> dict[str, str]:
        """Why images cannot start, by id.

        Raises:
            StoreError: none of them can.
        """
        finished, failed = self.run.finished(), self.run.failed()
        why = {name: "failed" if name in failed else "is not finished" for name in ids if name not in finished}
        if len(why) == len(ids):
            raise StoreError(f"start={self.run.path}: none of the {len(ids)} images is finished there.")
        return {name: f"its start {words} in {self.run.name}" for name, words in why.items()}


@dataclass(frozen=True)
class Startable:
    """The images of a source that have a start."""

    source: DataSource
    start: Start | None

    @property
    def ids(self) -> list[str]:
        """Their names."""
        lacking = self.start.lacking(self.source.ids) if self.start else {}
        return [name for name in self.source.ids if name not in lacking]

    def __call__(self, ids: Sequence[str]) -> Batch:
        """Some of them, as a batch."""
        place = {name: i for i, name in enumerate(self.source.ids)}
        return collate([self.source[place[name]] for name in ids], self.source.resolution or 0)


def find_start(config: Config) -> Start | None:
    """What `start=` names; a run is compared with the configuration that is to start from it.

    Raises:
        StoreError: there is no such run, or its generator or space is another.
    """
    if not config.get("start"):
        return None
    if is_encoder(config["start"]):
        return Encoded(config["start"])
    ours, run = identity(config), Run.open(Path(config["start"]))
    check_same(f"start={run.path}", ours, run.facts["identity"])
    return Parent(run)


def check_same(what: str, ours: Json, theirs: Json) -> None:
    """Raise an error if codes of two identities do not mean the same.

    Args:
        what: begins the message.
        ours: identity of a run.
        theirs: of another one.

    Raises:
        StoreError: generator or space differ.
    """
    assert isinstance(ours, Mapping) and isinstance(theirs, Mapping)
    for group in ("generator", "space"):
        _compare(what, group, ours[group], theirs[group])


def _compare(what: str, group: str, ours: Json, theirs: Json) -> None:
    assert isinstance(ours, Mapping) and isinstance(theirs, Mapping)
    for key in (key for key in ours if key in theirs and not (group == "space" and key in DRAWN)):
        if ours[key] != theirs[key]:
            there, here = show(theirs[key]), show(ours[key])
            raise StoreError(f"{what}: made with another {group}: {key} is {there} there, {here} here.")
