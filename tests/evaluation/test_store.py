import errno
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

from zinv.errors import StoreError
from zinv.evaluation.records import MetricInfo, ProtocolInfo, read_header
from zinv.evaluation.scores import merge_records, unscored, write_scores
from zinv.evaluation.store import Run, runs_in, sampled
from zinv.images import pixels_sha256, round_8bit

PROTOCOL = ProtocolInfo(
    "paper", "MSE in [-1, 1]", "d1", (MetricInfo("mse", "MSE", False), MetricInfo("id", "ID", True, "face"))
)
IDENTITY = {"method": {"lr": 0.1}, "seed": 0}
CODE = "c0de" * 16


def start(tmp_path, **options):
    settings = {"label": "F/Z+", "num_steps": 3}
    config = {**IDENTITY, "protocol": {"name": "paper"}}
    options = {"identity": IDENTITY, "code": CODE, "settings": settings, **options}
    return Run.create(tmp_path / "slug" / "1a2b3c4d", config, **options)


def picture(name, resolution=8):
    rng = torch.Generator().manual_seed(sum(name.encode()))
    return round_8bit(torch.rand(3, resolution, resolution, generator=rng) * 2 - 1)


def finish(run, name, **options):
    target = options.pop("target_of", name)
    result = {"target_sha256": pixels_sha256(picture(target)), "losses": {"pixel": 0.25}, "num_steps": 3}
    tensors = {"code": torch.ones(2, 3), **options.pop("tensors", {})}
    return run.finish(
        name, tensors, {"label": "F/Z+"}, picture(name), {**result, **options.pop("result", {})}, **options
    )


def test_what_is_finished_can_be_read_back(tmp_path):
    run = start(tmp_path)
    assert finish(run, "ada", trace={"step": [0, 10], "pixel": [1.0, 0.5]}, target=picture("ada"))
    stored = Run.open(run.path).read("ada")
    assert torch.equal(stored.tensors["code"], torch.ones(2, 3)) and stored.metadata["label"] == "F/Z+"
    assert torch.equal(stored.reconstruction, picture("ada"))
    assert stored.result["status"] == "ok" and stored.result["losses"] == {"pixel": 0.25}
    assert stored.result["code_digest"] == CODE
    files = {path.name for path in (run.path / "images" / "ada").iterdir()}
    assert files == {"inversion.safetensors", "reconstruction.png", "result.json", "target.png", "trace.csv"}
    assert run.finished() == {"ada"} and run.failed() == set()


def test_the_run_says_where_it_comes_from(tmp_path):
    run = start(tmp_path)
    run.note(device="cpu", wall_s=1.5)
    (first,) = run.facts["starts"]
    assert (
        first["device"] == "cpu" and first["wall_s"] == 1.5 and torch.__version__.startswith(first["versions"]["torch"])
    )
    assert {"command", "commit", "diff", "host", "time", "code"} <= set(first)
    start(tmp_path)
    assert len(run.facts["starts"]) == 2
    assert run.config["method"] == {"lr": 0.1} and run.facts["identity"] == IDENTITY


def test_another_configuration_is_refused(tmp_path):
    start(tmp_path)
    with pytest.raises(StoreError, match=r"holds a run of another configuration \(different: seed\)"):
        start(tmp_path, identity={**IDENTITY, "seed": 1})


def test_changed_code_asks_once_there_is_something_to_lose(tmp_path):
    start(tmp_path)
    finish(start(tmp_path, code="d1" * 32), "ada")
    with pytest.raises(
        StoreError, match=r"1 images were made by other code \(d1d1d1d1, now e2e2e2e2\). Add --keep .* --fresh"
    ):
        start(tmp_path, code="e2" * 32)
    kept = start(tmp_path, code="e2" * 32, keep=True)
    finish(kept, "bob")
    assert start(tmp_path, code="e2" * 32).finished() == {"ada", "bob"}
    for name in ("ada", "bob"):
        write_scores(kept, PROTOCOL, name, {"mse": 0.1, "id": 0.5})
    header = read_header(merge_records(kept, PROTOCOL, ["ada", "bob"]))
    assert header.code == {"d1d1d1d1": 1, "e2e2e2e2": 1}
    assert start(tmp_path, code="f3" * 32, fresh=True).finished() == set()


