"""`edits.csv`: one row for each image, direction and strength, under comment lines that say how they were made."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

import pandas as pd
import torch
from torch import Tensor

from zinv import weights
from zinv.errors import StoreError
from zinv.evaluation.files import Json, clear_errors, locked, read_json, replace_text, to_json
from zinv.evaluation.records import MetricInfo, Scalar, number
from zinv.evaluation.store import LOCK, Run
from zinv.images import write_png
from zinv.statistics import kernel_distance
from zinv.statistics.kid import SUBSETS

FIRST_LINE: Final = "# zinv edits 1"
FILE: Final = "edits.csv"
TABLES: Final = "edits"
"""Folder of a run with the table of every kind of edits that it was asked for, by their keys."""
FIXED: Final = ("image", "direction", "strength", "step", "status")
TEXT: Final = ("image", "direction", "status", "note", "reason")


@dataclass(frozen=True)
class EditInfo:
    """How edits were made and measured.

    Attributes:
        line: as it is printed under a table.
        asks: digest of directions by name, strengths, their unit, networks: rows of one table have the same.
        digest: of all that moves a number.
        amount: what strengths are: "step", or "attribute", "image" or "w" for changes that were to be reached.
        directions: names of the edits, in order.
        strengths: in order.
        protocol: digest of the protocol that they were measured under.
        identity: metrics that say who is shown; their columns are NAME (to the input) and NAME_inversion.
        kid: what the kernel distance of the edited pictures is called, if there is one.
    """

    line: str
    asks: str
    digest: str
    amount: str
    directions: tuple[str, ...]
    strengths: tuple[float, ...]
    protocol: str
    identity: tuple[MetricInfo, ...] = ()
    kid: str = ""

    @property
    def key(self) -> str:
        """Eight hexadecimal digits of edits and protocol."""
        return self.digest[:8]


@dataclass(frozen=True)
class EditHeader:
    """What the comment lines say.

    Attributes:
        run: slug and 8 hex digits.
        commit: of the run's first start.
        settings: what the run says of itself.
        edits: how they were made.
        images: images of the run.
        edited: those that have edits.
        missing: pictures that a metric could not score, by column, where there are any.
        quality: kernel distances to the inputs in words, if features were kept.
    """

    run: str
    commit: str
    settings: Mapping[str, Json]
    edits: EditInfo
    images: int
    edited: int
    missing: Mapping[str, int] = field(default_factory=dict)
    quality: str = ""


def edited(run: Run, info: EditInfo, names: Sequence[str], kept: Sequence[float] = ()) -> set[str]:
    """Which of the images have these edits, and the pictures of strengths that are to be kept."""
    found = {name for name in names if _file(run, info, name).is_file()}
    return {name for name in found if {*kept} <= {*cast(list[float], read_json(_file(run, info, name))["kept"])}}


def write_image(
    run: Run,
    info: EditInfo,
    name: str,
    rows: Sequence[Mapping[str, Scalar]],
    pictures: Mapping[tuple[str, float], Tensor] = MappingProxyType({}),
    kept: Sequence[float] = (),
    features: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Keep one image's records, all at once: the image is then done.

    Args:
        run: whose image it is.
        info: how its edits were made.
        name: its id.
        rows: its records.
        pictures: `(3, R, R)` by direction and strength, to be kept; the records come after them.
        kept: strengths whose pictures these are.
        features: vectors `(N, D)` of the input, the inversion and the edited pictures, if there are any.
    """
    path = _file(run, info, name)
    with clear_errors(run.path):
        for (direction, strength), picture in pictures.items():
            file = picture_path(run.path, info, name, direction, strength)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(picture, file)
        path.parent.mkdir(exist_ok=True)
        if features:
            weights.write(path.with_suffix(".safetensors"), features, {"kind": "features of edits"})
        cells = [{key: number(value) for key, value in row.items()} for row in rows]
        content = to_json({"edits": info.digest, "kept": list(kept), "rows": cells})
        replace_text(path, content, run.path / "images")


def picture_path(folder: Path, info: EditInfo, image: str, direction: str, strength: float) -> Path:
    """Where an edited picture is, if it was kept: `images/ID/edits/KEY/DIRECTION/STRENGTH.png`."""
    return folder / "images" / image / "edits" / info.key / direction / f"{strength:g}.png"


def merge_edits(run: Run, info: EditInfo, ids: Sequence[str]) -> Path:
    """Write `edits.csv` with the images of `ids` that have these edits, in their order; also as `edits/KEY.csv`.

    What tables and figures read is the former, of the edits that were asked for last; the latter stay. Bytes depend
    on the results only, not on processes, batches, order or interruptions.
    """
    with clear_errors(run.path), locked(run.path / LOCK):
        return _merge(run, info, ids)


