"""Plans: frozen rows and code, grids and filters, seeds that change nothing, damaged and foreign plans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zinv.config import compose
from zinv.config.selection import Selected, Selection, select
from zinv.errors import ConfigError, StoreError
from zinv.evaluation import provenance
from zinv.plans import code, work
from zinv.plans.make import choose, freeze, plan_jobs, seed_counts
from zinv.plans.plan import Plan, current

CHECKOUT = Path(__file__).parents[2]
TINY = """
base: {generator: toy, method: optimize, method.num_steps: 2, data.num: 3, trainer: cpu}
grid: {space: [zplus, wplus], seed: [0, 1, 2]}
when:
  - {having: {space: wplus}, then: {method.lr: 0.05}}
"""
Cli = Callable[..., Any]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments" / "tiny"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(TINY)
    return folder


def rows(selected: Selected) -> list[set[str]]:
    return [set(row) for row in selected.rows]


def test_a_grid_without_a_folder(tiny: Path):
    selected = select(None, ["space=z,w", "seed=0,1", "method.sizes=[4,8]"], Selection(grid=True))
    assert [row - {"method.sizes=[4,8]"} for row in rows(selected)] == [
        {"space=z", "seed=0"},
        {"space=z", "seed=1"},
        {"space=w", "seed=0"},
        {"space=w", "seed=1"},
    ]
    again = select(None, ["seed=0,1", "space=z,w", "method.sizes=[4,8]"], Selection(grid=True))
    assert again.experiment.name == selected.experiment.name and selected.experiment.name.startswith("grid-")
    assert select(None, ["space=z,w"], Selection(grid=True)).experiment.name != selected.experiment.name


def test_axes_are_added_to_an_experiment_and_filters_choose_of_its_rows(tiny: Path):
    selected = select("tiny", ["method.lr=.1,.2"], Selection(grid=True, only=("space=wplus", "seed=1,2")))
    assert len(selected.rows) == 4 and not selected.whole
    assert all("space=wplus" in row and not row & {"seed=0"} for row in rows(selected))
    assert select("tiny", [], Selection()).whole


def test_overrides_of_when_stand_in_the_rows_that_have_the_values(tiny: Path):
    assert [("method.lr=0.05" in row) for row in rows(select("tiny", []))] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("spce=z", "--only spce=z: no row sets this key. Did you mean 'space'?"),
        ("space=zplu", "--only space=zplu: no row has this value. Did you mean 'zplus'? Choose from: wplus, zplus."),
        ("space", "space: not a key=value such as space=zplus."),
    ],
)
def test_filters_that_fit_no_row(tiny: Path, only: str, message: str):
    with pytest.raises(ConfigError) as error:
        select("tiny", [], Selection(only=(only,)))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "counts"),
    [
        ("method=optimize space=zplus", True),
        ("method=optimize space=wplus", False),
        ("method=optimize space=wplus space.start=random", True),
        ("method=optimize space=wplus method.jitter=.1", True),
        ("method=optimize space=wplus method.noise=kept", True),
        ("method=bdinvert space=wplus", False),
        ("method=bdinvert space=zplus", True),
        ("method=pti space=wplus", True),
    ],
)
def test_what_a_seed_can_change(tiny: Path, overrides: str, counts: bool):
    assert seed_counts(compose(["generator=toy", *overrides.split()])) == counts


def test_a_cell_that_no_seed_changes_runs_once_and_says_so(tiny: Path):
    jobs = plan_jobs(choose(select("tiny", [])))
    assert [job.name for job in jobs] == ["optimize-zplus-toy"] * 3 + ["optimize-wplus-toy"]
    assert [job.note for job in jobs] == [""] * 3 + ["no seed changes it: runs once, for seed=0,1,2"]
    assert len({job.id for job in jobs}) == 4


def test_a_frozen_plan_has_a_line_a_job_and_says_the_same_when_read(tiny: Path):
    selected = select("tiny", [])
    jobs = plan_jobs(choose(selected), shards=2)
    plan = freeze(selected.experiment, jobs)
    assert len((plan.folder / "jobs.jsonl").read_text().splitlines()) == len(jobs) == 8
    assert current(Path("runs/experiments/tiny")).jobs == jobs
    first, second = plan.jobs[:2]
    assert (first.id, second.id) == (f"{first.run_id}.0", f"{first.run_id}.1")
    assert (plan.ids(first), plan.ids(second)) == (["toy-00000", "toy-00002"], ["toy-00001"])
    assert (plan.num_images(first), plan.num_images(second)) == (2, 1)
    assert Path(first.folder or "").name == first.run_id
    assert first.config == compose(selected.rows[0])
    assert freeze(selected.experiment, jobs).folder == plan.folder


def test_more_shards_than_images_are_as_many_as_images(tiny: Path):
    assert len(plan_jobs(choose(select("tiny", [], Selection(only=("space=wplus",)))), shards=9)) == 3


def test_shards_of_a_row_on_several_devices_are_refused(tiny: Path):
    with pytest.raises(ConfigError, match="--shards 2: optimize-zplus-toy shares its images over processes already"):
        plan_jobs(choose(select("tiny", ["trainer.devices=2"])), shards=2)


def test_frozen_code_is_the_same_code_and_stays_when_the_source_changes(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    mine = tiny.parents[1] / "mylab"
    mine.mkdir()
    (mine / "helper.py").write_text("NAME = 'first'\n")
    (mine / "spaces.py").write_text(
        "from mylab.helper import NAME\nfrom zinv.spaces.w import WPlus\n\nclass Mine(WPlus):\n    label = NAME\n"
    )
    monkeypatch.syspath_prepend(str(mine.parent))
    selected = select("tiny", ["space=mylab.spaces.Mine", "seed=0"])
    plan = freeze(selected.experiment, plan_jobs(choose(selected)))
    (mine / "helper.py").write_text("NAME = 'second'\n")
    commands = "; ".join(
        [
            "from importlib.util import find_spec",
            "from zinv.evaluation import provenance",
            "import mylab.helper, zinv",
            "print(mylab.helper.NAME, provenance.code_digest(['mylab.spaces']), provenance.commit())",
            "print(zinv.__file__, find_spec('mylab.spaces').origin)",
        ]
    )
    environment = {**os.environ, **code.environment(plan.code)}
    done = subprocess.run(
        [sys.executable, "-c", commands], env=environment, capture_output=True, text=True, check=False
    )
    label, digest, *commit, file, space = done.stdout.split()
    assert label == "first", done.stderr
    assert (digest, " ".join(commit)) == (plan.facts["code"], provenance.commit())
    assert all(Path(path).is_relative_to(plan.code.resolve()) for path in (file, space))
    assert (plan.code / "mylab" / "spaces.py").read_bytes() == (mine / "spaces.py").read_bytes()
    changed = freeze(selected.experiment, plan_jobs(choose(selected)))  # another plan, though a helper alone differs
    assert changed.folder != plan.folder and changed.facts["code"] != plan.facts["code"]
    assert (changed.code / "mylab" / "helper.py").read_text() == "NAME = 'second'\n"
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


def test_a_plan_of_another_version_is_named_as_such(cli: Cli, tiny: Path):
    selected = select("tiny", [])
    plan = freeze(selected.experiment, plan_jobs(choose(selected)))
    facts = json.loads((plan.folder / "plan.json").read_text())
    (plan.folder / "plan.json").write_text(json.dumps({**facts, "format": 99, "version": "9.0"}))
    said = cli("status tiny")
    assert said.status == 2
    assert (
        "a plan of another version of zinv (9.0, format 99; this one reads format 1). Finished images are kept"
        in said.err
    )


def test_a_damaged_line_of_a_plan(cli: Cli, tiny: Path):
    selected = select("tiny", [])
    plan = freeze(selected.experiment, plan_jobs(choose(selected)))
    path = plan.folder / "jobs.jsonl"
    path.write_text(path.read_text().replace('{"id"', '{"id', 1))
    said = cli("status tiny")
    assert said.status == 2 and f"{path}: line 1 is damaged" in said.err


def test_two_experiments_of_one_name_share_no_plans(cli: Cli, tiny: Path):
    selected = select("tiny", [])
    freeze(selected.experiment, plan_jobs(choose(selected)))
    other = tiny.parents[1] / "other" / "tiny"
    other.mkdir(parents=True)
    (other / "experiment.yaml").write_text(TINY)
    said = cli("run other/tiny")
    assert said.status == 2
    assert f"has the plans of another experiment of this name ({tiny}; this one is {other})" in said.err
    assert not list(Path("runs").glob("*/*/images"))


def test_a_plan_in_a_folder_that_cannot_be_written(cli: Cli, tiny: Path):
    Path("runs").write_text("a file\n")
    said = cli("run tiny")
    assert said.status == 2 and "cannot write (Not a directory). Finished images are safe" in said.err


def test_a_job_of_a_plan_by_the_beginning_of_its_id(tiny: Path):
    selected = select("tiny", [])
    plan = freeze(selected.experiment, plan_jobs(choose(selected)))
    first = plan.jobs[0]
    assert plan.job(first.id[:6]) == first and plan.job("optimize-wplus-toy") == plan.jobs[3]
    with pytest.raises(StoreError, match="optimize-zplus-toy: several jobs have this name"):
        plan.job("optimize-zplus-toy")
    with pytest.raises(StoreError, match="zzz: no job of tiny. Choose from"):
        plan.job("zzz")


def test_needs_are_jobs_that_the_others_wait_for(tiny: Path):
    text = TINY + "needs: [{file: nowhere, command: train model=pnorm generator=toy}]\n"
    (tiny / "experiment.yaml").write_text(text)
    training, *others = plan_jobs(choose(select("tiny", [])))
    assert training.training and training.name == "train-pnorm" and training.folder is not None
    assert all(job.needs == [training.id] for job in others)


def test_a_training_that_needs_another_waits_for_it(tiny: Path):
    needs = [
        "{file: lab/generator, command: train model=generator}",
        "{file: lab/code, command: train model=base_code generator=file generator.path=lab/generator loss=pixel}",
    ]
    (tiny / "experiment.yaml").write_text(TINY + f"needs: [{', '.join(needs)}]\n")
    first, second, *others = plan_jobs(choose(select("tiny", [])))
    assert (first.needs, second.needs, second.folder) == ([], [first.id], None)
    assert all(job.needs == [first.id, second.id] for job in others)


def test_rows_that_differ_in_their_edits_alone_are_jobs_of_one_folder(tiny: Path):
    text = TINY.partition("grid")[0] + "rows: [{space: wplus, data.num: 2}, {space: wplus, data.num: 3}]\n"
    (tiny / "experiment.yaml").write_text(text)
    first, second = plan_jobs(choose(select("tiny", [])))
    assert first.folder == second.folder and second.id == f"{first.id}-2"


def test_rows_again_with_another_seed_are_jobs_that_are_no_rows(tiny: Path):
    (tiny / "experiment.yaml").write_text(TINY + "replication: 2\n")
    jobs = plan_jobs(choose(select("tiny", ["seed=4"], Selection(only=("space=zplus",)))))
    assert [(job.rerun, job.config["seed"], job.config["data"]["num"]) for job in jobs] == [(False, 4, 3), (True, 5, 2)]


def test_a_run_goes_through_a_plan_and_its_shards_share_the_images(cli: Cli, tiny: Path):
    said = cli("run tiny --only space=wplus --shards 2 --jobs 1")
    assert said.status == 0, said.err
    assert "optimize-wplus-toy: no seed changes it: runs once, for seed=0,1,2" in said.out
    assert [job.shard for job in Plan.open(next(Path("runs/experiments/tiny/plans").iterdir())).jobs] == [
        (0, 2),
        (1, 2),
    ]
    cli("run tiny --only space=wplus --jobs 1 runs=whole")
    (one,), (other,) = (list(Path(root).glob("*/*/records.csv")) for root in ("runs", "whole"))
    assert one.read_bytes() == other.read_bytes()
    assert said.out.count("images are left to other jobs, the last of which writes the records.") == 1


def test_processes_of_a_whole_node_do_jobs_of_their_own_on_a_gpu_each(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "ZINV_SPREAD": "1",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "2",
        "CUDA_VISIBLE_DEVICES": "4,7",
    }.items():
        monkeypatch.setenv(name, value)
    assert work._share(["a", "b", "c", "d"]) == ["b", "d"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7" and "SLURM_PROCID" not in os.environ
    assert work._is_first()