def test_another_picture_under_an_old_id_is_an_error(tmp_path):
    run = start(tmp_path)
    finish(run, "ada")
    run.check_target("ada", pixels_sha256(picture("ada")))
    with pytest.raises(StoreError, match="image 'ada' was made from another picture"):
        run.check_target("ada", pixels_sha256(picture("bob")))
    with pytest.raises(StoreError, match="image 'ada' was made from another picture"):
        finish(run, "ada", target_of="bob")
    assert finish(run, "ada")  # a second writer of the same picture loses quietly


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"tensors": {"code": torch.tensor([float("nan")])}}, "code"),
        ({"tensors": {"base": torch.tensor([float("inf")])}}, "base"),
        ({"result": {"losses": {"pixel": float("nan")}}}, "pixel"),
    ],
)
def test_what_is_not_finite_becomes_a_failed_row(tmp_path, options, what):
    run = start(tmp_path)
    assert not finish(run, "ada", **options)
    assert run.finished() == set() and run.failed() == {"ada"}
    assert run.result("ada")["reason"] == f"{what} is not finite" and run.result("ada")["kind"] == "nan"


def test_a_failed_image_can_succeed_later(tmp_path):
    run = start(tmp_path)
    run.fail("ada", "torn", "data")
    assert run.failed() == {"ada"}
    finish(run, "ada")
    assert run.failed() == set() and run.finished() == {"ada"} and run.result("ada")["status"] == "ok"


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    run = start(tmp_path)
    finish(run, "ada")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StoreError, match=r"1a2b3c4d: cannot write \(No space left on device\). Finished images are safe"
    ):
        finish(run, "bob")
    assert run.finished() == {"ada"} and run.read("ada").result["id"] == "ada"
    assert [path.name for path in (run.path / "images").iterdir()] == ["ada"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_leaves_whole_images_only(tmp_path):
    run = start(tmp_path)
    child = os.fork()
    if child == 0:
        try:
            for i in range(10_000):
                finish(run, f"i{i}")
        finally:
            os._exit(1)
    while len(run.finished()) < 5:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for name in run.finished():
        assert run.read(name).result["status"] == "ok"
    half = run.path / "images" / f".tmp-late-{socket.gethostname()}-{child}"
    half.mkdir(exist_ok=True)
    start(tmp_path)
    assert not half.exists() and len(run.finished()) >= 5


@pytest.mark.parametrize("write", ["scores", "failure", "facts"])
def test_a_text_file_that_a_killed_process_did_not_rename_is_swept(tmp_path, monkeypatch, write):
    run = start(tmp_path)
    finish(run, "ada")
    if (child := os.fork()) == 0:
        try:
            monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            if write == "scores":
                write_scores(run, PROTOCOL, "ada", {"mse": 1.0, "id": 0.0})
            elif write == "failure":
                run.fail("bob", "torn", "data")
            else:
                run.note(device="none")
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    (half,) = run.path.rglob(".*")
    assert half.is_file()
    start(tmp_path)
    assert not [*run.path.rglob(".*")]


def test_living_writers_are_left_alone(tmp_path):
    run = start(tmp_path)
    mine = run.path / "images" / f".tmp-x-{socket.gethostname()}-{os.getpid()}"
    elsewhere = run.path / "images" / ".tmp-x-another-host-1"
    old = run.path / "images" / ".tmp-y-another-host-1"
    for folder in (mine, elsewhere, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    start(tmp_path)
    assert mine.exists() and elsewhere.exists() and not old.exists()


def fill(run, names):
    for name in names:
        if name == "torn":
            run.fail(name, "torn.png: not a readable picture,\n# alas", "data")
        else:
            finish(run, name, times={"seconds": time.time(), "rank": 0})
            write_scores(run, PROTOCOL, name, {"mse": 1 / 3, "id": float("nan") if name == "bob" else 0.1 + 0.2})


def test_records_list_the_images_in_their_order(tmp_path):
    run = start(tmp_path)
    fill(run, ["bob", "ada", "torn"])
    path = merge_records(run, PROTOCOL, ["torn", "ada", "bob", "later"])
    lines = path.read_text().splitlines()
    rows = [line for line in lines if not line.startswith("# ")]
    assert rows[0] == "image,status,target,code,mse,id,loss_pixel,num_steps,note,reason"
    assert rows[1] == 'torn,failed,,c0dec0de,nan,nan,,,,"torn.png: not a readable picture, # alas"'
    assert rows[2].startswith("ada,ok,") and rows[2].endswith(",c0dec0de,0.333333333,0.3,0.25,3,,")
    assert '# protocol line: "MSE in [-1, 1]"' in lines and '# run: "slug/1a2b3c4d"' in lines
    header = read_header(path)
    assert (header.images, header.failed, header.left, header.missing) == (4, 1, 1, {"id": 1})
    assert header.protocol == PROTOCOL and header.settings["label"] == "F/Z+"
    frame = run.records()
    assert list(frame["image"]) == ["torn", "ada", "bob"] and frame["mse"].isna().tolist() == [True, False, False]
    assert "seconds" not in frame and "seconds" in (run.path / "times.csv").read_text()


def test_records_do_not_depend_on_how_they_came_about(tmp_path):
    one, other = start(tmp_path / "a"), start(tmp_path / "b")
    fill(one, ["ada", "bob", "torn"])
    fill(other, ["torn", "bob"])
    shutil.rmtree(other.path / "images" / "bob")
    fill(start(tmp_path / "b"), ["bob", "ada"])
    names = ["ada", "torn", "bob"]
    assert merge_records(one, PROTOCOL, names).read_bytes() == merge_records(other, PROTOCOL, names).read_bytes()


def test_numbers_survive_as_float32(tmp_path):
    run = start(tmp_path)
    value = torch.rand((), generator=torch.Generator().manual_seed(0))
    finish(run, "ada")
    write_scores(run, PROTOCOL, "ada", {"mse": float(value), "id": 0.0})
    merge_records(run, PROTOCOL, ["ada"])
    assert torch.tensor(run.records()["mse"][0], dtype=torch.float32) == value


def test_scores_of_another_protocol_do_not_count(tmp_path):
    run = start(tmp_path)
    fill(run, ["ada"])
    changed = ProtocolInfo("paper", "MSE in [0, 1]", "d2", PROTOCOL.metrics)
    assert unscored(run, PROTOCOL) == set() and unscored(run, changed) == {"ada"}
    assert read_header(merge_records(run, changed, ["ada"])).left == 1
    other = ProtocolInfo("e4e", "at 256", "d3", PROTOCOL.metrics)
    assert merge_records(run, other, ["ada"]).name == "records-e4e.csv"


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_scores_that_are_damaged_are_made_again(tmp_path, text):
    run = start(tmp_path)
    fill(run, ["ada"])
    next((run.path / "images" / "ada" / "scores").iterdir()).write_text(text)
    assert unscored(run, PROTOCOL) == {"ada"}


def test_a_protocol_describes_itself():
    from zinv.metrics.protocol import Protocol

    info = ProtocolInfo.of(Protocol("pixel", ["mse", "ssim"]))
    assert info.columns == ["mse", "ssim"] and info.line.startswith("protocol pixel")
    assert [metric.higher_is_better for metric in info.metrics] == [False, True]
    assert info.metrics[0].network is None


def test_damage_is_named(tmp_path):
    run = start(tmp_path)
    finish(run, "ada")
    (run.path / "images" / "ada" / "inversion.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match="image 'ada' is damaged; delete .* to do it again"):
        run.read("ada")
    (run.path / "images" / "ada" / "result.json").write_text("[]")
    with pytest.raises(StoreError, match=r"ada/result.json: not readable \(it has no status\). Delete .*/ada to do "):
        run.result("ada")
    with pytest.raises(StoreError, match="image 'bob' is not finished"):
        run.read("bob")
    with pytest.raises(StoreError, match="there is no run in this folder"):
        Run.open(tmp_path)
    with pytest.raises(StoreError, match="records.csv: not readable"):
        run.records()


def test_runs_are_found(tmp_path):
    run = start(tmp_path)
    assert (
        [found.name for found in runs_in(tmp_path)] == ["slug/1a2b3c4d"] == [found.name for found in runs_in(run.path)]
    )


def test_a_sample_is_spread_and_bounded():
    assert sampled(list(map(str, range(10))), 1000) == list(map(str, range(10)))
    assert len(sampled(list(map(str, range(5001))), 1000)) <= 1000


def test_result_files_are_plain_json(tmp_path):
    run = start(tmp_path)
    finish(run, "ada", times={"seconds": 1.0})
    content = json.loads((run.path / "images" / "ada" / "result.json").read_text())
    assert content["times"] == {"seconds": 1.0}
