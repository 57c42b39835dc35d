"""`records.csv`: one row an image, under comment lines that say where the numbers come from."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pandas as pd

from zinv.errors import StoreError
from zinv.evaluation.files import Json, replace_text

if TYPE_CHECKING:
    from zinv.metrics.protocol import Protocol

Scalar: TypeAlias = "str | int | float | None"
FIXED: Final = ("image", "status", "target", "code")
PROTOCOL_KEYS: Final = {"protocol": "name", "protocol line": "line", "protocol digest": "digest"}
FIRST_LINE: Final = "# zinv records 1"


@dataclass(frozen=True)
class MetricInfo:
    """What a table needs to know of a metric.

    Attributes:
        name: the column.
        label: what tables print.
        higher_is_better: its direction.
        network: the network whose weights it uses, or none.
        digits: decimals that tables print.
    """

    name: str
    label: str
    higher_is_better: bool
    network: str | None = None
    digits: int = 4

    @classmethod
    def of(cls, name: str, fact: Mapping[str, Scalar]) -> MetricInfo:
        """From what `Protocol.facts` says of a column."""
        network = fact["network"] and str(fact["network"])
        return cls(name, str(fact["label"]), bool(fact["higher_is_better"]), network or None, int(fact["digits"] or 0))


@dataclass(frozen=True)
class ProtocolInfo:
    """A protocol without its networks: name, printed line, digest (equal ones measure alike) and metrics."""

    name: str
    line: str
    digest: str
    metrics: tuple[MetricInfo, ...]

    @classmethod
    def of(cls, protocol: Protocol) -> ProtocolInfo:
        """What a table needs to know of a protocol."""
        metrics = tuple(MetricInfo.of(name, fact) for name, fact in protocol.facts().items())
        return cls(protocol.name, protocol.line(), protocol.digest(), metrics)

    @property
    def columns(self) -> list[str]:
        """Column names of the metrics."""
        return [metric.name for metric in self.metrics]


@dataclass(frozen=True)
class Header:
    """What the comment lines say.

    Attributes:
        run: slug and 8 hex digits.
        commit: of the run's first start.
        code: number of images by the digest of the code that made them.
        settings: what the run says of itself: label, method, space, num_steps, start, truncation, scalars, precision,
            generator, loss_networks.
        protocol: name, line and metrics.
        images: number of images asked for.
        failed: number of images without a result.
        left: number of images not yet done or not yet scored.
        missing: number of images that a metric could not score, by column.
    """

    run: str
    commit: str
    code: Mapping[str, int]
    settings: Mapping[str, Json]
    protocol: ProtocolInfo
    images: int
    failed: int = 0
    left: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The comment lines, without their `# `."""
        metrics = [asdict(metric) for metric in self.protocol.metrics]
        values: dict[str, Json] = {
            "run": self.run,
            "commit": self.commit,
            "code": dict(self.code),
            "settings": dict(self.settings),
            "protocol": self.protocol.name,
            "protocol line": self.protocol.line,
            "protocol digest": self.protocol.digest,
            "metrics": metrics,
            "images": self.images,
            "failed": self.failed,
            "left": self.left,
            "missing": dict(self.missing),
        }
        return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def number(value: Scalar) -> str:
    r"""A cell: numbers with the nine digits that give a float32 back, text on one line.

    >>> number(0.1), number(float("nan")), number(3), number("a\nb")
    ('0.1', 'nan', '3', 'a b')
    """
    if isinstance(value, float):
        return f"{value:.9g}"
    return "" if value is None else " ".join(str(value).split())


def write_records(path: Path, header: Header, rows: Sequence[Mapping[str, Scalar]]) -> None:
    """Write rows in the order given; the same rows give the same bytes.

    Columns: the fixed ones, the protocol's metrics, then all others by name, `reason` last.
    """
    known = [*FIXED, *header.protocol.columns]
    others = sorted({key for row in rows for key in row} - set(known) - {"note", "reason"})
    columns = [*known, *others, "note", "reason"]
    frame = pd.DataFrame([[number(row.get(key)) for key in columns] for row in rows], columns=columns)
    text = "".join(f"{line}\n" for line in [FIRST_LINE, *(f"# {line}" for line in header.lines())])
    replace_text(path, text + frame.to_csv(index=False, lineterminator="\n"))


def read_header(path: Path) -> Header:
    """The comment lines of a records file.

    Raises:
        StoreError: there is no such file, or it is not one that zinv wrote.
    """
    return _split(path)[0]


def read_records(path: Path) -> tuple[Header, pd.DataFrame]:
    """Comment lines and rows of a records file.

    Raises:
        StoreError: there is no such file, or it is not one that zinv wrote.
    """
    header, body = _split(path)
    text = {"image", "status", "target", "code", "note", "reason"}
    frame = pd.read_csv(io.StringIO(body), dtype=dict.fromkeys(text, str), na_values=["nan"], keep_default_na=False)
    for name in set(frame.columns) - text:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return header, frame


def _split(path: Path) -> tuple[Header, str]:
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: not readable ({error.strerror}).") from error
    lines = content.split("\n")
    comments = [line for line in lines if line.startswith("# ")]
    if lines[0] != FIRST_LINE:
        raise StoreError(f"{path}: not a records file of zinv.")
    try:
        return _header(comments[1:]), "\n".join(lines[len(comments) :])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its comment lines are damaged ({error}).") from error


def _header(comments: Sequence[str]) -> Header:
    pairs = (line.removeprefix("# ").split(": ", 1) for line in comments)
    values = {key: json.loads(value) for key, value in pairs}
    metrics = tuple(MetricInfo(**metric) for metric in values.pop("metrics"))
    protocol = ProtocolInfo(metrics=metrics, **{field: values.pop(key) for key, field in PROTOCOL_KEYS.items()})
    return Header(protocol=protocol, **values)


def count_missing(rows: Sequence[Mapping[str, Scalar]], columns: Sequence[str]) -> dict[str, int]:
    """How many finished images each metric could not score, where there are any."""
    done = [row for row in rows if row["status"] == "ok"]
    counts = {name: sum(_is_nan(row.get(name)) for row in done) for name in columns}
    return {name: count for name, count in counts.items() if count}


def _is_nan(value: Scalar) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
