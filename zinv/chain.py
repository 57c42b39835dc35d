"""Chains: a run whose descents start where those of another run ended, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zinv.config import Config, identity
from zinv.data.sampler import Batch
from zinv.errors import StoreError
from zinv.evaluation.files import Json
from zinv.evaluation.store import Run
from zinv.images import pixels_sha256
from zinv.methods.inversion import Inversion
from zinv.values import show

DRAWN: Final = ("start", "num_candidates")  # of a space: where its own descents begin moves no code afterwards


@dataclass(frozen=True)
class Parent:
    """The run that another one starts from."""

    run: Run

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


def find_parent(config: Config) -> Parent | None:
    """The run that `start=` names, compared with the configuration that is to start from it.

    Raises:
        StoreError: there is no such run, or its generator or space is another.
    """
    if not config.get("start"):
        return None
    ours, run = identity(config), Run.open(Path(config["start"]))
    theirs = run.facts["identity"]
    assert isinstance(theirs, Mapping)
    for group in ("generator", "space"):
        _compare(run, group, ours[group], theirs[group])
    return Parent(run)


def _compare(run: Run, group: str, ours: Mapping[str, Json], theirs: Json) -> None:
    assert isinstance(theirs, Mapping)
    for key in (key for key in ours if key in theirs and not (group == "space" and key in DRAWN)):
        if ours[key] != theirs[key]:
            there, here = show(theirs[key]), show(ours[key])
            raise StoreError(f"start={run.path}: made with another {group}: {key} is {there} there, {here} here.")
