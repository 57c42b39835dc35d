"""Which images a figure shows: by a rule that its caption states, never by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from zinv.errors import ConfigError, DataError, suggest

RULES: Final = ("worst", "median", "best", "first", "seed")
DEFAULT: Final = "worst:2,median:2,best:2"


def parse(text: str) -> list[tuple[str, int]]:
    """Rules and counts.

    Args:
        text: `worst:2,median:2,best:2`; `first:6`; `seed7:6` for six drawn with seed 7.

    Raises:
        ConfigError: an unknown rule, or a count that is none.

    >>> parse("worst:1,seed7:2")
    [('worst', 1), ('seed7', 2)]
    """
    found = []
    for part in text.split(","):
        rule, _, count = part.strip().partition(":")
        if rule not in RULES[:-1] and not re.fullmatch(r"seed\d+", rule):
            raise ConfigError(
                f"--pick {rule}: there is no such rule. {suggest(rule, ('worst', 'median', 'best', 'first', 'seed7'))}"
            )
        if not (count.isdecimal() and int(count) > 0):
            raise ConfigError(f"--pick {part.strip()}: how many images? Write {rule}:2.")
        found.append((rule, int(count)))
    return found


def needs_scores(rules: Sequence[tuple[str, int]]) -> bool:
    """Whether a rule orders images by a contrast."""
    return any(rule in ("worst", "median", "best") for rule, _ in rules)


def pick(
    rules: Sequence[tuple[str, int]], images: Sequence[str], scores: Mapping[str, float] | None = None
) -> list[str]:
    """The images that rules choose, none twice, in the rules' order.

    Args:
        rules: from `parse`.
        images: all of them, in their order.
        scores: of each image; higher is better.

    Raises:
        DataError: more are asked for than there are.

    >>> pick([("worst", 1), ("median", 1), ("best", 1)], "abc", {"a": 3.0, "b": 1.0, "c": 2.0})
    ['b', 'c', 'a']
    """
    asked = sum(count for _, count in rules)
    if asked > len(images):
        raise DataError(f"--pick: {asked} images are asked for, and there are {len(images)}.")
    chosen: list[str] = []
    for rule, count in rules:
        left = [name for name in _ordered(rule, images, scores or {}) if name not in chosen]
        chosen += left[:count]
    return chosen


def words(rules: Sequence[tuple[str, int]], images: int, contrast: str = "") -> str:
    """The rule as a caption states it.

    >>> words([("worst", 2), ("best", 1)], 16, "F/Z+ minus W+ in MSE")
    'Of 16 images, by F/Z+ minus W+ in MSE: the 2 worst, the best.'
    """
    told = [_told(rule, count) for rule, count in rules]
    by = f", by {contrast}" if contrast and needs_scores(rules) else ""
    return f"Of {images} images{by}: {', '.join(told)}."


def _ordered(rule: str, images: Sequence[str], scores: Mapping[str, float]) -> list[str]:
    if rule == "first":
        return list(images)
    if rule.startswith("seed"):
        order = np.random.default_rng(int(rule.removeprefix("seed"))).permutation(len(images))
        return [images[i] for i in order]
    known = sorted((name for name in images if name in scores), key=lambda name: (scores[name], name))
    if rule == "median":
        middle = (len(known) - 1) / 2
        return [known[i] for i in sorted(range(len(known)), key=lambda i: (abs(i - middle), i))]
    return known if rule == "worst" else known[::-1]


def _told(rule: str, count: int) -> str:
    if rule.startswith("seed"):
        return f"{count} drawn with seed {rule.removeprefix('seed')}"
    names = {"median": "nearest the median" if count > 1 else "median"}
    if rule == "median" and count > 1:
        return f"the {count} {names['median']}"
    return f"the {names.get(rule, rule)}" if count == 1 else f"the {count} {rule}"
