"""`edits.csv`: what is written is read, whatever the order; what tables and reports take from it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.evaluation.test_store import PROTOCOL, fill, start
from zinv.errors import StoreError
from zinv.evaluation.edits import EditInfo, edited, merge_edits, picture_path, read_edits, write_image
from zinv.evaluation.records import MetricInfo
from zinv.evaluation.report import report
from zinv.evaluation.rows import Row
from zinv.evaluation.scores import merge_records
from zinv.evaluation.store import Run

IDS = ["toy-00000", "torn", "toy-00001"]
IDENTITY = (MetricInfo("identity", "identity", True),)
INFO = EditInfo("edits 1: smile.", "1" * 64, "2" * 64, "step", ("smile",), (0.0, 1.0), PROTOCOL.digest, IDENTITY)


def rows(name: str, values: tuple[float, float]) -> list[dict[str, Any]]:
    head = {"image": name, "direction": "smile", "status": "ok"}
    return [{**head, "strength": d, "step": d, "identity": x} for d, x in zip((0.0, 1.0), values, strict=True)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = start(tmp_path)
    fill(run, ["toy-00000", "toy-00001", "torn"])
    merge_records(run, PROTOCOL, IDS)
    return run


def test_what_is_written_is_read_whatever_the_order(run: Run):
    assert edited(run, INFO, IDS) == set()
    write_image(run, INFO, "toy-00001", rows("toy-00001", (0.7, float("nan"))))
    write_image(run, INFO, "toy-00000", rows("toy-00000", (0.9, 0.1)))
    first = merge_edits(run, INFO, IDS).read_bytes()
    write_image(run, INFO, "toy-00001", rows("toy-00001", (0.7, float("nan"))))
    assert merge_edits(run, INFO, IDS).read_bytes() == first
    header, frame = read_edits(run.path)
    assert (header.edits, header.images, header.edited, header.missing) == (INFO, 3, 2, {"identity": 1})
    assert list(frame["image"]) == ["toy-00000"] * 2 + ["toy-00001"] * 2
    assert frame["identity"].tolist()[:3] == [0.9, 0.1, 0.7] and frame["identity"].isna().tolist()[3]


def test_other_edits_of_a_run_keep_their_table(run: Run):
    """`edits.csv` is of the edits asked for last; the first ones are there still, and come back when asked for."""
    age = replace(INFO, line="edits 3: age.", asks="3" * 64, digest="4" * 64, directions=("age",))
    for info in (INFO, age):
        write_image(run, info, "toy-00000", rows("toy-00000", (0.9, 0.1)))
        merge_edits(run, info, IDS)
    assert read_edits(run.path)[0].edits == age
    kept = {path.name: read_edits(path)[0].edits for path in (run.path / "edits").iterdir()}
    assert kept == {"22222222.csv": INFO, "44444444.csv": age}
    merge_edits(run, INFO, IDS)
    assert read_edits(run.path)[0].edits == INFO


def test_pictures_are_kept_before_the_records(run: Run):
    picture = {("smile", 1.0): torch.zeros(3, 4, 4)}
    write_image(run, INFO, "toy-00000", rows("toy-00000", (0.9, 0.1)), picture, [1.0])
    assert picture_path(run.path, INFO, "toy-00000", "smile", 1.0).is_file()
    assert edited(run, INFO, IDS, [1.0]) == {"toy-00000"}
    assert edited(run, INFO, IDS, [0.0]) == set()


def test_means_of_images_stand_beside_their_scores(run: Run):
    before = Row.read(run.path)
    write_image(run, INFO, "toy-00000", rows("toy-00000", (0.9, 0.1)))
    write_image(run, INFO, "toy-00001", rows("toy-00001", (0.7, float("nan"))))
    merge_edits(run, INFO, IDS)
    row = Row.read(run.path)
    names = [metric.name for metric in row.metrics]
    assert names == [*(metric.name for metric in before.metrics), "edited_identity", "edited_identity_all"]
    assert row.done["edited_identity"]["toy-00000"] == 0.1 and row.done["edited_identity"]["toy-00001"] == 0.0
    assert row.done["edited_identity_all"]["toy-00001"] == pytest.approx(0.35)
    assert row.num_edits == "4 (1 without identity)"


def test_edits_under_another_protocol_do_not_stand_there(run: Run):
    other = EditInfo(INFO.line, INFO.asks, INFO.digest, "step", ("smile",), (0.0, 1.0), "f" * 64, IDENTITY)
    write_image(run, other, "toy-00000", rows("toy-00000", (0.9, 0.1)))
    merge_edits(run, other, IDS)
    assert Row.read(run.path).edits is None


def test_wandb_gets_edits_and_their_means(run: Run, monkeypatch: pytest.MonkeyPatch):
    logged: dict[str, Any] = {}
    sent = SimpleNamespace(log=logged.update, summary=logged, finish=lambda: None)
    fake = SimpleNamespace(
        init=lambda **_: sent, Table=lambda columns, data: (columns, data), Settings=lambda **_: None, Image=lambda x: x
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    write_image(run, INFO, "toy-00000", rows("toy-00000", (0.9, 0.1)))
    merge_edits(run, INFO, IDS)
    report(run, SimpleNamespace(project="p", entity=None, group=None, mode="offline"), PROTOCOL)
    columns, data = logged["edits"]
    assert columns[:5] == ["image", "direction", "strength", "step", "status"] and len(data) == 2
    assert logged["edited_identity"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "not readable"), ("image\n", "not an edits file of zinv."), ("# zinv edits 1\n# run: 1\n", "are damaged")],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, words: str):
    if text is not None:
        (tmp_path / "edits.csv").write_text(text)
    with pytest.raises(StoreError, match=words):
        read_edits(tmp_path)
