"""What metrics saw of pictures is kept within a number of bytes, and what is forgotten is seen again."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from zinv.metrics.seen import Key, Seen, Shelf

LPIPS: Key = ("lpips", "nearest", "area")
ID: Key = ("identity", "nearest", "area")
Look = Callable[[Seen, Key, int], None]


def looks(made: list[tuple[float, str]]) -> Look:
    """Look at a picture, which gives an embedding of so many bytes; tells each one that is made."""

    def look(seen: Seen, key: Key, size: int) -> None:
        def make(pixels: Tensor) -> tuple[Tensor, ...]:
            made.append((float(pixels.mean()), key[0]))
            return (torch.zeros(size // 8), torch.zeros(size // 8))

        assert sum(x.nbytes for x in seen.embedding(key, make)) == size

    return look


def pictures(shelf: Shelf | None, num: int) -> list[Seen]:
    return [Seen(torch.full((1, 3, 2, 2), float(i)), shelf) for i in range(num)]


def test_what_was_used_longest_ago_is_forgotten():
    made: list[tuple[float, str]] = []
    look, shelf = looks(made), Shelf(2000)
    one, two, three = pictures(shelf, 3)
    look(one, LPIPS, 800), look(one, ID, 80), look(two, LPIPS, 800)
    assert shelf.num_bytes == 1680 and len(made) == 3
    look(one, LPIPS, 800)  # is there, and is now the last used
    assert len(made) == 3
    look(three, LPIPS, 800)
    assert shelf.num_bytes == 1600 and {*one.embeddings} == {LPIPS} and not two.embeddings
    look(two, LPIPS, 800)
    assert made[-1] == (1.0, "lpips") and not one.embeddings and shelf.num_bytes == 1600


def test_the_last_one_is_kept_however_large():
    look, shelf = looks([]), Shelf(100)
    one, two = pictures(shelf, 2)
    look(one, LPIPS, 800), look(two, LPIPS, 1600)
    assert shelf.num_bytes == 1600 and not one.embeddings and two.embeddings


def test_what_ends_takes_no_room():
    look, shelf = looks([]), Shelf(1600)
    one, two, three = pictures(shelf, 3)
    look(one, LPIPS, 800), look(two, LPIPS, 800)
    del two
    gc.collect()
    assert shelf.num_bytes == 800
    look(three, LPIPS, 800)
    assert one.embeddings and three.embeddings and shelf.num_bytes == 1600


def test_without_a_shelf_all_is_kept():
    made: list[tuple[float, str]] = []
    look, seen = looks(made), pictures(None, 9)
    for _ in range(2):
        for each in seen:
            look(each, LPIPS, 800)
    assert len(made) == 9
