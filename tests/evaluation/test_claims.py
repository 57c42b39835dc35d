"""Claims: one claimer at a time, an end to those of the dead, no clock of others, batches that shrink."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zinv.data.sampler import ClaimedBatches
from zinv.data.sources import Toy
from zinv.errors import ConfigError, StoreError
from zinv.evaluation.claims import Claims, Heart, Watcher, here, lease_seconds

LEASE = 0.4


def claims(folder: Path) -> Claims:
    return Claims(folder, LEASE)


def elsewhere(heart: Heart) -> None:
    """As if another machine had written it: only its count tells whether it lives."""
    heart.tell(host="elsewhere", place="another boot", pid=1)


def test_an_image_has_one_claimer(tmp_path: Path):
    one, other = claims(tmp_path), claims(tmp_path)
    with one.held(), other.held():
        assert (one.take("ada"), other.take("ada"), other.take("ben"), one.take("ben")) == (0, None, 0, None)


def test_many_at_once_share_without_overlap(tmp_path: Path):
    names = [f"image{i}" for i in range(60)]
    taken: list[list[str]] = [[] for _ in range(6)]
    barrier = threading.Barrier(6)

    def work(place: int) -> None:
        own = claims(tmp_path)
        with own.held():
            barrier.wait()
            taken[place] = [name for name in names if own.take(name) is not None]
            barrier.wait()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for part in taken for name in part) == sorted(names)


def test_who_has_ended_holds_nothing(tmp_path: Path):
    one, other = claims(tmp_path), claims(tmp_path)
    with one.held():
        one.take("ada")
    with other.held():
        assert other.take("ada") == 1


def test_who_died_on_this_machine_is_gone_at_once(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; from zinv.evaluation.claims import Claims\n"
        "own = Claims(Path(sys.argv[1]), 600)\nwith own.held():\n    own.take('ada'); os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == -9
    own = Claims(tmp_path, 600)
    with own.held():
        assert own.take("ada") == 1


def test_who_died_elsewhere_is_gone_after_the_lease(tmp_path: Path):
    one, other = claims(tmp_path), claims(tmp_path)
    with one.held() as heart:
        one.take("ada")
        elsewhere(heart)
        heart.stopped.set()  # it beats no more
        with other.held():
            assert other.take("ada") is None
            time.sleep(1.5 * LEASE)
            assert other.take("ada") == 1
            assert other.take("ada") is None  # it is its own now


def test_who_beats_elsewhere_keeps_its_claim(tmp_path: Path):
    one, other = claims(tmp_path), claims(tmp_path)
    with one.held() as heart, other.held():
        one.take("ada")
        elsewhere(heart)
        for _ in range(6):
            assert other.take("ada") is None
            time.sleep(LEASE / 2)


@pytest.mark.parametrize("hours", [-30, 30])
def test_the_clock_of_another_machine_changes_nothing(tmp_path: Path, hours: float):
    """File times that are a day off, as a claimer's or a server's clock may write them."""
    one, other = claims(tmp_path), claims(tmp_path)
    with one.held() as heart, other.held():
        one.take("ada")
        for _ in range(4):
            elsewhere(heart)
            wrong = time.time() + 3600 * hours
            for path in (heart.path, tmp_path / "claims" / "ada.0"):
                os.utime(path, (wrong, wrong))
            assert other.take("ada") is None
            time.sleep(LEASE / 2)


def test_two_that_wait_do_not_both_take_over(tmp_path: Path):
    dead, one, other = claims(tmp_path), claims(tmp_path), claims(tmp_path)
    with dead.held():
        dead.take("ada")
    with one.held(), other.held():
        assert [one.take("ada"), other.take("ada")] == [1, None]


@pytest.mark.parametrize("text", ["", "{", '{"count": "x"', "[]"])
def test_a_claim_or_an_owner_that_cannot_be_read_expires(tmp_path: Path, text: str):
    (tmp_path / "claims").mkdir()
    (tmp_path / "owners").mkdir()
    (tmp_path / "claims" / "ada.0").write_text("nobody" if text else "")
    (tmp_path / "owners" / "nobody").write_text(text)
    own = claims(tmp_path)
    with own.held():
        assert own.take("ada") is None
        time.sleep(1.5 * LEASE)
        assert own.take("ada") == 1


def test_each_claim_without_an_owner_has_a_lease_of_its_own(tmp_path: Path):
    """As a claim is for a moment before its owner is written, longer on a shared file system."""
    own = claims(tmp_path)
    with own.held():
        (tmp_path / "claims" / "ada.0").touch()
        assert own.take("ada") is None
        time.sleep(1.2 * LEASE)
        (tmp_path / "claims" / "ben.0").touch()
        assert (own.take("ben"), own.take("ada")) == (None, 1)


def test_finished_images_need_no_claims(tmp_path: Path):
    one = claims(tmp_path)
    with one.held():
        one.take("ada")
        one.take("ben")
    claims(tmp_path).clear({"ada"})
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["ben.0"]
    started = time.monotonic()
    assert claims(tmp_path).take("ben") == 1  # its claimer is known to have ended: nobody waits for a lease
    assert time.monotonic() - started < LEASE
    claims(tmp_path).clear({"ada", "ben"})
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_heart_says_what_it_is_told_and_its_count_grows(tmp_path: Path):
    with Heart(tmp_path / "heart", {"job": "a"}, 0.05) as heart:
        heart.tell(folder="runs/a")
        first = json.loads(heart.path.read_text())
        time.sleep(0.3)
        second = json.loads(heart.path.read_text())
    assert (first["job"], first["folder"], first["pid"]) == ("a", "runs/a", os.getpid())
    assert second["count"] > first["count"] and "ended" not in second
    assert json.loads(heart.path.read_text())["ended"] is True


def test_a_process_number_that_came_again_is_another_process(tmp_path: Path):
    (tmp_path / "owner").write_text(json.dumps({**here(), "began": "1", "count": 3}))
    assert not Watcher(tmp_path, 600).lives("owner")


def test_a_lease_that_is_no_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZINV_LEASE", "soon")
    with pytest.raises(ConfigError, match="ZINV_LEASE=soon: not a float above 0."):
        lease_seconds()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "claims").write_text("a file")
    with (
        pytest.raises(StoreError, match=r"claims: cannot write \(File exists\). Finished images are safe"),
        claims(tmp_path).held(),
    ):
        pass


def batches(begun: dict[str, int | None], size: int, done: frozenset[str] | set[str] = frozenset()) -> list[list[str]]:
    source = Toy(num=len(begun))
    return [batch.ids for batch in ClaimedBatches(source, source.ids, begun.pop, lambda name: name in done, size)]


def names(*numbers: int) -> list[str]:
    return [f"toy-{i:05d}" for i in numbers]


def test_batches_of_images_that_were_begun_in_vain_are_smaller():
    begun: dict[str, int | None] = dict(zip(names(*range(7)), [0, 0, 0, 0, 1, 1, 9], strict=True))
    assert batches(begun, 4) == [names(0, 1, 2, 3), names(4, 5), names(6)]


def test_what_others_have_done_is_left_out():
    begun: dict[str, int | None] = dict.fromkeys(names(0, 1, 2), 0)
    assert batches(begun, 2, {"toy-00001"}) == [names(0, 2)]


def test_what_others_have_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("zinv.data.sampler.WAIT_SECONDS", 0.01)
    source, asked = Toy(num=2), {"toy-00000": 0}

    def take(name: str) -> int | None:
        asked[name] = asked.get(name, 0) + 1
        return None if name == "toy-00000" and asked[name] < 5 else 0

    made = ClaimedBatches(source, source.ids, take, lambda _: False, 1)
    found = [batch.ids for batch in made]
    assert [ids for ids in found if ids] == [names(1), names(0)] and asked["toy-00000"] == 5


def ahead(made: ClaimedBatches) -> Iterator[list[str]]:
    """Batches as Lightning takes them: the next one is fetched before the work on one begins."""
    fetched = iter(made)
    waiting = next(fetched, None)
    while waiting is not None:
        following = next(fetched, None)
        yield waiting.ids
        waiting = following


def test_two_that_fetch_ahead_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert len(waits) < 20

    monkeypatch.setattr("zinv.data.sampler.time.sleep", sleep)
    source, owners, done = Toy(num=4), dict[str, str](), list[str]()

    def run(me: str) -> Iterator[list[str]]:
        def take(name: str) -> int | None:
            return 0 if owners.setdefault(name, me) == me else None

        return ahead(ClaimedBatches(source, source.ids, take, done.__contains__, 1))

    runs = [run("one"), run("other")]
    while runs:
        for one in list(runs):
            ids = next(one, None)
            done.extend(ids or [])
            if ids is None:
                runs.remove(one)
    assert sorted(done) == names(0, 1, 2, 3) and {*owners.values()} == {"one", "other"}
