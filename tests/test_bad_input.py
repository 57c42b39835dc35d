"""Wrong input: each kind gets one line that says what is wrong, or a recorded row and its reason; the rest goes on."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zinv.evaluation import provenance, store
from zinv.generators.toy import toy_stylegan2
from zinv.networks.base_code import BaseCodeEncoder
from zinv.spaces.statistics import PNStatistics
from zinv.weights import write

TOY = "evaluate generator=toy method=optimize space=wplus method.num_steps=2 trainer=cpu"
Cli = Callable[..., Any]


def error(said: Any) -> str:
    """The one line of a mistake."""
    assert said.status == 2, said
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    return str(said.err.removeprefix("error: ").rstrip("\n"))


def rows() -> dict[str, dict[str, str]]:
    (path,) = Path("runs").glob("*/*/records.csv")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {row["image"]: row for row in csv.DictReader(lines)}


def picture(size: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


def folder_of(*names: str) -> None:
    Path("photos").mkdir(exist_ok=True)
    for i, name in enumerate(names):
        picture(16, i).save(Path("photos") / name)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("space=zplu", "space=zplu: there is no such preset. Did you mean 'zplus'? Choose from: fixed, "),
        ("spce=zplus", "spce=zplus: no such key. Did you mean 'space'?"),
        ("method.lrr=0.05", "method.lrr=0.05: no such key. Did you mean 'lr'?"),
        ("method.lr=abc", "method.lr=abc: not a float."),
        ("method.num_steps=1.5", "method.num_steps=1.5: not an int."),
        ("space=Generator", "space=Generator: it is not a LatentSpace."),
        ("space=zinv.methods.optimize.Optimize", "space=zinv.methods.optimize.Optimize: it is not a LatentSpace."),
        ("space=zinv.spaces.base.LatentSpace", "space=zinv.spaces.base.LatentSpace: it is abstract"),
        ("space=mylab.nowhere.Z", "space=mylab.nowhere.Z: mylab.nowhere cannot be imported"),
        ("loss.terms.mse=-1", "loss.terms.mse=-1.0: not a weight of 0 or more."),
        ("loss.terms.msee=1", "loss.terms.msee=1: there is no such term. Did you mean 'mse'?"),
        ("data.num=0", "data.num=0: at least one image is needed."),
        ("method.num_steps=-1", "method.num_steps=-1: not an int of 0 or more."),
        ("method.lr=-1", "method.lr=-1.0: not a float above 0."),
        ("method.lr=inf", "method.lr=inf: not a float above 0."),
        ("method.lr=nan", "method.lr=nan: not a float."),
        ("data.batch_size=0", "data.batch_size=0: not an int of 1 or more."),
        ("data.num_workers=-1", "data.num_workers=-1: not an int of 0 or more."),
        ("trainer.devices=0", "trainer.devices=0: not an int of 1 or more."),
        ("trainer.devices=all", "trainer.devices=all: not an int or auto."),
        ("trace=-1", "trace=-1: not an int of 0 or more."),
        ("protocol.resolution=0", "protocol.resolution=0: not an int of 1 or more."),
        ("protocol.metrics=[]", "protocol.metrics=[]: name at least one metric."),
        ("generator.resolution=12", "generator.resolution=12: not a power of two from 4 on."),
        ("space.truncation_cutoff=-1", "space.truncation_cutoff=-1: not an int of 0 or more."),
        ("method.num_steps", "method.num_steps: not a key=value such as space=zplus."),
    ],
)
def test_unknown_keys_choices_and_types(cli: Cli, override: str, message: str):
    assert error(cli(f"evaluate generator=toy {override}")).startswith(message)


def test_a_key_given_twice(cli: Cli):
    assert error(cli("evaluate space=z space=w")) == "space=w: given twice, before as space=z."


def test_missing_weights(cli: Cli):
    said = error(cli("evaluate generator=file generator.path=nowhere.safetensors data=toy loss=pixel protocol=pixel"))
    assert said.startswith("nowhere.safetensors: no such weight file. Looked in the working folder, ")


def test_published_weights_that_are_missing_say_where_to_get_them(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", "nowhere")
    monkeypatch.delenv("ZINV_WEIGHTS", raising=False)
    said = error(cli("evaluate generator=toy loss.terms.lpips=10"))
    assert said.startswith("lpips/vgg16: the weight file ") and "Get it from http" in said and "sha256" in said


def test_truncated_weights(cli: Cli):
    toy_stylegan2().save(Path("g.safetensors"))
    Path("g.safetensors").write_bytes(Path("g.safetensors").read_bytes()[:5000])
    said = error(cli("evaluate generator=file generator.path=g.safetensors data=toy loss=pixel protocol=pixel"))
    assert said.startswith("g.safetensors: not a readable safetensors file")


def test_weights_of_another_kind(cli: Cli):
    write(Path("g.safetensors"), {"x": toy_stylegan2().w_avg}, {"kind": "pnorm"})
    said = error(cli("evaluate generator=file generator.path=g.safetensors data=toy loss=pixel protocol=pixel"))
    assert said == "g.safetensors: it holds pnorm, not a StyleGAN1 or StyleGAN2."


def test_statistics_of_another_generator(cli: Cli):
    other = toy_stylegan2(seed=1)
    PNStatistics(torch.zeros(16), torch.ones(16), torch.eye(16), other.sha256).save(Path("p.safetensors"))
    said = error(cli(TOY.replace("wplus", "pnplus"), "space.statistics=p.safetensors"))
    assert said == f"p.safetensors: of generator {other.sha256[:8]}…, not of {toy_stylegan2().sha256[:8]}…."


def test_published_statistics_of_another_generator_are_known_by_their_numbers(cli: Cli):
    Path("stats").mkdir()
    for name, array in (("mean_latent", np.zeros(16)), ("eigen_values", np.ones(16)), ("eigen_vectors", np.eye(16))):
        np.save(Path("stats") / f"{name}.npy", array.astype(np.float32))
    said = error(cli(TOY.replace("wplus", "pnplus"), "space.statistics=stats"))
    assert said.startswith("stats: of another generator: samples of ") and "whiten to a mean square of" in said


def test_an_encoder_of_another_generator(cli: Cli):
    other = toy_stylegan2(seed=1)
    encoder = BaseCodeEncoder(8, 16, width=4)
    write(Path("e.safetensors"), encoder.state_dict(), encoder.metadata(other.sha256, "b8.conv0"))
    said = error(cli(TOY.replace("optimize", "bdinvert"), "method.encoder=e.safetensors"))
    expected = f"e.safetensors: trained for generator {other.sha256[:8]}…, not for {toy_stylegan2().sha256[:8]}…."
    assert said == expected


def test_an_encoder_that_was_trained_again_is_another_run(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """encoder=auto names none, so the run itself remembers which it was."""
    monkeypatch.setenv("ZINV_WEIGHTS", ".")
    for _ in range(2):
        encoder = BaseCodeEncoder(8, 16, width=4)
        write(Path("e.safetensors"), encoder.state_dict(), encoder.metadata(toy_stylegan2().sha256, "b8.conv0"))
        said = cli(TOY.replace("optimize", "bdinvert"))
    assert "holds a run of another configuration (different: encoder)." in error(said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.path=photos: there is no such folder."),
        ([], "data.path=photos: there is no picture in this folder."),
        (["notes.txt"], "data.path=photos: there is no picture in this folder."),
        (["in/a.png"], "; data.recursive=true looks into the folders inside it."),
    ],
)
def test_a_folder_without_images(cli: Cli, content: list[str] | None, message: str):
    for name in content or []:
        (Path("photos") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("photos") / name).write_bytes(b"x")
    if content is not None:
        Path("photos").mkdir(exist_ok=True)
    assert error(cli(f"{TOY} data=folder data.path=photos")).endswith(message)


def test_two_files_with_one_stem(cli: Cli):
    folder_of("ada.png", "ada.jpg")
    said = error(cli(f"{TOY} data=folder data.path=photos"))
    assert said == "data.path=photos: ada.jpg and ada.png would both be named 'ada'. Rename one of them."


def header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and has almost nothing."""
    parts = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"\0"))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_kind_of_picture_is_inverted_or_recorded_with_its_reason(cli: Cli):
    folder_of("a_good.png", "z_good.jpg")
    photos = Path("photos")
    whole = (photos / "a_good.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "text.png").write_text("no picture")
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "huge.png").write_bytes(header_only(12_000, 12_000))
    (photos / "bomb.png").write_bytes(header_only(60_000, 60_000))
    picture(16).convert("L").save(photos / "grey.png")
    picture(16).convert("RGBA").save(photos / "alpha.png")
    Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)).save(photos / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(16).save(photos / "turned.jpg", exif=turned)
    picture(1).save(photos / "tiny.png")
    picture(16).resize((16, 24)).save(photos / "wide.png")
    said = cli(f"{TOY} data=folder data.path=photos data.batch_size=4")
    assert said.status == 1
    records = rows()
    failed = {name: row["reason"] for name, row in records.items() if row["status"] == "failed"}
    assert {name for name in records if name not in failed} == {
        "a_good", "z_good", "grey", "alpha", "deep", "turned", "tiny",
    }  # fmt: skip
    for name in ("cut", "text", "empty"):
        ending = "jpg" if name == "empty" else "png"
        assert failed[name].startswith(f"{name}.{ending}: not a readable picture ("), failed[name]
    assert failed["huge"] == "huge.png: 12000 x 12000 is more than 100000000 pixels."
    assert "exceeds limit" in failed["bomb"]
    assert failed["wide"] == "wide.png: 16 x 24 is not square. Align it first, or set data.crop=center."
    assert records["tiny"]["note"] == "enlarged from 1 pixels"
    for name in failed:
        assert f"failed: {name}: {failed[name]}" in said.out
    assert all(float(row["mse"]) > 0 for name, row in records.items() if name not in failed)


def test_a_picture_that_was_repaired_is_done_by_the_same_command(cli: Cli):
    folder_of("ada.png", "ben.png")
    good = Path("photos/ben.png").read_bytes()
    Path("photos/ben.png").write_bytes(good[:100])
    assert cli(f"{TOY} data=folder data.path=photos").status == 1
    Path("photos/ben.png").write_bytes(good)
    assert cli(f"{TOY} data=folder data.path=photos").status == 0
    assert {row["status"] for row in rows().values()} == {"ok"}


def test_a_folder_of_broken_pictures_has_no_table_but_reasons(cli: Cli):
    Path("photos").mkdir()
    Path("photos/a.png").write_bytes(b"x")
    said = cli(f"{TOY} data=folder data.path=photos")
    assert said.status == 1
    assert "failed: a: a.png: not a readable picture" in said.out
    assert rows()["a"]["status"] == "failed"


def test_another_picture_under_an_old_id(cli: Cli):
    folder_of("ada.png", "ben.png")
    cli(f"{TOY} data=folder data.path=photos")
    picture(16, seed=9).save("photos/ben.png")
    said = error(cli(f"{TOY} data=folder data.path=photos"))
    assert "image 'ben' was made from another picture (sha256 " in said
    assert said.endswith("Rename the picture, or start over with --fresh.")
    assert cli(f"{TOY} data=folder data.path=photos --fresh").status == 0


def test_a_picture_swapped_after_the_run_is_not_scored(cli: Cli):
    folder_of("ada.png")
    cli(f"{TOY} data=folder data.path=photos")
    picture(16, seed=9).save("photos/ada.png")
    (run,) = Path("runs").glob("*/*")
    said = error(cli(f"score {run} protocol=pixel protocol.name=again"))
    assert "image 'ada' was made from another picture" in said


def test_more_processes_than_images(cli: Cli):
    said = error(cli(f"{TOY} trainer.devices=5"))
    assert said == "trainer.devices=5: there are only 4 images."


@pytest.mark.skipif("torch.cuda.is_available()", reason="this machine has a GPU")
def test_devices_that_are_not_there(cli: Cli):
    assert error(cli(f"{TOY} trainer.accelerator=gpu")).startswith("trainer.accelerator=gpu: a GPU was asked for")


NAN_TERM = """
from torch import Tensor
from zinv.losses.base import LossTerm

class Sometimes(LossTerm):
    label = "sometimes"

    def forward(self, image: Tensor, code: Tensor, prepared: Tensor) -> Tensor:
        bad = (prepared[:, 0, 0, 0] > 0.5).float()
        return image.flatten(1).square().mean(1) * (0 / (1 - bad))
"""


@pytest.mark.parametrize("batch_size", [1, 4])
def test_nan_in_one_images_loss_is_that_images_alone(cli: Cli, batch_size: int):
    Path("zinv_test_nan.py").write_text(NAN_TERM)
    line = f"{TOY} loss.terms.zinv_test_nan.Sometimes=1 data.batch_size={batch_size}"
    said = cli(line)
    assert said.status == 1
    records = rows()
    failed = [name for name, row in records.items() if row["status"] == "failed"]
    assert len(failed) == 1 and len(records) == 4
    assert "is not finite" in records[failed[0]]["reason"]
    assert f"failed: {failed[0]}: " in said.out
    (run,) = Path("runs").glob("*/*")
    assert not (run / "images" / failed[0]).exists()


def test_changed_code_on_resume(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    cli(TOY)
    monkeypatch.setattr(provenance, "_package_digest", lambda: "changed")
    said = error(cli(TOY))
    assert "its 4 images were made by other code (" in said
    assert said.endswith("Add --keep to keep them, or --fresh to start over.")
    assert cli(f"{TOY} --keep").status == 0
    assert cli(f"{TOY} --fresh").status == 0


def test_changed_code_of_ones_own_part_counts_too(cli: Cli):
    Path("zinv_test_own.py").write_text("from zinv.spaces.w import WPlus\n\nclass Mine(WPlus):\n    label = 'mine'\n")
    line = TOY.replace("wplus", "zinv_test_own.Mine")
    assert cli(line).status == 0
    with open("zinv_test_own.py", "a") as file:
        file.write("\n# changed\n")
    assert "were made by other code" in error(cli(line))


def test_scores_take_a_protocol_only(cli: Cli):
    cli(TOY)
    (run,) = Path("runs").glob("*/*")
    assert error(cli(f"score {run} space=z")).startswith("space=z: zinv score takes a protocol and its settings only")
    assert error(cli("score nowhere protocol=pixel")).startswith("nowhere: there is no run in this folder")


def test_a_table_that_cannot_be_written(cli: Cli):
    cli(TOY)
    message = error(cli("table runs --format md --output nowhere/table.md"))
    assert message == "--output nowhere/table.md: cannot be written (No such file or directory)."


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.size=7", "method.size=7: not the side of a base code. Give one of 8, 16."),
        ("method.encoder=untrained/x", "untrained/x: not untrained/SEED with a whole number, such as untrained/0."),
    ],
)
def test_base_codes_that_do_not_exist(cli: Cli, override: str, message: str):
    assert message in error(cli(f"{TOY.replace('optimize', 'bdinvert')} {override}"))


