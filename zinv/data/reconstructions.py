"""What a run found, read as pictures by the id of their target: what networks that judge inversions learn from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

from torch import Tensor

from zinv import weights
from zinv.errors import StoreError
from zinv.images import pixels_sha256, read_image


class Reconstructions:
    """The finished images of a run folder.

    Args:
        folder: `runs/<slug>/<8 hex>`.

    Raises:
        StoreError: there is no run.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "run.json").is_file():
            raise StoreError(f"{folder}: there is no run in this folder (run.json is missing).")

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """What the run says of itself."""
        return cast(Mapping[str, str], _read(self.folder / "run.json")["settings"])

    @cached_property
    def finished(self) -> frozenset[str]:
        """Ids of the images that have a result."""
        return frozenset(path.parent.name for path in self.folder.glob("images/[!.]*/result.json"))

    @cached_property
    def failed(self) -> frozenset[str]:
        """Ids of the images that have none, and a reason."""
        return frozenset(path.stem for path in self.folder.glob("failed/[!.]*.json")) - self.finished

    @cached_property
    def generator(self) -> str:
        """Sha256 of the generator, as the first inversion has it; empty if it does not say, or there is none."""
        files = (self.folder / "images" / name / "inversion.safetensors" for name in sorted(self.finished))
        return next((weights.metadata(file).get("generator", "") for file in files), "")

    def image(self, name: str, target: Tensor) -> Tensor:
        """The reconstruction `(3, R, R)` of a target `(3, R, R)`.

        Raises:
            StoreError: it was made from another picture, or was not kept.
        """
        folder = self.folder / "images" / name
        if _read(folder / "result.json").get("target_sha256") != pixels_sha256(target):
            raise StoreError(f"{self.folder}: image '{name}' was made from another picture.")
        picture = folder / "reconstruction.png"
        if not picture.is_file():
            made = f"`zinv score {self.folder} --pictures` makes them"
            raise StoreError(f"{self.folder}: its pictures were not kept (store.keep=codes); {made}.")
        return read_image(picture)


def _read(path: Path) -> dict[str, object]:
    return cast(dict[str, object], json.loads(path.read_text(encoding="utf-8")))