def _merge(run: Run, info: EditInfo, ids: Sequence[str]) -> Path:
    done = edited(run, info, ids)
    rows = [row for name in ids if name in done for row in _rows(run, info, name)]
    facts = run.facts
    header = EditHeader(
        run.name,
        str(facts["commit"]),
        cast(Mapping[str, Json], facts["settings"]),
        info,
        len(ids),
        len(done),
        _missing(rows, info),
        _quality(run, info, [name for name in ids if name in done]),
    )
    others = sorted({key for row in rows for key in row} - {*FIXED, "note", "reason"})
    columns = [*FIXED, *others, "note", "reason"]
    frame = pd.DataFrame([[row.get(key, "") for key in columns] for row in rows], columns=columns)
    lines = [
        FIRST_LINE,
        *(f"# {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in asdict(header).items()),
    ]
    text = "\n".join(lines) + "\n" + frame.to_csv(index=False, lineterminator="\n")
    (run.path / TABLES).mkdir(exist_ok=True)
    for path in (run.path / TABLES / f"{info.key}.csv", run.path / FILE):
        replace_text(path, text)
    return run.path / FILE


def read_edits(path: Path) -> tuple[EditHeader, pd.DataFrame]:
    """Comment lines and rows of an `edits.csv`, or of the one in a run folder.

    Columns: image, direction, strength (as asked for), step (of the direction), status (`ok`, or `failed` with a
    reason), then what was measured: NAME and NAME_inversion of each identity metric, NAME_inversion of each perceptual
    one, mse_inversion, w_change, attribute_change and judge_change of the direction's own attribute, first_ATTRIBUTE
    and judge_ATTRIBUTE of all; monotone and beyond are 0 or 1.

    Raises:
        StoreError: there is no such file, or it is not one that zinv wrote.
    """
    file = path / FILE if path.is_dir() else path
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file}: not readable ({error.strerror}).") from error
    lines = content.split("\n")
    if lines[0] != FIRST_LINE:
        raise StoreError(f"{file}: not an edits file of zinv.")
    comments = [line for line in lines if line.startswith("# ")]
    try:
        header = _header(comments[1:])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{file}: its comment lines are damaged ({error}).") from error
    body = io.StringIO("\n".join(lines[len(comments) :]))
    frame = pd.read_csv(body, dtype=dict.fromkeys(TEXT, str), na_values=["nan", ""], keep_default_na=False)
    for name in set(frame.columns) - set(TEXT):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return header, frame.fillna({"note": "", "reason": ""})


def _file(run: Run, info: EditInfo, name: str) -> Path:
    return run.path / "images" / name / "edits" / f"{info.key}.json"


def _rows(run: Run, info: EditInfo, name: str) -> list[dict[str, str]]:
    return cast(list[dict[str, str]], read_json(_file(run, info, name))["rows"])


def _missing(rows: Sequence[Mapping[str, str]], info: EditInfo) -> dict[str, int]:
    done = [row for row in rows if row["status"] == "ok"]
    counts = {metric.name: sum(row.get(metric.name, "nan") == "nan" for row in done) for metric in info.identity}
    return {name: count for name, count in counts.items() if count}


def _quality(run: Run, info: EditInfo, names: Sequence[str]) -> str:
    """How far the sets of inverted and of edited pictures are from the inputs, by their features."""
    files = [_file(run, info, name).with_suffix(".safetensors") for name in names]
    if not info.kid or len(files) < 2:
        return ""
    each = [weights.read(file)[0] for file in files]
    sets = {key: torch.cat([tensors[key] for tensors in each]) for key in ("input", "inversion", "edited")}
    if len(sets["edited"]) < 2:
        return ""
    before, after = (kernel_distance(sets[key], sets["input"]) for key in ("inversion", "edited"))
    return (
        f"{info.kid} to the {len(sets['input'])} inputs: {after.mean:.4g} ± {after.std:.2g} of {len(sets['edited']):,} "
        f"edited pictures, {before.mean:.4g} ± {before.std:.2g} of the inversions ({SUBSETS} subsets of {after.size})"
    )


def _header(comments: Sequence[str]) -> EditHeader:
    pairs = (line.removeprefix("# ").split(": ", 1) for line in comments)
    values = {key: json.loads(value) for key, value in pairs}
    edits = values.pop("edits")
    identity = tuple(MetricInfo(**metric) for metric in edits.pop("identity"))
    directions, strengths = tuple(edits.pop("directions")), tuple(edits.pop("strengths"))
    info = EditInfo(**edits, directions=directions, strengths=strengths, identity=identity)
    return EditHeader(edits=info, **values)
