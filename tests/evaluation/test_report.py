import json
import struct
import time
from dataclasses import dataclass

import pytest
import torch
from PIL import Image

from tests.evaluation.test_store import PROTOCOL, fill, start
from zinv.data.sources import Toy
from zinv.evaluation.report import report, report_figure
from zinv.evaluation.scores import merge_records


@dataclass(frozen=True)
class Logger:
    project: str = "tests"
    entity: str | None = None
    group: str | None = None
    mode: str = "offline"


@pytest.fixture
def run(tmp_path):
    run = start(tmp_path)
    fill(run, ["toy-00000", "toy-00001", "torn"])
    merge_records(run, PROTOCOL, ["toy-00000", "torn", "toy-00001"])
    return run


def offline_records(path):
    """Messages of an offline W&B file, which is a log of LevelDB's format with a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last of its fragments
            yield Record.FromString(whole)
            whole = b""
        rest = 32768 - place % 32768
        place += rest if rest < 7 else 0


def ended(path):
    """The same once W&B's own process, which writes behind our back, has written the last of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        records = [*offline_records(path)]
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        time.sleep(0.1)
    raise TimeoutError(f"{path} has no end after a minute")


def values(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def test_an_offline_run_holds_configuration_means_rows_and_pictures(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    report(run, Logger(mode="online"), PROTOCOL, "experiment", Toy(num=2, resolution=8))
    (file,) = run.path.glob("wandb/offline-run-*/run-1a2b3c4d.wandb")
    config, summary = {}, {}
    for record in ended(file):
        if record.WhichOneof("record_type") == "run":
            assert (record.run.run_id, record.run.project, record.run.run_group) == ("1a2b3c4d", "tests", "experiment")
            config |= values(record.run.config.update)
        elif record.WhichOneof("record_type") == "config":
            config |= values(record.config.update)
        elif record.WhichOneof("record_type") == "summary":
            summary |= values(record.summary.update)
    assert config["method"] == {"lr": 0.1} and config["settings"]["label"] == "F/Z+"
    assert summary["mse"] == pytest.approx(1 / 3) and summary["id"] == pytest.approx(0.3)
    assert (summary["n"], summary["failed"], summary["protocol"]) == (2, 1, "MSE in [-1, 1]")
    media = file.parent / "files" / "media"
    table = json.loads(next(media.rglob("records*.table.json")).read_text())
    assert [line[0] for line in table["data"]] == ["toy-00000", "torn", "toy-00001"]
    assert table["data"][1][table["columns"].index("mse")] is None
    assert len(list(media.rglob("reconstructions*.png"))) == 1


def test_a_figure_is_added_to_the_run_of_its_run(run, tmp_path):
    picture = tmp_path / "forest.png"
    Image.new("RGB", (40, 30), (0, 114, 178)).save(picture)
    report_figure([(run, Logger()), (run, object())], "forest", picture)
    (file,) = run.path.glob("wandb/offline-run-*/run-1a2b3c4d.wandb")
    history = [values(record.history.item) for record in ended(file) if record.WhichOneof("record_type") == "history"]
    logged = {key: value for line in history for key, value in line.items() if key.startswith("figures/forest")}
    assert logged
    (sent,) = (file.parent / "files" / "media").rglob("*.png")
    with Image.open(sent) as shown:
        assert shown.size == (40, 30) and shown.convert("RGB").getpixel((3, 3)) == (0, 114, 178)


def test_a_figure_that_cannot_be_sent_is_drawn_all_the_same(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    report_figure([(run, Logger())], "forest", tmp_path / "none.png")
    assert capsys.readouterr().err.startswith("warning: forest was not reported to Weights & Biases (")


def test_wandb_never_fails_a_run(run, monkeypatch, capsys):
    import wandb

    def broken(**options):
        raise RuntimeError("no\nroute to host")

    monkeypatch.setattr(wandb, "init", broken)
    report(run, Logger(), PROTOCOL)
    assert capsys.readouterr().err == "warning: nothing was reported to Weights & Biases (no route to host).\n"


def test_files_alone_need_no_wandb(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    report(run, object(), PROTOCOL)
    assert not (run.path / "wandb").exists() and torch.is_tensor(run.read("toy-00000").reconstruction)


@pytest.mark.parametrize(("sweep", "key", "resume"), [(None, "1a2b3c4d", "allow"), ("s1", None, None)])
def test_an_agent_of_a_sweep_names_its_runs_itself(run, monkeypatch, sweep, key, resume):
    """W&B cannot resume a run inside a sweep."""
    import wandb

    asked = {}
    monkeypatch.setattr(wandb, "init", lambda **options: asked.update(options) or wandb.sdk.wandb_run)
    monkeypatch.setenv("WANDB_SWEEP_ID", sweep) if sweep else monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    report(run, Logger(), PROTOCOL)
    assert (asked["id"], asked["resume"], asked["group"]) == (key, resume, None)