@pytest.mark.parametrize("vectors", [np.ones((15, 15)), None])
def test_broken_statistics(cli: Cli, vectors: np.ndarray | None):
    Path("stats").mkdir()
    np.save("stats/mean_latent.npy", np.zeros(16))
    np.save("stats/eigen_values.npy", np.ones(16))
    Path("stats/eigen_vectors.npy").touch() if vectors is None else np.save("stats/eigen_vectors.npy", vectors)
    message = error(cli(f"{TOY.replace('wplus', 'pnplus')} space.statistics=stats"))
    assert "stats: needs mean_latent.npy, eigen_values.npy, eigen_vectors.npy (" in message


def test_another_protocol_of_the_same_name_does_not_replace_the_runs_own(cli: Cli):
    cli(TOY)
    (run,) = Path("runs").glob("*/*")
    before = (run / "records.csv").read_bytes()
    message = error(cli(f"score {run} protocol.metrics=[mse]"))
    assert message.startswith("protocol.name=pixel: the run's own protocol has this name and other settings. Give")
    assert cli(f"score {run} protocol.metrics=[mse] protocol.name=mine").status == 0
    assert (run / "records.csv").read_bytes() == before
    assert "psnr" not in (run / "records-mine.csv").read_text()


def test_a_damaged_inversion_is_not_scored(cli: Cli):
    cli(TOY)
    (run,) = Path("runs").glob("*/*")
    stored = run / "images" / "toy-00001" / "inversion.safetensors"
    shutil.copy(run / "images" / "toy-00000" / "inversion.safetensors", stored)
    said = error(cli(f"score {run} protocol=pixel protocol.name=again"))
    assert "'toy-00001' decodes to another picture than the stored one" in said
    stored.write_bytes(stored.read_bytes()[:50])
    said = error(cli(f"score {run} protocol=pixel protocol.name=again"))
    assert "image 'toy-00001' is damaged; delete " in said


