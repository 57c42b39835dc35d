"""`zinv weights` and `zinv weights fetch`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Said
from tests.serving import Site, serve
from zinv import fetch, weights
from zinv.config import preset_names
from zinv.config.files import preset_users
from zinv.errors import WeightsError
from zinv.published import PUBLISHED, Published, PublishedFile

Cli = Callable[..., Said]
CONTENT = b"a network\n" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DRIVE = "https://drive.google.com/file/d/1/view"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A publisher of two networks and a folder; weight folders of our own."""
    for name in ("XDG_DATA_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path / "weights"))
    with serve() as site:
        site.files |= {"net.pkl": CONTENT, "a.npy": b"1", "b.npy": b"2"}

        def publish(name: str, *files: PublishedFile, folder: bool = False) -> None:
            monkeypatch.setitem(PUBLISHED, name, Published(f"what {name} is", "MIT", files, folder, "rename it"))

        publish("lab/net", PublishedFile("net.pt", DRIVE), PublishedFile("net.pkl", f"{site.url}/net.pkl", DIGEST))
        publish("lab/unknown", PublishedFile("net.pkl", f"{site.url}/net.pkl"))
        publish("lab/drive", PublishedFile("drive.pt", DRIVE, DIGEST, 1_201_649_680))
        publish("lab/far", PublishedFile("far.pkl", "http://127.0.0.1:9/far.pkl"))
        publish("lab/folder", *(PublishedFile(f"{x}.npy", f"{site.url}/{x}.npy") for x in "ab"), folder=True)
        yield site


def test_fetch(cli: Cli, site: Site, tmp_path: Path):
    said, path = cli("weights fetch lab/net"), tmp_path / "weights" / "net.pkl"
    assert (said.status, said.out) == (0, f"lab/net: {path} (MIT)\n")
    assert weights.find("lab/net") == path and path.read_bytes() == CONTENT
    assert cli("weights fetch lab/net").out == f"lab/net: already there, {path}\n"
    assert len(site.asked) == 1


def test_fetch_a_folder(cli: Cli, site: Site, tmp_path: Path):
    assert cli("weights fetch lab/folder").status == 0
    folder = tmp_path / "weights" / "lab" / "folder"
    assert weights.find("lab/folder") == folder
    assert weights.find("lab/folder/b.npy") == folder / "b.npy"
    assert (folder / "a.npy").read_bytes() == b"1"
    (folder / "b.npy").unlink()
    assert weights.locate("lab/folder") is None
    assert cli("weights fetch lab/folder").out == f"lab/folder: {folder / 'b.npy'} (MIT)\n"


def test_what_wants_a_browser_is_said_to_be_by_hand(cli: Cli, site: Site, tmp_path: Path):
    said = cli("weights fetch lab/drive")
    assert said == Said(
        1,
        "",
        f"lab/drive: get it by hand, with a browser: drive.pt (1.2 GB, sha256 {DIGEST}) from {DRIVE}; rename it. "
        f"Put it into {tmp_path / 'weights'}. Licence: MIT.\n",
    )


def test_one_that_cannot_be_reached_keeps_no_other_back(cli: Cli, site: Site, tmp_path: Path):
    said = cli("weights fetch lab/far lab/net")
    assert said.status == 1
    assert said.err.startswith("error: far.pkl: http://127.0.0.1:9/far.pkl cannot be fetched (")
    assert (tmp_path / "weights" / "net.pkl").is_file()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fetch", "zinv weights fetch: give weight names, or --for EXPERIMENT."),
        ("fetch lpips/vgg", "lpips/vgg: nobody publishes a weight file of this name. Did you mean 'lpips/vgg16'?"),
        ("fetch --for nothing", "nothing: there is no such experiment."),
        ("fetsh a", "zinv weights fetsh: there is no such action. Did you mean 'fetch'? Choose from: bundle, fetch, "),
        ("bundle", "zinv weights bundle: it is zinv weights bundle EXPERIMENT [OUT.tar]."),
        ("list a", "zinv weights list: it is zinv weights list [--for EXPERIMENT]."),
        ("fetch lab/net --to /dev/null/in", "/dev/null/in: cannot be written to; name a folder with --to"),
    ],
)
def test_mistakes(cli: Cli, site: Site, line: str, expected: str):
    said = cli(f"weights {line}")
    assert said.status == 2 and said.out == ""
    assert said.err.startswith(f"error: {expected}") and said.err.count("\n") == 1


def test_a_digest_that_was_recorded_is_held_to(cli: Cli, site: Site, tmp_path: Path):
    assert cli("weights fetch lab/unknown").status == 0
    path = tmp_path / "weights" / "net.pkl"
    assert weights.find("lab/unknown") == path
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=f"net.pkl: truncated or another file: sha256 .*, not {DIGEST[:8]}…"):
        weights.find("lab/unknown")
    said = cli("weights fetch lab/unknown")
    assert said.status == 1 and said.err.endswith("Delete it first.\n")


