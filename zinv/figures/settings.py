"""Which settings tell runs of one label from each other, and the curves that they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping


def numbers_of(content: Mapping[str, object], above: str = "") -> dict[str, float]:
    """Every number of a nested configuration by its dotted key.

    >>> numbers_of({"method": {"num_steps": 300, "start": "mean"}, "loss": {"terms": {"mse": 1.0}}})
    {'method.num_steps': 300.0, 'loss.terms.mse': 1.0}
    """
    found: dict[str, float] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{above}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{above}{key}"] = float(value)
    return found


def curves_of(rows: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, float]]:
    """Rows of one label as points of curves: name, the setting that differs along the curve, and its value.

    Along each setting that differs lie the rows whose other settings are those of most; a row may lie on several.

    >>> rows = {"a": {"steps": 100.0, "w": 1.0}, "b": {"steps": 300.0, "w": 1.0}, "c": {"steps": 300.0, "w": 9.0}}
    >>> list(curves_of(rows))
    [('a', 'steps', 100.0), ('b', 'steps', 300.0), ('b', 'w', 1.0), ('c', 'w', 9.0)]
    """
    keys = dict.fromkeys(key for numbers in rows.values() for key in numbers)
    differing = [key for key in keys if len({numbers.get(key) for numbers in rows.values()}) > 1]
    shown: set[str] = set()
    for key in differing:
        rest = [other for other in differing if other != key]
        groups = Counter(tuple(numbers.get(other) for other in rest) for numbers in rows.values())
        most = groups.most_common(1)[0][0]
        own = {name: numbers for name, numbers in rows.items() if tuple(numbers.get(other) for other in rest) == most}
        if len({numbers.get(key) for numbers in own.values()}) > 1:
            shown |= {*own}
            word = key.rpartition(".")[2].replace("_", " ")
            yield from ((name, word, numbers.get(key, 0.0)) for name, numbers in own.items())
    yield from ((name, "", 0.0) for name in rows if name not in shown)
