"""`zinv figure` and the contrasts of `zinv table` on an experiment of toys, from its runs to the files."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from zinv.cli import main
from zinv.config import compose, find_experiment, run_folder

EXPERIMENT = """
base: {generator: toy, data: toy, data.num: 4, method.num_steps: 2, protocol: pixel}
rows:
  - {space: zplus}
  - {space: wplus}
contrasts:
  - {row: Z+, against: W+, metric: mse, margin: 1.0, unit: dB}
"""
LATE = "  - {row: W+, against: Z+, metric: ssim, claim: equivalent, margin: 0.1}\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A working folder in which the experiment `lab` has run."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("experiments/lab").mkdir(parents=True)
        Path("experiments/lab/experiment.yaml").write_text(EXPERIMENT)
        assert main(["run", "lab", "--jobs", "1"]) == 0
    return folder


@pytest.fixture
def lab(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    return tmp_path / "lab"


def caption(path):
    return " ".join(Path(path).read_text().split())


def test_a_grid_is_written_with_its_rule_and_its_supplement(lab, capsys):
    assert main(["figure", "reconstructions", "lab", "--pick", "worst:1,best:1"]) == 0
    told = capsys.readouterr().out
    files = sorted(path.name for path in Path("figures/lab").iterdir())
    assert files == [f"reconstructions{end}" for end in ("-all.pdf", ".pdf", ".png", ".txt")]
    text = caption("figures/lab/reconstructions.txt")
    assert "Of 4 images, by Z+ minus W+ in MSE: the worst, the best." in text and "protocol pixel" in text
    assert text in " ".join(told.split())
    with Image.open("figures/lab/reconstructions.png") as picture:
        assert picture.width > 400 and picture.info["Description"] == text
    fonts = Path("figures/lab/reconstructions.pdf").read_bytes()
    assert b"/FontFile2" in fonts and b"/Type3" not in fonts


def test_the_pictures_picked_are_those_with_the_worst_difference(lab):
    from zinv.stage import Stage, Wishes
    from zinv.tables import find_rows

    stage = Stage(find_rows(["lab"]), Wishes(pick="worst:1,best:1"))
    z, w = (row.done["mse"] for row in stage.rows.values())
    assert stage.picked()[0] == [(z - w).idxmax(), (z - w).idxmin()]


def test_the_metrics_of_a_figure_are_those_of_the_experiments_table(lab):
    from zinv.stage import Stage, Wishes
    from zinv.tables import find_rows

    names = [metric.name for metric in Stage(find_rows(["lab"]), Wishes()).metrics()]
    with Path("experiments/lab/experiment.yaml").open("a") as file:
        file.write("table: {columns: [ssim, edited_identity, mse]}\n")
    shown = [metric.name for metric in Stage(find_rows(["lab"]), Wishes()).metrics()]
    asked = [metric.name for metric in Stage(find_rows(["lab"]), Wishes(metric="psnr")).metrics()]
    assert (names, shown, asked) == (["mse", "psnr", "ssim"], ["ssim", "mse"], ["psnr"])


def test_forest_and_default_kinds(lab):
    assert main(["figure", "lab", "--metric", "mse,ssim", "--output", "out"]) == 0
    assert {path.name for path in Path("out").glob("*.png")} == {"forest.png", "reconstructions.png"}
    assert "Paired mean differences over 4 images, Z+ minus W+" in caption("out/forest.txt")


def test_figures_of_edits(lab, capsys):
    write_edits()
    assert main(["figure", "edits", "identity", "frontier", "lab", "--strengths=-1,0,1", "--pick", "first:2"]) == 0
    names = {path.stem for path in Path("figures/lab").glob("*.png")}
    assert names == {"edits-age", "identity-step", "identity-change", "frontier"}
    assert "identity against the step" in caption("figures/lab/identity-step.txt")
    assert main(["figure", "edits", "lab", "--strengths", "3"]) == 2
    assert "error: --strengths 3: age has -1, 0, 1." in capsys.readouterr().err


def test_edits_are_shown_at_the_strengths_whose_pictures_were_kept(lab):
    """Kept at -1 and 1 in both rows, at 0 in one; without any, the figure says how to keep them."""
    from zinv.draw import _fitting
    from zinv.stage import Stage, Wishes
    from zinv.tables import find_rows

    write_edits()
    assert _fitting(Stage(find_rows(["lab"]), Wishes())) == ["reconstructions", "identity", "forest", "frontier"]
    assert main(["figure", "edits", "lab", "--output", "lacking", "--pick", "first:1"]) == 0
    words = "6 edited pictures were not kept; direction.keep=STRENGTHS keeps those of a run."
    assert caption("lacking/edits-age.txt").endswith(words)
    for place, strengths in ((0, ("-1", "0", "1")), (1, ("-1", "1"))):
        for image in (run_of(place) / "images").iterdir():
            folder = image / "edits" / "bbbbbbbb" / "age"
            folder.mkdir(parents=True)
            for strength in strengths:
                Image.new("RGB", (16, 16)).save(folder / f"{strength}.png")
    assert main(["figure", "edits", "lab", "--output", "kept", "--pick", "first:1"]) == 0
    assert "not kept" not in caption("kept/edits-age.txt")


def test_calibrated_edits_are_shown_where_all_rows_reach_them(lab):
    """Four images at -1, 0 and 1, of which one row fails at 1 everywhere; the change is no step."""
    write_edits(amount="attribute", failing=1.0)
    assert main(["figure", "identity", "frontier", "lab"]) == 0
    assert {path.stem for path in Path("figures/lab").glob("*.png")} == {
        *("identity-asked", "identity-change", "frontier")
    }
    for name in ("identity-asked", "identity-change", "frontier"):
        assert "On the 8 of 12 edits that all rows reach." in caption(f"figures/lab/{name}.txt")
    words = "identity against the change asked for (change of its attribute, by the first network), n = 4 images"
    assert words in caption("figures/lab/identity-asked.txt")


def test_other_edits_cannot_share_a_figure(lab, capsys):
    write_edits(protocols=("a1" * 4, "b2" * 4))
    assert main(["figure", "identity", "lab"]) == 2
    error = capsys.readouterr().err
    assert "two protocols, cannot share a figure: 'Z+' aaaaaaaa under a1a1a1a1, 'W+' aaaaaaaa under b2b2b2b2" in error


def test_two_protocols_cannot_share_a_figure(lab, capsys):
    records = run_of(0) / "records.csv"
    records.write_text(re.sub(r'(# protocol digest: ").{4}', r"\1beef", records.read_text()))
    assert main(["figure", "lab"]) == 2
    assert "error: two protocols cannot share a table or figure: 'Z+' by pixel" in capsys.readouterr().err


def test_a_half_done_experiment_says_what_is_missing(lab, capsys):
    shutil.rmtree(run_of(1))
    assert main(["figure", "reconstructions", "lab"]) == 0
    assert caption("figures/lab/reconstructions.txt").endswith("Not done yet: space=wplus.")
    assert main(["table", "lab"]) == 0
    assert "Not all runs are done: Z+ against W+ in mse." in " ".join(capsys.readouterr().out.split())
    assert main(["figure", "forest", "lab"]) == 2
    assert "a forest plot is of methods with runs in both Z+ and W+; there is none." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("figure lab --pick wrost:2", "--pick wrost: there is no such rule. Did you mean 'worst'?"),
        ("figure frest lab", "figure frest: neither a figure, an experiment nor a folder. Did you mean 'forest'?"),
        ("figure lab --rows Z+,Wp", "--rows Wp: no such row. Did you mean 'W+'?"),
        ("figure lab --contrast Z+:W+", "--contrast Z+:W+: write ROW:AGAINST:METRIC, such as F/Z+:F/W+:mse."),
        ("figure lab --contrast Z+:W+:msee", "msee: protocol pixel has no such metric. Did you mean 'mse'?"),
        ("figure edits lab", "edits.csv: not readable"),
        ("figure masks lab", "no run has masks stored"),
        ("table runs --contrasts", "--contrasts: name one experiment that declares contrasts."),
    ],
)
def test_mistakes_are_one_line(lab, capsys, line, message):
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_a_contrast_declared_after_the_run_is_marked(lab, capsys):
    assert main(["table", "lab", "--contrasts", "--format", "csv"]) == 0
    assert "declared after the run" not in capsys.readouterr().out
    with Path("experiments/lab/experiment.yaml").open("a") as file:
        file.write(LATE)
    assert main(["table", "lab", "--contrasts", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first, late = (next(line for line in lines if line.startswith(start)) for start in ("Z+,W+,mse", "W+,Z+,ssim"))
    assert "declared after the run" in late and "declared after the run" not in first
    assert main(["figure", "reconstructions", "lab", "--contrast", "W+:Z+:ssim", "--pick", "best:1"]) == 0
    assert "by W+ minus Z+ in SSIM (a contrast that was declared after the run): the best." in caption(
        "figures/lab/reconstructions.txt"
    )


def test_what_was_declared_is_in_the_experiments_folder(lab):
    record = json.loads(Path("runs/experiments/lab.json").read_text())
    assert {*record} == {"/".join(run_of(i).parts[-2:]) for i in (0, 1)}
    assert all(entry["contrasts"][0]["unit"] == "dB" for entry in record.values())


def run_of(place):
    from zinv.config import expand

    return run_folder(compose(expand(find_experiment("lab"))[place]))


def write_edits(protocols=("a1" * 4, "a1" * 4), amount="step", failing=None):
    """An edits.csv of made-up numbers in both runs, as editing writes it."""
    identity = {"name": "identity", "label": "identity", "higher_is_better": True, "network": None, "digits": 4}
    for place, protocol in enumerate(protocols):
        run = run_of(place)
        info = {
            **{"line": "edits", "asks": "a" * 8, "digest": "b" * 8, "amount": amount, "directions": ["age"]},
            **{"strengths": [-1.0, 0.0, 1.0], "protocol": protocol, "identity": [identity]},
        }
        header = {"run": "r", "commit": "", "settings": {}, "edits": info, "images": 4, "edited": 4, "missing": {}}
        images = sorted(path.name for path in (run / "images").iterdir())
        rows = [
            (name, "age", x, x, "failed" if place and x == failing else "ok", 0.9 - 0.1 * x * x, x / 2, "", "")
            for name in images
            for x in (-1.0, 0.0, 1.0)
        ]
        columns = ["image", "direction", "strength", "step", "status", "identity", "judge_change", "note", "reason"]
        lines = ["# zinv edits 1", *(f"# {key}: {json.dumps(value)}" for key, value in header.items())]
        (run / "edits.csv").write_text(
            "\n".join(lines) + "\n" + pd.DataFrame(rows, columns=columns).to_csv(index=False)
        )
