"""8-bit files of any data source: drawn once, found again, never another's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zinv.data.base import DataSource
from zinv.data.folder import Folder
from zinv.data.sources import Portraits, Toy
from zinv.errors import DataError
from zinv.training.cache import CHUNK, Cache


def files(cache: Cache) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in cache.folder.iterdir()}


def pictures(folder: Path, *seeds: int, size: int = 16) -> Path:
    folder.mkdir()
    for i, seed in enumerate(seeds):
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_pictures_are_the_sources_and_a_missing_file_is_drawn_again(tmp_path: Path) -> None:
    source = Toy(num=CHUNK + 3, resolution=4)
    cache = Cache(source, tmp_path)
    cache.make()
    chosen = torch.tensor([CHUNK + 2, 0, 7])
    torch.testing.assert_close(cache.images(chosen), torch.stack([source.image(i) for i in chosen.tolist()]))
    before = files(cache)
    (cache.folder / f"{CHUNK:08d}.npy").unlink()
    again = Cache(source, tmp_path)
    again.make()
    after = files(again)
    assert after.keys() == before.keys() == {"00000000.npy", f"{CHUNK:08d}.npy"}
    assert after["00000000.npy"] == before["00000000.npy"] and after != before
    torch.testing.assert_close(again.images(chosen), cache.images(chosen))


@pytest.mark.slow
def test_several_processes_draw_the_same(tmp_path: Path) -> None:
    caches = [Cache(Toy(num=CHUNK + 3, resolution=4), tmp_path / name) for name in "ab"]
    for processes, cache in enumerate(caches, start=1):
        cache.make(processes)
    one, two = (sorted(cache.folder.iterdir()) for cache in caches)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_cache_of_portraits_grows_with_their_number(tmp_path: Path) -> None:
    few, more = (Cache(Portraits("train", num, resolution=16), tmp_path) for num in (4, 6))
    assert few.folder == more.folder
    few.make()
    more.make()
    torch.testing.assert_close(more.images(torch.tensor([5]))[0], Portraits("train", 6, resolution=16).image(5))
    before = files(few)
    few.make()
    assert files(few) == before
    others = [Portraits("tune", 4, resolution=16), Portraits("train", 4, start=1, resolution=16)]
    assert len({Cache(other, tmp_path).folder for other in (few.source, *others)}) == 3


def test_other_pictures_of_the_same_names_are_another_cache(tmp_path: Path) -> None:
    a, b, same = (
        Folder(str(pictures(tmp_path / name, *seeds))) for name, *seeds in [("a", 1, 2), ("b", 3, 2), ("c", 1, 2)]
    )
    caches = [Cache(source, tmp_path).folder for source in (a, b, same)]
    assert caches[0] == caches[2] != caches[1]
    assert a.fingerprint() == same.fingerprint() != b.fingerprint()


def test_pictures_that_cannot_be_used_are_counted_and_the_rest_is_drawn(tmp_path: Path) -> None:
    class Broken(DataSource):
        ids = [str(i) for i in range(CHUNK + 7)]
        resolution = 4

        def image(self, index: int) -> Tensor:
            if index in (5, 6):
                raise DataError(f"{index}.png: eaten by the dog.")
            return torch.zeros(3, 4, 4)

    cache = Cache(Broken(), tmp_path)
    with pytest.raises(
        DataError, match=f"^2 of {CHUNK + 7} pictures cannot be used, the first: 5.png: eaten by the dog"
    ):
        cache.make()
    assert list(files(cache)) == [f"{CHUNK:08d}.npy"]