@contextmanager
def without_rights() -> Iterator[None]:
    """Root writes everywhere, so it steps down."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_read_only_folders_are_read_and_the_first_other_one_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with tempfile.TemporaryDirectory() as place:
        shared, own, closed = (Path(place, name) for name in ("shared", "own", "closed"))
        for folder, mode in {shared: 0o755, own: 0o777, closed: 0o700}.items():
            folder.mkdir()
            folder.chmod(mode)
        (shared / "drive.pt").touch()
        Path(place).chmod(0o755)
        monkeypatch.setenv("ZINV_WEIGHTS", f"{closed}:{shared}:{own}")
        monkeypatch.setenv("XDG_DATA_HOME", str(own))
        if os.geteuid():
            shared.chmod(0o555)
            closed.chmod(0)
        with without_rights():
            assert weights.locate("lab/drive") == shared / "drive.pt"
            assert fetch.target_folder(None) == own
            lines = list(fetch.places())
            assert "lab/net" not in weights.names()
            (own / "lab").mkdir()
            (own / "lab" / "net").touch(mode=0)
            with pytest.raises(WeightsError, match="cannot be read .Permission denied"):
                weights.sha256(own / "lab" / "net")
        closed.chmod(0o700)
        assert f"{shared} (ZINV_WEIGHTS; read-only)" in lines and f"{own} (ZINV_WEIGHTS)" in lines


def test_the_list(cli: Cli, site: Site, tmp_path: Path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg16-397923af.pth").write_bytes(b"half")
    said = cli("weights")
    assert said.status == 0
    found, missing = (part.splitlines() for part in said.out.partition("found:\n")[2].split("missing:\n"))
    (vgg,) = (line for line in found if line.startswith("  lpips/vgg16 "))
    assert f"{tmp_path}/weights/vgg16-397923af.pth (4 bytes, not the 553.4 MB that it should have)" in vgg
    assert {"loss=paper", "protocol=paper", "term lpips", "metric lpips_vgg"} <= set(
        vgg.partition("; for ")[2].split(", ")
    )
    at = {line.split()[0]: i for i, line in enumerate(missing) if line.startswith("  ") and line[2] != " "}
    assert missing[at["lab/unknown"]].split(None, 1)[1] == "what lab/unknown is; MIT"
    assert missing[at["lab/unknown"] + 1].strip() == f"net.pkl, size unknown, sha256 unknown, {site.url}/net.pkl"
    assert missing[at["lab/drive"] + 1].strip() == f"drive.pt, 1.2 GB, sha256 {DIGEST[:12]}…, {DRIVE} (by hand)"
    assert missing[at["lab/folder"] + 1].strip() == f"2 files, size unknown, sha256 unknown, {site.url}"
    assert missing[at["stylegan2/ffhq1024"]].endswith("License-NC; for generator=stylegan2_ffhq1024")


@pytest.fixture
def experiment(site: Site, tmp_path: Path) -> None:
    """Two runs, of which one reads the published VGG16, in whose place the server has another file."""
    site.files["vgg16.pth"] = CONTENT
    PUBLISHED["lpips/vgg16"] = Published("", "BSD", (PublishedFile("vgg16.pth", f"{site.url}/vgg16.pth", DIGEST),))
    folder = tmp_path / "experiments" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        "base: {generator: toy, data: folder, protocol: pixel}\n"
        "rows:\n  - {space: z}\n  - {space: w, loss: paper}\n"
        "needs:\n  - {file: lab/encoder, command: train model=base_code}\n"
    )


@pytest.fixture(autouse=True)
def same_manifest() -> Iterator[None]:
    before = dict(PUBLISHED)
    yield
    PUBLISHED.clear()
    PUBLISHED.update(before)


def test_what_an_experiment_needs(cli: Cli, experiment: None, tmp_path: Path):
    listed = cli("weights --for mine")
    assert listed.status == 1
    assert [line.split()[0] for line in listed.out.partition("missing:\n")[2].splitlines() if line[2] != " "] == [
        "lab/encoder",
        "lpips/vgg16",
    ]
    said = cli("weights fetch --for mine seed=3")
    assert said.out == f"lpips/vgg16: {tmp_path / 'weights' / 'vgg16.pth'} (BSD)\n"
    assert said.status == 1 and said.err == "lab/encoder: missing; `zinv train model=base_code` makes it.\n"


def test_overrides_change_what_an_experiment_needs(cli: Cli, experiment: None):
    assert "lpips/vgg16" not in cli("weights --for mine loss=pixel").out


def test_the_presets_of_each_file_are_those_whose_yaml_leads_to_it():
    users = preset_users()
    assert set(users["lpips/vgg16"]) >= {"loss=paper", "protocol=paper", "term lpips", "metric lpips_vgg"}
    assert set(users["portraits/identity"]) >= {"protocol=demo", "metric portrait_identity"}
    assert set(users["vggface2"]) >= {"protocol=paper", "metric identity"}
    for name in preset_names("generator"):
        if name.startswith(("stylegan1_", "stylegan2_")):
            kind, _, what = name.partition("_")
            assert users[f"{kind}/{what}"] == [f"generator={name}"]


def test_every_file_that_a_shipped_preset_reads_is_published_or_shipped():
    assert {name for name in preset_users() if not name.startswith("portraits/")} <= {*PUBLISHED}