def test_tables_of_nothing(cli: Cli):
    assert "there is no run in this folder" in error(cli("table"))
    Path("empty").mkdir()
    assert error(cli("table empty")) == "empty: there is no run in this folder."


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("this process may not mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of a disk."""
    usage = shutil.disk_usage(disk)
    (disk / "filler").write_bytes(b"\0" * (usage.free - left))
    return disk / "filler"


def test_a_disk_that_fills_up_in_the_middle(cli: Cli, small_disk: Path):
    line = f"{TOY} runs={small_disk}"
    assert cli(line, "data.num=2").status == 0
    (run,) = small_disk.glob("*/*")
    before = {path: path.stat().st_mtime_ns for path in (run / "images").rglob("inversion.safetensors")}
    for left in (0, 40_000):  # not even run.json can be written; an image or two can
        filler = fill(small_disk, left)
        said = error(cli(line, "data.num=8"))
        assert said.startswith(f"{run}: cannot write (") and "No space left on device" in said
        assert said.endswith("Finished images are safe; the same command continues.")
        filler.unlink()
        assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
        assert not [path for path in (run / "images").iterdir() if path.name.startswith(".tmp")]
    assert cli(line, "data.num=8").status == 0
    assert cli(f"{TOY} runs=other data.num=8").status == 0
    (other,) = Path("other").glob("*/*")
    assert (run / "records.csv").read_bytes() == (other / "records.csv").read_bytes()


def test_a_write_that_fails_in_the_middle(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """The same where no file system can be mounted: the third reconstruction meets a full disk."""
    written: list[Path] = []
    write_png = store.write_png

    def fail_third(image: Any, path: Path) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_png(image, path)

    monkeypatch.setattr(store, "write_png", fail_third)
    said = error(cli(TOY))
    (run,) = Path("runs").glob("*/*")
    message = f"{run}: cannot write (No space left on device). Finished images are safe; the same command continues."
    assert said == message
    assert sorted(path.name for path in (run / "images").iterdir()) == ["toy-00000", "toy-00001"]
    monkeypatch.setattr(store, "write_png", write_png)
    assert cli(TOY).status == 0
    assert len(rows()) == 4
    assert json.loads((run / "run.json").read_text())["starts"][1]["ranks"] == [2]
