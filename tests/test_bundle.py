"""`zinv weights bundle` and `unbundle`: what goes in comes out, and nothing else."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import Said
from zinv import weights
from zinv.generators.toy import toy_stylegan2
from zinv.published import PUBLISHED, Published, PublishedFile

Cli = Callable[..., Said]
CONTENT = b"a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An experiment with a generator, an encoder made for it, LPIPS' VGG16 and a folder of statistics."""
    for name in ("XDG_DATA_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setitem(PUBLISHED, "lpips/vgg16", Published("", "", (PublishedFile("vgg16.pth", "", None),)))
    folder = tmp_path / "weights"
    toy_stylegan2().save(folder / "mine" / "generator.safetensors")
    made_for = weights.sha256(folder / "mine" / "generator.safetensors")
    weights.write(folder / "e" / "encoder.safetensors", {"a": torch.ones(1)}, {"generator": made_for})
    weights.write(folder / "e" / "other.safetensors", {"a": torch.ones(1)}, {"generator": "another"})
    (folder / "vgg16.pth").write_bytes(CONTENT)
    (folder / "vgg16.pth.sha256").write_text(f"{DIGEST}  vgg16.pth\n")
    (folder / "stats" / "toy").mkdir(parents=True)
    for name in ("mean_latent", "eigen_values", "eigen_vectors"):
        (folder / "stats" / "toy" / f"{name}.npy").write_bytes(name.encode())
    experiment = tmp_path / "experiments" / "mine"
    experiment.mkdir(parents=True)
    (experiment / "experiment.yaml").write_text(
        "base: {generator: file, generator.path: mine/generator, data: toy, loss: paper, protocol: pixel}\n"
        "rows:\n  - {space: pn, space.statistics: stats/toy}\n"
    )
    return tmp_path


INSIDE = {
    "SHA256SUMS",
    "e/encoder.safetensors",
    "mine/generator.safetensors",
    "stats/toy/eigen_values.npy",
    "stats/toy/eigen_vectors.npy",
    "stats/toy/mean_latent.npy",
    "vgg16.pth",
    "vgg16.pth.sha256",
}


def test_a_bundle_makes_another_machine_find_the_same_files(cli: Cli, lab: Path, monkeypatch: pytest.MonkeyPatch):
    said = cli("weights bundle mine")
    assert said.status == 0 and said.out.startswith("mine-weights.tar: 7 files, ")
    assert said.out.endswith(" There: zinv weights unbundle mine-weights.tar\n")
    with tarfile.open("mine-weights.tar") as tar:
        assert set(tar.getnames()) == INSIDE and tar.getnames()[0] == "SHA256SUMS"
    names = ("mine/generator", "lpips/vgg16", "stats/toy", "e/encoder")
    before = {name: weights.content_sha256(name) for name in names}
    monkeypatch.setenv("ZINV_WEIGHTS", str(lab / "cluster"))
    assert weights.locate("mine/generator") is None
    said = cli("weights unbundle mine-weights.tar")
    assert said.out == f"{lab / 'cluster'}: 7 files written, all digests right.\n"
    assert {name: weights.content_sha256(name) for name in names} == before
    assert cli("weights unbundle mine-weights.tar").out.startswith(f"{lab / 'cluster'}: 0 files written")


def test_sha256sum_agrees_with_the_digests(cli: Cli, lab: Path):
    cli("weights bundle mine out.tar")
    with tarfile.open("out.tar") as tar:
        sums, vgg = tar.extractfile("SHA256SUMS"), tar.extractfile("vgg16.pth")
        assert sums and vgg
        lines = dict(reversed(line.split("  ")) for line in sums.read().decode().splitlines())  # type: ignore[misc]
        assert lines["vgg16.pth"] == hashlib.sha256(vgg.read()).hexdigest() == DIGEST
        assert set(lines) == INSIDE - {"SHA256SUMS"}


def test_the_same_files_make_the_same_tar(cli: Cli, lab: Path):
    cli("weights bundle mine a.tar")
    (lab / "weights" / "vgg16.pth").touch()
    cli("weights bundle mine b.tar")
    assert Path("a.tar").read_bytes() == Path("b.tar").read_bytes()


def test_a_bundle_elsewhere_says_how_it_is_found(cli: Cli, lab: Path):
    cli("weights bundle mine out.tar")
    said = cli(f"weights unbundle out.tar --to {lab / 'else'}")
    assert f"zinv finds them once ZINV_WEIGHTS has it: export ZINV_WEIGHTS={lab / 'else'}\n" in said.out


def error(said: Said) -> str:
    assert said.status == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1
    return said.err.removeprefix("error: ").strip()


def test_what_is_missing_is_named(cli: Cli, lab: Path):
    (lab / "weights" / "vgg16.pth").unlink()
    expected = "lpips/vgg16: missing. `zinv weights fetch --for mine` gets them or says how."
    assert error(cli("weights bundle mine")) == expected


def test_a_path_of_this_machine_alone_is_refused(cli: Cli, lab: Path):
    path = lab / "weights" / "mine" / "generator.safetensors"
    assert error(cli(f"weights bundle mine generator.path={path}")) == (
        f"{path}: a path that other machines do not have; name a file of a weight folder."
    )


def test_a_path_below_the_working_folder_is_found_again(cli: Cli, lab: Path, monkeypatch: pytest.MonkeyPatch):
    toy_stylegan2().save(Path("nets/g.safetensors"))
    assert cli("weights bundle mine out.tar generator.path=nets/g.safetensors").status == 0
    monkeypatch.setenv("ZINV_WEIGHTS", str(lab / "cluster"))
    cli("weights unbundle out.tar")
    Path("nets/g.safetensors").unlink()
    assert weights.find("nets/g.safetensors") == lab / "cluster" / "nets" / "g.safetensors"


def test_a_bundle_that_needs_nothing_is_not_written(cli: Cli, lab: Path):
    (lab / "experiments" / "mine" / "experiment.yaml").write_text("rows:\n  - {generator: toy}\n")
    assert cli("weights bundle mine") == Said(0, "mine needs no file but those that zinv ships.\n", "")
    assert not list(lab.glob("*.tar"))


def test_a_folder_that_cannot_be_written_to(cli: Cli, lab: Path):
    assert error(cli("weights bundle mine /proc/out.tar")).startswith("/proc/out.tar: cannot be written (")


Member = tuple[str, bytes] | tarfile.TarInfo


def tar(path: Path, *members: Member, sums: str | None = None) -> None:
    """A tar whose SHA256SUMS is right unless given."""
    own = "".join(f"{hashlib.sha256(m[1]).hexdigest()}  {m[0]}\n" for m in members if isinstance(m, tuple))
    text = (own if sums is None else sums).encode()
    with tarfile.open(path, "w") as out:
        for member in (("SHA256SUMS", text), *members):
            if isinstance(member, tarfile.TarInfo):
                out.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                out.addfile(header, io.BytesIO(member[1]))


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, link
    return header


NOT_INSIDE = "not a file that its SHA256SUMS names inside the folder."


@pytest.mark.parametrize(
    ("members", "sums", "expected"),
    [
        ([("../out.pkl", CONTENT)], None, f"../out.pkl: {NOT_INSIDE}"),
        ([("a/../../out.pkl", CONTENT)], None, f"a/../../out.pkl: {NOT_INSIDE}"),
        ([("/tmp/out.pkl", CONTENT)], None, f"/tmp/out.pkl: {NOT_INSIDE}"),
        ([("a\\..\\out.pkl", CONTENT)], None, f"a\\..\\out.pkl: {NOT_INSIDE}"),
        ([special("link", tarfile.SYMTYPE, "/etc")], f"{DIGEST}  link\n", f"link: {NOT_INSIDE}"),
        ([special("hard", tarfile.LNKTYPE, "/etc/passwd")], f"{DIGEST}  hard\n", f"hard: {NOT_INSIDE}"),
        ([special("null", tarfile.CHRTYPE)], f"{DIGEST}  null\n", f"null: {NOT_INSIDE}"),
        ([special("folder", tarfile.DIRTYPE)], f"{DIGEST}  folder\n", f"folder: {NOT_INSIDE}"),
        ([("extra.pkl", CONTENT)], "", f"extra.pkl: {NOT_INSIDE}"),
        ([("twice.pkl", CONTENT), ("twice.pkl", CONTENT)], None, f"twice.pkl: {NOT_INSIDE}"),
        ([("net.pkl", CONTENT)], f"{'0' * 64}  net.pkl\n", f"net.pkl: sha256 {DIGEST[:8]}…, not 00000000…"),
        ([("a.pkl", CONTENT)], f"{DIGEST}  a.pkl\n{DIGEST}  b.pkl\n", "truncated: b.pkl is not in it."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_and_damaged_bundles(cli: Cli, lab: Path, members: list[Member], sums: str | None, expected: str):
    tar(lab / "bad.tar", *members, sums=sums)
    before = {path for path in lab.rglob("*") if "cluster" not in path.parts}
    said = error(cli("weights unbundle bad.tar --to cluster"))
    assert said.startswith(f"bad.tar: {expected}")
    assert {path for path in lab.rglob("*") if "cluster" not in path.parts} == before
    assert not [path for path in (lab / "cluster").rglob("*") if path.is_file() and path.read_bytes() != CONTENT]


def test_a_truncated_tar(cli: Cli, lab: Path):
    tar(lab / "bad.tar", ("net.pkl", bytes(100_000)))
    whole = (lab / "bad.tar").read_bytes()
    for length in (100, 600, 1024, 1600, 50_000):
        (lab / "bad.tar").write_bytes(whole[:length])
        assert error(cli("weights unbundle bad.tar --to cluster")).startswith("bad.tar: ")
        assert not [path for path in (lab / "cluster").rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_something_else(cli: Cli, lab: Path, content: bytes):
    (lab / "bad.tar").write_bytes(content)
    assert error(cli("weights unbundle bad.tar --to cluster")).startswith("bad.tar: not a")


def test_a_tar_of_another_program(cli: Cli, lab: Path):
    with tarfile.open(lab / "bad.tar", "w") as out:
        out.add(lab / "weights" / "vgg16.pth", "vgg16.pth")
    expected = "bad.tar: not a bundle of zinv weights bundle: it does not begin with SHA256SUMS."
    assert error(cli("weights unbundle bad.tar")) == expected


def test_another_file_of_the_same_name_is_kept(cli: Cli, lab: Path):
    tar(lab / "good.tar", ("net.pkl", CONTENT))
    (lab / "cluster").mkdir()
    (lab / "cluster" / "net.pkl").write_bytes(b"mine")
    said = error(cli("weights unbundle good.tar --to cluster"))
    assert said == "cluster/net.pkl: another file of this name is there; move it away first."
    assert (lab / "cluster" / "net.pkl").read_bytes() == b"mine"


def test_no_such_bundle(cli: Cli, lab: Path):
    assert error(cli("weights unbundle nowhere.tar")) == "nowhere.tar: No such file or directory."
