"""What a run's images score under a protocol: a file an image, and the records that are made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import cast

import pandas as pd

from zinv.errors import StoreError
from zinv.evaluation.files import Json, clear_errors, locked, read_json, replace_text, to_json
from zinv.evaluation.records import Header, ProtocolInfo, Scalar, count_missing, number, write_records
from zinv.evaluation.store import LOCK, Result, Run


def write_scores(run: Run, protocol: ProtocolInfo, name: str, values: Mapping[str, float]) -> None:
    """Keep one image's metrics under a protocol."""
    folder = run.path / "images" / name / "scores"
    with clear_errors(run.path):
        folder.mkdir(exist_ok=True)
        cells = {key: number(float(value)) for key, value in values.items()}
        content = to_json({"protocol": protocol.digest, "values": cells})
        replace_text(folder / f"{protocol.name}.json", content, run.path / "images")


def read_scores(run: Run, protocol: ProtocolInfo, name: str) -> dict[str, float] | None:
    """One image's metrics; None if it was not scored under this protocol as it now is, or its file is damaged."""
    path = run.path / "images" / name / "scores" / f"{protocol.name}.json"
    if not path.is_file():
        return None
    try:
        content = read_json(path, "protocol", "values")
    except StoreError:
        return None  # what can be made again is
    values = cast(Mapping[str, str], content["values"])
    fits = content["protocol"] == protocol.digest and set(protocol.columns) <= set(values)
    return {key: float(values[key]) for key in protocol.columns} if fits else None


def unscored(run: Run, protocol: ProtocolInfo, names: Collection[str] | None = None) -> set[str]:
    """Which finished images, of these or of all, have no scores under this protocol."""
    finished = run.finished() if names is None else run.finished().intersection(names)
    return {name for name in finished if read_scores(run, protocol, name) is None}


def merge_records(run: Run, protocol: ProtocolInfo, ids: Sequence[str]) -> Path:
    """Write the records file of a protocol, a row for each of `ids` that is scored or failed, in their order.

    Bytes depend on the results only, not on processes, batches, order or interruptions. Of several processes that
    end at a time the last one to write has seen the work of all.
    """
    with clear_errors(run.path), locked(run.path / LOCK):
        return _merge(run, protocol, ids)


def _merge(run: Run, protocol: ProtocolInfo, ids: Sequence[str]) -> Path:
    finished, failed = run.finished(), run.failed()
    known = [name for name in ids if name in finished or name in failed]
    rows = [row for row in (_row(run, protocol, name) for name in known) if row]
    facts = run.facts
    header = Header(
        run=run.name,
        commit=str(facts["commit"]),
        code=dict(sorted(Counter(str(row["code"]) for row in rows).items())),
        settings=cast(Mapping[str, Json], facts["settings"]),
        protocol=protocol,
        images=len(ids),
        failed=sum(row["status"] == "failed" for row in rows),
        left=len(ids) - len(rows),
        missing=count_missing(rows, protocol.columns),
    )
    path = run.records_path(protocol.name)
    write_records(path, header, rows)
    _merge_times(run, ids, finished)
    return path


def _row(run: Run, protocol: ProtocolInfo, name: str) -> dict[str, Scalar] | None:
    result = run.result(name)
    ok = result["status"] == "ok"
    scores = read_scores(run, protocol, name) if ok else dict.fromkeys(protocol.columns, float("nan"))
    if scores is None:
        return None
    row: dict[str, Scalar] = {"image": name, "status": str(result["status"])}
    row |= {"target": str(result.get("target_sha256", ""))[:16], "code": str(result["code_digest"])[:8]}
    losses = cast(Mapping[str, float], result.get("losses", {}))
    row |= scores | {f"loss_{key}": float(value) for key, value in losses.items()}
    row |= {key: cast(Scalar, result[key]) for key in ("num_steps", "scalars") if key in result}
    row |= {key: float(value) for key, value in cast(Mapping[str, float], result.get("facts", {})).items()}
    return row | {"note": str(result.get("note", "")), "reason": str(result.get("reason", ""))}


def _merge_times(run: Run, ids: Sequence[str], finished: Collection[str]) -> None:
    rows = [{"image": name, **cast(Result, run.result(name)["times"])} for name in ids if name in finished]
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["image", "seconds"])
    replace_text(run.path / "times.csv", table.to_csv(index=False, lineterminator="\n"))
