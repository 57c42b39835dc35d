import numpy as np
import pytest
import torch
from PIL import Image

from zinv.data.folder import Folder, read_list, safe_id
from zinv.errors import DataError


@pytest.fixture
def put(tmp_path):
    def write(name, size=(8, 8), mode="RGB", **options):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size[::-1], 4), dtype=np.uint8)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("RGB").convert(mode).save(path, **options)
        return path

    return write


def test_pictures_come_in_the_order_of_their_numbers(tmp_path, put):
    for name in ("10.png", "9.jpg", "b.webp", "a.bmp"):
        put(name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("")
    assert Folder(str(tmp_path)).ids == ["9", "10", "a", "b"]
    assert Folder(str(tmp_path), num=2).ids == ["9", "10"]


def test_pixels_are_those_of_the_file(tmp_path, put):
    path = put("a.png")
    expected = torch.tensor(np.asarray(Image.open(path))).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(Folder(str(tmp_path), resolution=8).image(0), expected)


def test_resizing_is_pils(tmp_path, put):
    path = put("a.png", size=(32, 32))
    small = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.LANCZOS))
    expected = torch.tensor(small).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(Folder(str(tmp_path), resolution=8).image(0), expected)


def test_what_is_not_square_fails_alone_or_is_cropped(tmp_path, put):
    path = put("wide.png", size=(12, 8))
    put("zquare.png")
    source = Folder(str(tmp_path), resolution=8)
    assert source[0].failure == "wide.png: 12 x 8 is not square. Align it first, or set data.crop=center."
    assert source[1].pixels is not None
    middle = torch.tensor(np.asarray(Image.open(path))[:, 2:10]).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(Folder(str(tmp_path), resolution=8, crop="center").image(0), middle)


def test_a_damaged_picture_fails_alone(tmp_path, put):
    whole = put("a.png", size=(64, 64)).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.png").write_bytes(b"no picture at all")
    source = Folder(str(tmp_path), resolution=8)
    assert [image.pixels is None for image in source] == [False, True, True]
    assert "b.png: not a readable picture" in source[1].failure and "c.png" in source[2].failure


def test_an_enlarged_picture_says_so(tmp_path, put):
    put("a.png")
    assert Folder(str(tmp_path), resolution=16)[0].note == "enlarged from 8 pixels"
    assert Folder(str(tmp_path), resolution=8)[0].note == ""


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, put, mode):
    if mode == "I;16":
        Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "a.png")
    else:
        put("a.tiff" if mode == "CMYK" else "a.png", mode=mode)
    pixels = Folder(str(tmp_path), resolution=8).image(0)
    assert pixels.shape == (3, 8, 8) and pixels.abs().max() <= 1
    assert mode != "I;16" or pixels.min() == 1


def test_recursive_looks_into_folders(tmp_path, put):
    put("00000/00000.png")
    put("01000/01000.png")
    with pytest.raises(DataError, match="no picture in this folder; data.recursive=true looks"):
        Folder(str(tmp_path))
    assert Folder(str(tmp_path), recursive=True).ids == ["00000", "01000"]


def test_two_pictures_of_one_name_are_refused(tmp_path, put):
    put("ada.jpg")
    put("ada.png")
    with pytest.raises(DataError, match="ada.jpg and ada.png would both be named 'ada'. Rename one"):
        Folder(str(tmp_path))


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no picture in this folder."):
        Folder(str(tmp_path))
    with pytest.raises(DataError, match=r"data.path=/no/such: there is no such folder"):
        Folder("/no/such")


def test_ids_are_safe_on_any_file_system():
    assert safe_id("émile (2)/x:y") == "émile__2__x_y"
    assert safe_id("..") == "_" and not safe_id("..a").startswith(".")
    long = [safe_id("ü" * 200 + end) for end in "ab"]
    assert long[0] != long[1] and all(len(name.encode()) <= 100 for name in long)


def test_a_list_chooses_by_name_or_number(tmp_path, put):
    for name in ("00003.png", "12.jpg", "Ada B.png"):
        put(name)
    (tmp_path / "list.txt").write_text("# three\n12   # a number\n3\nAda B.png\n")
    source = Folder(str(tmp_path), list=str(tmp_path / "list.txt"))
    assert source.ids == ["12", "00003", "Ada_B"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [("1\n5\n", "has no picture '5'"), ("1\n01\n", "'01' is named twice"), ("# nothing\n", "it names no picture")],
)
def test_bad_lists_are_refused(tmp_path, put, entries, message):
    put("1.png")
    (tmp_path / "list.txt").write_text(entries)
    with pytest.raises(DataError, match=message):
        Folder(str(tmp_path), list=str(tmp_path / "list.txt"))


def test_celebahq50_is_the_drawn_list():
    import random

    assert [int(line) for line in read_list("celebahq50.txt")] == sorted(random.Random(2024).sample(range(30000), 50))


def test_real_photographs(real):
    source = Folder(str(real / "ffhq256"), resolution=64, num=2)
    assert all(image.pixels is not None and image.pixels.std() > 0.1 for image in source)
