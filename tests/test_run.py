"""Runs from the command line to the files: resume, extension, protocols, tables, experiments."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image as pil

import zinv
from zinv import jobs, sweep
from zinv.config import Config, compose, expand, experiment_names, find_experiment, layer, stored
from zinv.errors import WeightsError
from zinv.evaluation import provenance
from zinv.methods import steps
from zinv.weights import find

RUN = "evaluate generator=toy method=optimize space=wplus method.num_steps=3 trainer=cpu"
REPLACED = {"generator": "toy", "data": "toy", "loss": "pixel", "protocol": "pixel", "trainer": "cpu"}
LEFT_OUT = {*REPLACED, "direction", "runs"}  # directions are of another generator
Cli = Callable[..., Any]


def folder(root: Path = Path("runs")) -> Path:
    """The one run folder."""
    (found,) = (path.parent for path in root.glob("*/*/run.json"))
    return found


def rows(path: Path | None = None) -> list[dict[str, str]]:
    lines = (path or folder() / "records.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def states(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file of every finished image."""
    files = (path for path in (root / "images").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def no_descent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, a step of optimisation is a failure."""

    def forbid() -> None:
        monkeypatch.setattr(steps, "descend", lambda *_, **__: pytest.fail("an image was inverted again"))

    return forbid


def test_a_run_leaves_records_table_and_provenance(cli: Cli):
    said = cli(RUN)
    assert said.status == 0
    assert "W+" in said.out and "protocol pixel" in said.out
    run = folder()
    assert str(run) in said.out
    assert run.parent.name == "optimize-wplus-toy"
    names = [f"toy-{i:05d}" for i in range(4)]
    assert sorted(path.name for path in (run / "images").iterdir()) == names
    for name in names:
        files = {path.name for path in (run / "images" / name).iterdir()}
        assert {"inversion.safetensors", "reconstruction.png", "result.json", "scores"} <= files
    records = rows()
    assert [row["image"] for row in records] == names
    assert {row["status"] for row in records} == {"ok"}
    assert all(float(row["mse"]) > 0 and float(row["psnr"]) > 0 and float(row["loss_mse"]) > 0 for row in records)
    assert {row["num_steps"] for row in records} == {"3"}
    assert {row["scalars"] for row in records} == {"96"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["method"]["lr"] == 0.01
    facts = json.loads((run / "run.json").read_text())
    (start,) = facts["starts"]
    assert start["ranks"] == [4]
    (peak,) = start["peak_memory_bytes"]
    unit = 1 if sys.platform == "darwin" else 1024  # the two counts are taken at different moments
    assert 1e8 < peak <= 1.1 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    assert start["device"].startswith("cpu")
    assert {"command", "commit", "code", "versions", "host", "time"} <= set(start)
    times = rows(run / "times.csv")
    assert [row["image"] for row in times] == names
    mean = sum(float(row["seconds"]) for row in times) / len(times)
    assert start["seconds_per_image"] == pytest.approx(mean, abs=2e-3)
    assert 0 < 4 * start["seconds_per_image"] <= start["wall_seconds"] + 2e-3


def test_the_mse_of_a_table_is_that_of_the_8_bit_pictures(cli: Cli):
    import torch

    from zinv.data.sources import Toy
    from zinv.images import read_image

    cli(RUN, "data.num=2")
    for i, row in enumerate(rows()):
        stored = read_image(folder() / "images" / row["image"] / "reconstruction.png")
        assert float(row["mse"]) == pytest.approx(float((stored - Toy().image(i)).square().mean()), rel=1e-5)
        assert torch.isfinite(stored).all()


def test_the_same_command_again_does_nothing_twice(cli: Cli, no_descent: Callable[[], None]):
    first = cli(RUN)
    before, records = states(folder()), (folder() / "records.csv").read_bytes()
    no_descent()
    again = cli(RUN)
    assert again.status == 0
    assert again.out == first.out
    assert states(folder()) == before
    assert (folder() / "records.csv").read_bytes() == records


def test_more_images_extend_a_run(cli: Cli):
    cli(RUN, "data.num=2")
    before = states(folder())
    cli(RUN, "data.num=4")
    after = states(folder())
    assert before.items() <= after.items()
    cli(RUN, "data.num=4", "runs=other")
    assert (folder() / "records.csv").read_bytes() == (folder(Path("other")) / "records.csv").read_bytes()


def test_fewer_images_table_fewer(cli: Cli):
    cli(RUN)
    cli(RUN, "data.num=2")
    assert len(rows()) == 2


def test_batch_size_names_no_run_and_changes_no_record(cli: Cli):
    cli(RUN)
    cli(RUN, "data.batch_size=3", "runs=other")
    one, three = rows(), rows(folder(Path("other")) / "records.csv")
    assert folder().name == folder(Path("other")).name
    for a, b in zip(one, three, strict=True):
        assert float(a["mse"]) == pytest.approx(float(b["mse"]), rel=1e-4)


def test_a_seed_is_another_run(cli: Cli):
    cli(RUN.replace("wplus", "zplus"), "data.num=1")
    cli(RUN.replace("wplus", "zplus"), "data.num=1", "seed=1")
    assert len({row["mse"] for path in Path("runs").glob("*/*/records.csv") for row in rows(path)}) == 2


def test_an_images_result_does_not_depend_on_the_others(cli: Cli):
    line = "evaluate generator=toy method=bdinvert space=zplus method.num_steps=3 trainer=cpu"
    cli(line, "data.num=3")
    for name in ("toy-00000", "toy-00001"):
        shutil.rmtree(folder() / "images" / name)
    before = rows()
    cli(line, "data.num=3")
    assert rows() == before


def test_a_trace_is_a_side_file(cli: Cli):
    cli(RUN, "trace=2", "data.num=1")
    traced = rows(folder() / "images" / "toy-00000" / "trace.csv")
    assert [row["step"] for row in traced] == ["0", "2"]
    assert float(traced[1]["mse"]) < float(traced[0]["mse"])


def test_another_protocol_costs_no_step(cli: Cli, no_descent: Callable[[], None]):
    cli(RUN)
    records = (folder() / "records.csv").read_bytes()
    no_descent()
    said = cli(f"score {folder()} protocol=pixel protocol.name=small protocol.resolution=12 protocol.metrics=[mse]")
    assert said.status == 0
    assert "protocol small" in said.out and "resized to 12" in said.out
    scored = rows(folder() / "records-small.csv")
    assert len(scored) == 4 and "psnr" not in scored[0]
    assert scored[0]["mse"] != rows()[0]["mse"]
    assert (folder() / "records.csv").read_bytes() == records


@pytest.mark.parametrize(
    ("fmt", "words"),
    [
        ("terminal", ["┃ space ", "│ W+ "]),
        ("md", ["| space | MSE ↓ |", "|:--|--:|", "| W+ |"]),
        ("latex", [r"\toprule", r"MSE $\downarrow$", r"\bottomrule"]),
        ("csv", ["# protocol pixel", "\nW+,"]),
    ],
)
def test_tables_in_each_format(cli: Cli, fmt: str, words: list[str]):
    cli(RUN, "data.num=3")
    cli(RUN.replace("wplus", "w"), "data.num=3")
    printed = cli(f"table runs --format {fmt}").out
    assert [word for word in words if word not in printed] == []
    cli(f"table runs --format {fmt} --output table.txt")
    assert Path("table.txt").read_text().strip() == printed.strip()


def test_a_csv_table_can_be_read(cli: Cli):
    cli(RUN, "data.num=3")
    printed = cli("table runs --format csv").out
    (row,) = csv.DictReader(io.StringIO("\n".join(x for x in printed.splitlines() if not x.startswith("#"))))
    mean = sum(float(row["mse"]) for row in rows()) / 3
    assert any(value and abs(_number(value) - mean) < 1e-5 for value in row.values())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def test_pandas_reads_the_records(cli: Cli):
    cli(RUN, "data.num=3")
    frame = zinv.load(str(folder())).records()
    assert len(frame) == 3
    assert float(frame["mse"].iloc[0]) == float(rows()[0]["mse"])


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiments" / "tiny"
    path.mkdir(parents=True)
    (path / "experiment.yaml").write_text(
        """
title: Two spaces.
base: {generator: toy, method: optimize, method.num_steps: 3, trainer: cpu, data.num: 3}
rows:
  - {space: wplus, label: everything}
  - {space: w}
table: {columns: [mse, ssim]}
"""
    )
    return path


def test_an_experiment_runs_each_row_and_tables_them(cli: Cli, experiment: Path, no_descent: Callable[[], None]):
    said = cli("run tiny --jobs 1")
    assert said.status == 0
    assert "[1/2] everything" in said.out and "[2/2]" in said.out
    assert "MSE ↓ ┃ SSIM ↑ ┃" in " ".join(said.out[said.out.rindex("┏") :].split())  # the columns asked for
    assert not (experiment / "results.csv").exists()
    no_descent()
    assert cli("run tiny --jobs 1").status == 0
    assert "everything" in cli("table tiny").out


def test_status_sees_how_the_jobs_of_a_run_ended(cli: Cli, experiment: Path, monkeypatch: pytest.MonkeyPatch):
    def found() -> list[tuple[str, str, str, int]]:
        jobs = json.loads(cli("status tiny --json").out)
        return [(job["state"], job["reason"] or "", job["error"], job["finished"]) for job in jobs]

    def evaluate(*arguments: object) -> int:
        seen.extend(state for state, *_ in found())
        if len(seen) == 2:
            raise MemoryError("too large")
        raise KeyboardInterrupt

    seen: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "evaluate_config", evaluate)
        for _ in range(2):
            with contextlib.suppress(MemoryError):
                cli("run tiny --jobs 1")
    assert seen == ["running", "to do", "running", "to do"]
    assert found() == [("stopped", "stopped", "", 0), ("to do", "", "", 0)]
    cli("run tiny --jobs 1")
    assert found() == [("done", "", "", 3)] * 2
    tries = sorted(Path("runs/experiments/tiny/jobs").glob("*/*"))
    cli("run tiny --jobs 1")
    assert len(tries) == 4 and sorted(Path("runs/experiments/tiny/jobs").glob("*/*")) == tries


def test_results_are_committed_on_request_and_compared_otherwise(cli: Cli, experiment: Path):
    cli("run tiny --jobs 1")
    assert "written:" in cli("run tiny --jobs 1 --update").out
    committed = (experiment / "results.csv").read_bytes()
    assert b"everything" in committed
    said = cli("run tiny method.num_steps=4 --jobs 1")
    assert said.status == 0
    assert (experiment / "results.csv").read_bytes() == committed
    cli("table tiny --update")
    assert (experiment / "results.csv").read_bytes() == committed


def needing(experiment: Path, *needs: str) -> None:
    text = (experiment / "experiment.yaml").read_text()
    (experiment / "experiment.yaml").write_text(f"{text}needs: [{', '.join(f'{{{need}}}' for need in needs)}]\n")


def test_what_an_experiment_needs_is_trained_first(cli: Cli, experiment: Path):
    command = "train model=pnorm generator=toy model.num=2000 trainer.accelerator=cpu"
    needing(experiment, f"file: lab/pnorm, kind: P_N statistics, of: lab/toy, command: {command}")
    said = cli("run tiny --jobs 1")
    (file,) = Path("runs/train").glob("pnorm-toy-*/pnorm.safetensors")
    assert f"tiny needs what this makes: zinv {command}\n{file}" in said.out
    assert said.status == 2
    assert f"error: tiny needs lab/pnorm, and `zinv {command}` has made a file of another name. Give the " in said.err
    Path("runs/train/lab").mkdir()
    file.rename("runs/train/lab/pnorm.safetensors")
    said = cli("run tiny --jobs 1")
    assert said.status == 0 and "needs" not in said.out


@pytest.mark.parametrize("command", ["convert a b", "train model=invertibility model.runs=[…]"])
def test_what_no_training_makes_is_named(cli: Cli, experiment: Path, command: str):
    needing(experiment, f'file: nowhere, command: "{command}"')
    said = cli("run tiny --jobs 1")
    assert (said.status, said.err) == (2, f"error: nowhere: missing; `zinv {command}` makes it, which no job can.\n")
    assert not Path("runs").exists()


KEEPS = {"codes": (), "images": ("reconstruction.png",), "all": ("reconstruction.png", "target.png")}


def test_codes_alone_give_the_table_of_images_and_their_pictures(cli: Cli, experiment: Path):
    for keep in KEEPS:
        assert cli(f"run tiny --jobs 1 store.keep={keep} runs={keep}").status == 0
    found = {keep: sorted(path.name for path in Path(keep).glob("optimize-w-toy/*/images/*/*.png")) for keep in KEEPS}
    assert {keep: set(names) for keep, names in found.items()} == {
        keep: set(pictures) for keep, pictures in KEEPS.items()
    }
    files = sorted(path.relative_to("codes") for path in Path("codes").glob("*/*/records.csv"))
    assert len(files) == 2
    for file in files:
        assert len({(Path(keep) / file).read_bytes() for keep in KEEPS}) == 1
    run = str(next(Path("codes").glob("optimize-w-toy/*")))
    said = cli(f"figure reconstructions {run}")
    assert said.err == (
        f"error: {run}: its pictures were not kept (store.keep=codes); `zinv score {run} --pictures` makes them.\n"
    )
    assert cli(f"score {run} --pictures").status == 0
    for picture in Path("images").glob("optimize-w-toy/*/images/*/reconstruction.png"):
        assert (Path("codes") / picture.relative_to("images")).read_bytes() == picture.read_bytes()


def test_what_is_kept_is_one_of_three(cli: Cli):
    said = cli("evaluate generator=toy store.keep=code")
    assert said.status == 2 and said.err.startswith("error: store.keep=code: unknown choice. Did you mean 'codes'?")


def test_a_mistake_in_a_later_row_shows_before_the_first_runs(cli: Cli, experiment: Path):
    text = (experiment / "experiment.yaml").read_text()
    (experiment / "experiment.yaml").write_text(text.replace("{space: w}", "{space: w, method.lrr: 1}"))
    said = cli("run tiny --jobs 1")
    assert said.status == 2 and "method.lrr=1: no such key. Did you mean 'lr'?" in said.err
    assert not Path("runs").exists()


def test_a_row_without_any_result_is_tabled_as_such(cli: Cli, experiment: Path):
    text = (experiment / "experiment.yaml").read_text()
    (experiment / "experiment.yaml").write_text(text.replace("{space: w}", "{space: w, method.lr: 1e30}"))
    said = cli("run tiny --jobs 1")
    assert said.status == 1
    assert "failed: toy-00000: " in said.out and "is not finite" in said.out
    (row,) = (line for line in cli("table tiny --format csv").out.splitlines() if line.startswith("W,"))
    assert row.startswith("W,–,,–,,") and "3 failed" in row


def test_a_row_on_several_devices_is_a_process_of_its_own(cli: Cli, experiment: Path, monkeypatch: pytest.MonkeyPatch):
    """Lightning starts the whole command line again on each device."""
    commands: list[list[str]] = []
    configs: list[Config] = []

    def note(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "evaluate" in command:
            commands.append(command)
            configs.append(stored(Path(command[5])))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(jobs.subprocess, "run", note)
    monkeypatch.setattr(sweep, "read_rows", lambda *_: [])
    monkeypatch.setattr(sweep, "show_tables", lambda *_: None)
    assert cli("run tiny trainer.devices=2 logger=wandb --keep").status == 0
    first, second = commands
    assert first[1:5] == ["-m", "zinv", "evaluate", "--config"] and {"logger.group=tiny", "--keep"} <= set(second)
    assert [config["space"]["_name_"] for config in configs] == ["wplus", "w"]
    assert [config["trainer"]["devices"] for config in configs] == [2, 2]


def test_a_configuration_is_run_as_it_was_whatever_presets_say_now(cli: Cli, tmp_path: Path):
    preset = tmp_path / "configs" / "method" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# mine\n_target_: zinv.methods.optimize.Optimize\nnum_steps: 2\n")
    first = cli("evaluate generator=toy method=mine space=wplus trainer=cpu data.num=2")
    assert first.status == 0, first.err
    folder = first.out.splitlines()[-1]
    preset.write_text("# mine\n_target_: zinv.methods.optimize.Optimize\nnum_steps: 3\nlr: .5\n")
    (tmp_path / "kept.yaml").write_bytes((tmp_path / folder / "config.yaml").read_bytes())
    again = cli("evaluate --config kept.yaml --fresh")
    assert (again.status, again.out.splitlines()[-1]) == (0, folder)
    other = cli(f"evaluate --config {folder} space=w").out.splitlines()[-1]
    assert "num_steps: 2" in (tmp_path / other / "config.yaml").read_text()


def test_a_configuration_that_is_not_there_is_named(cli: Cli):
    said = cli("evaluate --config nowhere.yaml")
    assert said.status == 2
    assert said.err == "error: nowhere.yaml: neither a configuration nor a run folder (it has no config.yaml).\n"


@pytest.mark.slow
def test_rows_side_by_side_give_the_bytes_of_rows_in_turn(cli: Cli, experiment: Path):
    """Processes of one thread: the tests run with OMP_NUM_THREADS=1."""
    said = cli("run tiny --jobs 2 runs=two")
    assert said.status == 0, said.err
    assert "[1/2] everything: started" in said.out and "[2/2] optimize-w-toy: started" in said.out
    (ended,) = (line for line in said.out.splitlines() if line.startswith("[2/2] W: "))
    mean = sum(float(row["mse"]) for row in rows(*Path("two").glob("optimize-w-toy/*/records.csv"))) / 3
    assert f"MSE {mean:.5f} ± " in ended and "SSIM" in ended and ", 3 images, " in ended and "/2 rows, " in ended
    assert said.out.count("protocol pixel") == 1  # one table, that of the experiment
    in_turn = cli("run tiny --jobs 1 runs=one")
    assert said.out[said.out.rindex("┏") :] == in_turn.out[in_turn.out.rindex("┏") :]
    files = sorted(path.relative_to("one") for path in Path("one").glob("*/*/records.csv"))
    assert len(files) == 2
    assert all((Path("one") / file).read_bytes() == (Path("two") / file).read_bytes() for file in files)


@pytest.mark.slow
def test_an_error_of_a_row_stops_no_other(cli: Cli, experiment: Path):
    Path("broken.safetensors").write_bytes(b"x")
    text = (experiment / "experiment.yaml").read_text()
    row = "{method: bdinvert, space: w, method.encoder: broken.safetensors}"
    contrast = "contrasts: [{row: F/W, against: everything, metric: mse}]\n"
    (experiment / "experiment.yaml").write_text(text.replace("- {space: w}", f"- {row}\n  - {{space: w}}") + contrast)
    for num in (2, 1):
        said = cli(f"run tiny --jobs {num} --update")
        assert said.status == 1
        (line,) = said.err.splitlines()
        assert line.startswith("error: [2/3] bdinvert-w-toy: ") and "broken.safetensors: not a readable" in line
        assert "│ everything " in said.out and "│ W " in said.out
        assert "1 of 3 rows failed" in said.out
        assert not (experiment / "results.csv").exists()


@pytest.mark.slow
def test_a_process_that_dies_is_a_row_that_failed(cli: Cli, experiment: Path, tmp_path: Path):
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom zinv.spaces.w import W\n\nclass Deadly(W):\n"
        "    def initial(self, generator, rngs):\n        os.kill(os.getpid(), 9)\n"
    )
    text = (experiment / "experiment.yaml").read_text()
    (experiment / "experiment.yaml").write_text(text.replace("rows:", "rows:\n  - {space: deadly.Deadly}"))
    said = cli("run tiny --jobs 2 data.num=1")
    assert said.status == 1
    assert said.err == "error: [1/3] optimize-deadly-toy: its process was killed by signal 9.\n"
    assert "│ everything " in said.out and "│ W " in said.out


def test_rows_of_other_code_are_refused_before_the_first_run(
    cli: Cli, experiment: Path, monkeypatch: pytest.MonkeyPatch
):
    cli("run tiny --jobs 1")
    shutil.rmtree(next(Path("runs").glob("optimize-wplus-toy")))
    monkeypatch.setattr(provenance, "_package_digest", lambda: "changed")
    said = cli("run tiny --jobs 1")
    assert said.status == 2 and said.out == "" and "its 3 images were made by other code" in said.err
    assert cli("run tiny --jobs 1 --keep").status == 0


@pytest.mark.parametrize(
    ("trainer", "num"),
    [
        ("trainer=cpu", 6),
        ("trainer=auto", 6),
        ("trainer=gpu", 3),
        ("trainer=cpu --jobs 2", 2),
        ("trainer=gpu --jobs 2", 2),
    ],
)
def test_as_many_rows_at_a_time_as_cores_unless_they_are_on_a_gpu(
    cli: Cli, experiment: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, num: int
):
    found: list[int] = []
    monkeypatch.setattr("zinv.early.check_devices_of_experiment", lambda *_: None)  # a GPU is not needed to plan for it
    monkeypatch.setattr(jobs, "num_cores", lambda: 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3")
    monkeypatch.setattr(jobs.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(jobs.torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(jobs, "side_by_side", lambda work, tasks, num, started, ended: found.append(num))
    monkeypatch.setattr(jobs, "_in_turn", lambda *_: found.append(1) or 0)
    monkeypatch.setattr(sweep, "show_tables", lambda *_: None)
    text = (experiment / "experiment.yaml").read_text()
    (experiment / "experiment.yaml").write_text(text + "grid: {method.lr: [0.1, 0.2, 0.3, 0.4]}\n")
    cli(f"run tiny {trainer}")
    assert found == [num]


def test_a_control_is_told_under_the_table_of_all_rows(cli: Cli, experiment: Path):
    text = (experiment / "experiment.yaml").read_text()
    rows_ = "rows:\n  - {method: bdinvert, space: fixed}\n  - {method: bdinvert, space: z}"
    (experiment / "experiment.yaml").write_text(
        text.replace("rows:", rows_) + "control: {row: F alone, plain: everything}\n"
    )
    said = cli("run tiny method.num_steps=20 --jobs 1")
    assert said.status == 0, said.err
    words = re.sub(r"\(0\.\d+\) ", "", " ".join(said.out.split()))
    (share,) = re.findall(r"Control: F alone has (\d+)% of what F/Z gains over everything in MSE \(95 % boot", words)
    assert 50 < int(share) < 150
    assert "Control: F alone" in cli("table tiny method.num_steps=20").out
    shutil.rmtree(next(Path("runs").glob("optimize-w-toy")))
    assert "Control" not in cli("table tiny method.num_steps=20").out


def test_what_is_said_of_the_pictures_stands_under_the_table(cli: Cli):
    Path("photos").mkdir()
    pil.new("RGB", (16, 16), (80, 20, 30)).save("photos/a.png")
    line = f"{RUN} data=folder data.path=photos"
    cli(line)
    before = folder()
    said = cli(line, "data.remark=These are not aligned.")
    assert folder() == before  # it names no run
    assert "These are not aligned." in said.out
    assert json.loads((before / "run.json").read_text())["settings"]["remark"] == "These are not aligned."
    assert "# These are not aligned." in cli("table runs --format csv").out


def test_a_name_is_the_label_of_the_row_and_no_other_run(cli: Cli):
    cli(RUN, "data.num=1")
    first = folder()
    assert "mine" in cli(RUN, "data.num=1", "name=mine").out
    assert folder() == first


def test_records_over_two_digests_of_the_code_say_so(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    cli(RUN, "data.num=2")
    monkeypatch.setattr(provenance, "_package_digest", lambda: "changed")
    said = cli(f"{RUN} data.num=3 --keep")
    assert said.status == 0
    assert len({row["code"] for row in rows()}) == 2
    assert "code" in said.out.lower()
    fresh = cli(f"{RUN} data.num=3 --fresh")
    assert fresh.status == 0
    assert len({row["code"] for row in rows()}) == 1


@pytest.mark.parametrize("name", experiment_names())
def test_the_first_run_of_an_experiment_works_on_the_toy_generator(cli: Cli, name: str):
    first = expand(find_experiment(name))[0]
    kept = [override for override in first if override.partition(".")[0].partition("=")[0] not in LEFT_OUT]
    small = [f"{group}={choice}" for group, choice in REPLACED.items()]
    given = layer(kept, [*small, "data.num=2"])
    given = ["method=idinvert" if x == "method=idinvert_released" else x for x in given]  # whose encoder is a file
    few = [f"method.{key}=2" for key in compose(given)["method"] if key.endswith("_steps")]
    assert cli("evaluate", *layer(given, few)).status == 0
    assert len(rows()) == 2


@pytest.mark.slow
@pytest.mark.required
def test_the_demo_with_two_images_and_twenty_steps(cli: Cli):
    try:
        find("portraits/generator")
    except WeightsError as error:
        pytest.skip(str(error))
    said = cli("run demo data.num=2 method.num_steps=20")
    assert said.status == 0
    printed = said.out[said.out.rindex("[14/14]") :]
    for label in ("Z", "Z+", "W", "W+", "W(P_N)", "W+(P_N)", "S", "F/Z", "F/Z+", "F/W", "F/W+", "F/W+(P_N)", "F/S"):
        assert f"│ {label} " in printed
    assert "F alone" in printed
