"""The run folder. One image's result is a folder that appears by one rename, and is the run's checkpoint."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, cast

import pandas as pd
import torch
import yaml
from torch import Tensor

from zinv import weights
from zinv.errors import StoreError, WeightsError
from zinv.evaluation import provenance
from zinv.evaluation.files import (
    SWEPT,
    Json,
    clear_errors,
    locked,
    names,
    read_json,
    remove,
    replace_text,
    sweep,
    sync,
    sync_entry,
    temporary_folder,
    to_json,
)
from zinv.evaluation.records import (
    Scalar,
    read_records,
)
from zinv.images import read_image, write_png

Result = dict[str, Json]
LOCK: Final = "lock"
RECONSTRUCTION: Final = "reconstruction.png"


@dataclass(frozen=True)
class Stored:
    """One finished image: its folder, result file and inversion."""

    folder: Path
    result: Result
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @cached_property
    def reconstruction(self) -> Tensor:
        """8-bit picture `(3, R, R)`.

        Raises:
            StoreError: it was not kept.
        """
        if not self.has_picture:
            run = self.folder.parent.parent
            made = f"`zinv score {run} --pictures` makes them"
            raise StoreError(f"{run}: its pictures were not kept (store.keep=codes); {made}.")
        return read_image(self.folder / RECONSTRUCTION)

    @property
    def has_picture(self) -> bool:
        """Whether the reconstruction was kept."""
        return (self.folder / RECONSTRUCTION).is_file()


class Run:
    """A run folder; `create` starts or continues one, `open` reads one.

    Attributes:
        path: the folder.
        code: digest of the code that now writes into it; None if it is only read.
    """

    def __init__(self, path: Path, code: str | None = None) -> None:
        self.path = path
        self.code = code

    @classmethod
    def create(
        cls,
        folder: Path | str,
        config: Mapping[str, Json],
        identity: Mapping[str, Json],
        settings: Mapping[str, Json] | None = None,
        code: str | None = None,
        keep: bool = False,
        fresh: bool = False,
    ) -> Run:
        """Start a run, or continue the one in `folder`. Only the first process may call it; others `open`.

        Args:
            folder: `runs/<slug>/<8 hex>`.
            config: resolved configuration.
            identity: what names the run.
            settings: what tables print of it: see `records.Header.settings`.
            code: digest of the code; `provenance.code_digest()` by default.
            keep: keep the images that other code made.
            fresh: delete what is there.

        Raises:
            StoreError: the folder holds a run of another configuration, or images made by other code.
        """
        run = cls(Path(folder), code or provenance.code_digest())
        if fresh:
            remove(run.path)
        with clear_errors(run.path):
            for part in ("images", "failed"):
                (run.path / part).mkdir(parents=True, exist_ok=True)
            with locked(run.path / LOCK):
                facts = run._begin(identity, keep)
                facts["settings"] = dict(settings or {})
                text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True)
                replace_text(run.path / "config.yaml", text)
                run._write_facts(facts)
            for part in SWEPT:
                sweep(run.path / part)
        return run

    @classmethod
    def open(cls, path: Path | str, code: str | None = None) -> Run:
        """Read a run folder; with the digest of its code, a process may also write results into it.

        Raises:
            StoreError: there is no run.
        """
        run = cls(Path(path), code)
        if not (run.path / "run.json").is_file():
            raise StoreError(f"{path}: there is no run in this folder (run.json is missing).")
        return run

    @property
    def name(self) -> str:
        """Slug and 8 hex digits."""
        return "/".join(self.path.resolve().parts[-2:])

    @cached_property
    def config(self) -> dict[str, Json]:
        """The resolved configuration of the last start."""
        return cast(dict[str, Json], yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8")))

    @property
    def facts(self) -> Result:
        """Content of `run.json`."""
        return read_json(self.path / "run.json", "identity", "code", "starts")

    def finished(self) -> set[str]:
        """Ids of the images that have a result."""
        return {name for name in names(self.path / "images") if not name.startswith(".")}

    def failed(self) -> set[str]:
        """Ids of the images whose last try failed; they are tried again unless the run leaves them out."""
        files = (name for name in names(self.path / "failed") if name.endswith(".json") and not name.startswith("."))
        return {name.removesuffix(".json") for name in files} - self.finished()

    def stamps(self) -> dict[str, int]:
        """The images whose last try failed, each with what tells that try from a later one."""
        begun = (self.path / "failed").is_dir()  # under srun rank 0 may not have made the run yet
        return {name: self._stamp(name) for name in self.failed()} if begun else {}

    def is_done(self, name: str, before: Mapping[str, int]) -> bool:
        """Whether an image is finished, or was tried in vain since `stamps` gave `before`."""
        return (self.path / "images" / name).is_dir() or self._stamp(name) not in (0, before.get(name))

    def _stamp(self, name: str) -> int:
        try:
            return (self.path / "failed" / f"{name}.json").stat().st_mtime_ns
        except OSError:
            return 0

    def finish(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str],
        reconstruction: Tensor,
        result: Mapping[str, Json],
        trace: Mapping[str, Sequence[float]] | None = None,
        times: Mapping[str, Scalar] | None = None,
        target: Tensor | None = None,
        picture: bool = True,
    ) -> bool:
        """Store one image's result; afterwards it is finished, whatever happens.

        Args:
            name: its id.
            tensors: the inversion.
            metadata: the inversion's metadata.
            reconstruction: `(3, R, R)` in [-1, 1], stored with 8 bits if `picture`.
            result: `target_sha256`, `losses` by label, `num_steps`, `scalars`, `facts`, `note`.
            trace: columns of equal length, by name.
            times: `seconds`, `rank`, `peak_memory` …, which never enter the records.
            target: `(3, R, R)`, to keep a copy of it.
            picture: keep the reconstruction.

        Returns:
            False if a number is not finite: the image is then recorded as failed.

        Raises:
            StoreError: the disk is full, or another picture is finished under this id.
        """
        wrong = _not_finite({**tensors, "reconstruction": reconstruction}, cast(Mapping[str, float], result["losses"]))
        if wrong:
            self.fail(name, f"{wrong} is not finite", "nan", str(result.get("target_sha256", "")))
            return False
        content = {"id": name, "status": "ok", **result, "code_digest": self.code, "times": dict(times or {})}
        with clear_errors(self.path), temporary_folder(self.path / "images", name) as folder:
            weights.write(folder / "inversion.safetensors", tensors, metadata)
            if picture:
                write_png(reconstruction, folder / RECONSTRUCTION)
            if target is not None:
                write_png(target, folder / "target.png")
            if trace:
                pd.DataFrame(dict(trace)).to_csv(folder / "trace.csv", index=False, float_format="%.9g")
            replace_text(folder / "result.json", to_json(content))
            self._publish(folder, name, str(result.get("target_sha256", "")))
        return True

    def fail(self, name: str, reason: str, kind: str, target_sha256: str = "") -> None:
        """Record that an image has no result, and why (`kind`: data, nan, memory, start, inversion)."""
        content = {"id": name, "status": "failed", "kind": kind, "reason": reason, "target_sha256": target_sha256}
        with clear_errors(self.path):
            replace_text(self.path / "failed" / f"{name}.json", to_json({**content, "code_digest": self.code}))

    def result(self, name: str) -> Result:
        """The result file of a finished or failed image.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        done, failed = self.path / "images" / name, self.path / "failed" / f"{name}.json"
        file, whole = (done / "result.json", done) if done.is_dir() else (failed, failed)
        try:
            return read_json(file, "status", "code_digest")
        except StoreError as error:
            raise StoreError(f"{error} Delete {whole} to do the image again.") from error

    def read(self, name: str) -> Stored:
        """A finished image.

        Raises:
            StoreError: it is not finished, or its files are damaged.
        """
        folder = self.path / "images" / name
        if not folder.is_dir():
            raise StoreError(f"{self.path}: image '{name}' is not finished.")
        try:
            tensors, metadata = weights.read(folder / "inversion.safetensors")
        except WeightsError as error:
            raise StoreError(f"{self.path}: image '{name}' is damaged; delete {folder} to do it again.") from error
        return Stored(folder, self.result(name), tensors, metadata)

    def keep_picture(self, name: str, picture: Tensor) -> None:
        """Keep the reconstruction `(3, R, R)` of a finished image that has none."""
        with clear_errors(self.path):
            write_png(picture, self.path / "images" / name / RECONSTRUCTION)

    def check_target(self, name: str, target_sha256: str) -> None:
        """Compare a picture with the one that an image was made from.

        Raises:
            StoreError: it is another picture.
        """
        before = self.result(name).get("target_sha256")
        if before and before != target_sha256:
            raise StoreError(
                f"{self.path}: image '{name}' was made from another picture (sha256 {str(before)[:12]}, "
                f"now {target_sha256[:12]}). Rename the picture, or start over with --fresh."
            )

    def check_code(self, keep: bool = False) -> None:
        """Compare the code that now writes into the run with that of its images.

        Raises:
            StoreError: it is other code, there are images, and they are not to be kept.
        """
        before = cast(list[str | None], self.facts["code"])[-1]
        if before != self.code and not keep and (done := len(self.finished())):
            raise StoreError(
                f"{self.path}: its {done} images were made by other code ({str(before)[:8]}, now "
                f"{str(self.code)[:8]}). Add --keep to keep them, or --fresh to start over."
            )

    def records_path(self, protocol: str | None = None) -> Path:
        """`records.csv` for the run's own protocol, `records-NAME.csv` for another."""
        own = self.config.get("protocol")
        own_name = own.get("name") if isinstance(own, Mapping) else own
        other = protocol is not None and own_name is not None and protocol != own_name
        return self.path / (f"records-{protocol}.csv" if other else "records.csv")

    def records(self, protocol: str | None = None) -> pd.DataFrame:
        """The rows of the records file as a table.

        Raises:
            StoreError: it is not written yet.
        """
        return read_records(self.records_path(protocol))[1]

    def note(self, **facts: Json) -> None:
        """Add facts of the present start (device, wall time, peak memory …) to `run.json`."""
        with clear_errors(self.path), locked(self.path / LOCK):
            content = self.facts
            starts = cast(list[dict[str, Json]], content["starts"])
            own = [
                start for start in starts if (start["host"], start.get("pid")) == (socket.gethostname(), os.getpid())
            ]
            (own or starts)[-1].update(facts)
            self._write_facts(content)

    def _begin(self, identity: Mapping[str, Json], keep: bool) -> Result:
        start = provenance.start(self.code)
        if not (self.path / "run.json").is_file():
            return {"commit": start["commit"], "identity": _plain(identity), "code": [self.code], "starts": [start]}
        facts = self.facts
        self._check_identity(_plain(identity), cast(Mapping[str, Json], facts["identity"]))
        self.check_code(keep)
        codes = cast(list[str | None], facts["code"])
        codes += [self.code] if codes[-1] != self.code else []
        cast(list[Json], facts["starts"]).append(start)
        return facts

    def _check_identity(self, now: Mapping[str, Json], before: Mapping[str, Json]) -> None:
        if to_json(now) != to_json(before):
            keys = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
            raise StoreError(
                f"{self.path}: holds a run of another configuration (different: {', '.join(keys)}). "
                "Start over with --fresh, or in another folder with runs=FOLDER."
            )

    def _write_facts(self, facts: Mapping[str, Json]) -> None:
        replace_text(self.path / "run.json", to_json(facts))

    def _publish(self, folder: Path, name: str, target_sha256: str) -> None:
        sync(folder)
        final = self.path / "images" / name
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            self.check_target(name, target_sha256)
        sync_entry(final.parent)
        (self.path / "failed" / f"{name}.json").unlink(missing_ok=True)


def runs_in(folder: Path | str) -> list[Run]:
    """All runs in a folder of runs (`runs/<slug>/<8 hex>`), or the one that it is, by name."""
    root = Path(folder)
    found = [root] if (root / "run.json").is_file() else [p.parent for p in root.glob("**/run.json")]
    return [Run.open(path) for path in sorted(found)]


def sampled(names: Sequence[str], limit: int = 1000) -> list[str]:
    """At most `limit` of the names, evenly spaced: whose pictures a restart compares.

    >>> sampled("abcdef", 3)
    ['a', 'c', 'e']
    """
    step = max(1, -(-len(names) // limit))
    return list(names[::step])


def _not_finite(tensors: Mapping[str, Tensor], losses: Mapping[str, float]) -> str:
    values = {**{key: torch.tensor(value) for key, value in losses.items()}, **tensors}
    wrong = [key for key, x in values.items() if x.is_floating_point() and not bool(torch.isfinite(x).all())]
    return ", ".join(wrong[:8]) + (f" and {len(wrong) - 8} more" if len(wrong) > 8 else "")


def _plain(config: Mapping[str, Json]) -> dict[str, Json]:
    return cast(dict[str, Json], json.loads(to_json(config)))
