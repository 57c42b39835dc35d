"""`zinv diff RUN RUN`: what two runs differ in, and by how much, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zinv.evaluation.rows import Row, difference_p, pairs
from zinv.evaluation.store import Run
from zinv.statistics.intervals import mean_interval
from zinv.values import show


def diff(first: str, second: str) -> int:
    """Print the differences of two runs in configuration, code and weights, and of their images pair by pair.

    Returns:
        0 if configuration, code and numbers are equal, else 1.

    Raises:
        StoreError: there is no such run, or it has no records yet.
    """
    a, b = Run.open(first), Run.open(second)
    lines = [*differences(a, b), *paired(Row.read(a.path), Row.read(b.path))]
    print("\n".join(lines) or "no difference.")
    return 1 if lines else 0


def differences(a: Run, b: Run) -> Iterator[str]:
    """A line for each setting, weight file, and for the code, that is not the same in two runs."""
    one, other = flat(a.config), flat(b.config)
    for key in sorted({*one, *other} - {"runs"}):
        if one.get(key) != other.get(key):
            yield f"{key}: {show(one.get(key))} | {show(other.get(key))}"
    ours, theirs = flat(a.facts["identity"]), flat(b.facts["identity"])
    for key in sorted({*ours, *theirs}):
        if ours.get(key) != theirs.get(key) and "sha256:" in f"{ours.get(key)}{theirs.get(key)}":
            yield f"weights of {key}: {ours.get(key)} | {theirs.get(key)}"
    facts: tuple[Any, Any] = (a.facts, b.facts)
    if facts[0]["code"] != facts[1]["code"]:
        codes = [", ".join(str(code)[:8] for code in fact["code"]) for fact in facts]
        yield f"code: {codes[0]} | {codes[1]}; commit: {facts[0]['commit'] or 'none'} | {facts[1]['commit'] or 'none'}"
    for name, version in facts[0]["starts"][-1]["versions"].items():
        if (now := facts[1]["starts"][-1]["versions"].get(name)) != version:
            yield f"version of {name}: {version} | {now}"


def paired(a: Row, b: Row) -> Iterator[str]:
    """A line for each metric that both have: the mean difference b - a over common images, its interval and p."""
    if a.header.protocol.digest != b.header.protocol.digest:
        yield f"protocol: {a.header.protocol.line} | {b.header.protocol.line}; no metric is compared."
        return
    only = set(a.done.index) ^ set(b.done.index)
    if only:
        yield f"images: {len(only)} are in one of them only, such as {min(only)}."
    if others := _of_two_pictures(a, b):
        yield f"targets: {len(others)} ids name another picture in each, such as {others[0]}; no metric is compared."
        return
    for metric in a.metrics:
        x, y = pairs(a, b, metric.name)
        if len(x) and not np.array_equal(x, y, equal_nan=True):
            change = mean_interval(list(y - x))
            p = f", p = {difference_p(a, b, metric.name):.2g}" if change.n > 1 else ""
            most = float(np.nanmax(np.abs(y - x)))
            half = f" ± {change.half_width:.3g}" if change.n > 1 else ""
            yield f"{metric.label}: {change.value:+.3g}{half} over {change.n} images{p}; at most {most:.3g}"


def _of_two_pictures(a: Row, b: Row) -> list[str]:
    ours, theirs = (dict(row.done["target"].items()) for row in (a, b))
    return [str(name) for name, target in ours.items() if target and theirs.get(name) not in (None, "", target)]


def flat(content: object, prefix: str = "") -> dict[str, Any]:
    """Nested mappings by dotted keys.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    if not isinstance(content, Mapping):
        return {prefix: content}
    found: dict[str, Any] = {}
    for name, part in content.items():
        found |= flat(part, f"{prefix}.{name}" if prefix else str(name))
    return found
