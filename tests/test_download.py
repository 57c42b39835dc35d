"""One file from a server: resumed, checked, and whole or absent."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Site, serve
from zinv.download import download, size_text
from zinv.errors import WeightsError
from zinv.published import PublishedFile

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        site.files["net.pkl"] = CONTENT
        yield site


def net(site: Site, sha256: str | None = DIGEST, size: int | None = None) -> PublishedFile:
    return PublishedFile("net.pkl", f"{site.url}/net.pkl", sha256, size)


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(file: PublishedFile, folder: Path) -> str:
    with pytest.raises(WeightsError) as error:
        download(file, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_comes_whole_into_a_new_folder(site: Site, tmp_path: Path):
    path = download(net(site, size=300_000), tmp_path / "new")
    assert path == tmp_path / "new" / "net.pkl" and path.read_bytes() == CONTENT
    assert kept(tmp_path / "new") == ["net.pkl"]


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_a_broken_download_goes_on_where_it_stopped(site: Site, tmp_path: Path, sha256: str | None):
    site.cut = 100_000
    said = refusal(net(site, sha256), tmp_path)
    assert "stopped at 100.0 kB of 300.0 kB, which are kept" in said and "The same command goes on" in said
    assert (tmp_path / ".net.pkl.part").stat().st_size == 100_000
    assert not (tmp_path / "net.pkl").exists()
    site.cut = None
    assert download(net(site, sha256), tmp_path).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-"]
    assert kept(tmp_path) == ["net.pkl"] + (["net.pkl.sha256"] if sha256 is None else [])


def test_a_killed_download_goes_on(site: Site, tmp_path: Path):
    site.pause, part = 0.01, tmp_path / ".net.pkl.part"
    child = os.fork()
    if child == 0:
        try:
            import zinv.download as module

            module.CHUNK = 4096  # type: ignore[misc]
            download(net(site), tmp_path)
        finally:
            os._exit(1)
    while not (part.is_file() and part.stat().st_size >= 40_000):
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    left = part.stat().st_size
    assert 40_000 <= left < 300_000
    site.pause = 0
    assert download(net(site), tmp_path).read_bytes() == CONTENT
    assert site.asked == [None, f"bytes={left}-"]


def test_another_file_at_the_origin_is_not_glued_to_the_kept_part(site: Site, tmp_path: Path):
    site.cut = 100_000
    refusal(net(site, None), tmp_path)
    site.cut, site.files["net.pkl"] = None, CONTENT[::-1]
    assert download(net(site, None), tmp_path).read_bytes() == CONTENT[::-1]
    assert site.asked == [None, "bytes=100000-"]


def test_without_digest_and_etag_it_starts_over(site: Site, tmp_path: Path):
    site.cut, site.etags = 100_000, False
    refusal(net(site, None), tmp_path)
    site.cut = None
    assert download(net(site, None), tmp_path).read_bytes() == CONTENT
    assert site.asked == [None, None]


def test_a_server_without_parts_sends_all_again(site: Site, tmp_path: Path):
    site.cut = 100_000
    refusal(net(site), tmp_path)
    site.cut, site.ranges = None, False
    assert download(net(site), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_a_part_that_has_nothing_left_to_get(site: Site, tmp_path: Path, extra: bytes):
    (tmp_path / ".net.pkl.part").write_bytes(CONTENT + extra)
    assert download(net(site), tmp_path).read_bytes() == CONTENT


def test_a_wrong_digest_leaves_nothing(site: Site, tmp_path: Path):
    said = refusal(net(site, "0" * 64), tmp_path)
    assert said == f"net.pkl: what {site.url}/net.pkl sent has sha256 {DIGEST[:8]}…, not 00000000…; it was deleted."
    assert kept(tmp_path) == []


def test_a_digest_that_nobody_published_is_recorded_for_sha256sum(site: Site, tmp_path: Path):
    download(net(site, None), tmp_path)
    assert (tmp_path / "net.pkl.sha256").read_text() == f"{DIGEST}  net.pkl\n"
    assert subprocess.run(["sha256sum", "--check", "net.pkl.sha256"], cwd=tmp_path, check=False).returncode == 0


def test_a_file_of_another_size_is_refused_before_it_comes(site: Site, tmp_path: Path):
    said = refusal(net(site, size=12), tmp_path)
    assert said == f"{site.url}/net.pkl: has 300.0 kB, not the 12 bytes of net.pkl."
    assert kept(tmp_path) == [] or not (tmp_path / ".net.pkl.part").exists()


def test_a_login_page_is_not_a_file(site: Site, tmp_path: Path):
    site.html = True
    said = refusal(net(site), tmp_path)
    assert f"answered with a web page instead of net.pkl; get net.pkl (sha256 {DIGEST})" in said
    assert kept(tmp_path) == []


def test_a_file_that_is_gone(site: Site, tmp_path: Path):
    site.files.clear()
    assert "cannot be fetched (HTTP Error 404: Not Found)" in refusal(net(site), tmp_path)


def test_without_a_network_it_says_what_to_get_and_where_to_put_it(tmp_path: Path):
    file = PublishedFile("net.pkl", "http://127.0.0.1:9/net.pkl", DIGEST)
    said = refusal(file, tmp_path)
    assert said.startswith("net.pkl: http://127.0.0.1:9/net.pkl cannot be fetched (")
    assert said.endswith(f"get net.pkl (sha256 {DIGEST}) from there on another machine, and put it into {tmp_path}.")
    assert kept(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(site: Site, tmp_path: Path):
    (tmp_path / "file").touch()
    assert refusal(net(site), tmp_path / "file" / "in").endswith("net.pkl: cannot be written (Not a directory).")
    assert site.asked == []


def test_a_read_only_folder(site: Site, tmp_path: Path):
    tmp_path.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root writes everywhere
    try:
        assert refusal(net(site), tmp_path).endswith("net.pkl: cannot be written (Permission denied).")
    finally:
        os.seteuid(user)


def test_a_disk_without_room(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    assert refusal(net(site), tmp_path) == f"{tmp_path}: 300.0 kB are needed, 1.0 kB are free."


def test_two_at_once(site: Site, tmp_path: Path):
    with (tmp_path / ".net.pkl.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert refusal(net(site), tmp_path).endswith(".net.pkl.part: another process is fetching this file.")
    assert download(net(site), tmp_path).read_bytes() == CONTENT


def test_one_that_waited_for_another_that_is_done(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between opening the part and locking it, the other gives it its name."""
    monkeypatch.setattr("fcntl.flock", lambda *_: (tmp_path / ".net.pkl.part").replace(tmp_path / "net.pkl"))
    assert refusal(net(site), tmp_path).endswith(".net.pkl.part: another process has just fetched this file.")


def test_another_part_than_was_asked_for_is_not_glued_on(site: Site, tmp_path: Path):
    site.cut = 100_000
    refusal(net(site), tmp_path)
    site.cut, site.shift = None, 5
    assert "(it sent another part than the one from 100000 on)" in refusal(net(site), tmp_path)
    site.shift = 0
    assert download(net(site), tmp_path).read_bytes() == CONTENT


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_log_a_line_now_and_then(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    screen, log = Terminal(), io.StringIO()
    download(net(site), tmp_path / "a", screen)
    assert "net.pkl" in screen.getvalue() and "300.0/300.0 kB" in screen.getvalue()
    monkeypatch.setattr("zinv.download.LOG_SECONDS", 0.0)
    download(net(site), tmp_path / "b", log)
    assert log.getvalue() == "net.pkl: 300.0 kB of 300.0 kB\n"


@pytest.mark.parametrize(("size", "words"), [(999, "999 bytes"), (1000, "1.0 kB"), (1_201_649_680, "1.2 GB")])
def test_sizes_in_words(size: int, words: str):
    assert size_text(size) == words
