"""An experiment's file makes its runs, in a stable order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zinv import weights
from zinv.config import compose, expand, find_experiment, layer, missing_needs
from zinv.config.experiment import Contrast, Control, Need, experiment_names
from zinv.errors import ConfigError


def write(lab: Path, text: str, name: str = "mine") -> None:
    folder = lab / "experiments" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.yaml").write_text(text)


def test_a_grid_varies_its_last_key_fastest(lab: Path):
    write(lab, "base: {seed: 3}\ngrid: {space: [sphere, ball], method.lr: [1e-2, .1]}")
    assert expand(find_experiment("mine")) == [
        ["seed=3", "space=sphere", "method.lr=0.01"],
        ["seed=3", "space=sphere", "method.lr=0.1"],
        ["seed=3", "space=ball", "method.lr=0.01"],
        ["seed=3", "space=ball", "method.lr=0.1"],
    ]


def test_rows_have_labels_and_win_over_the_base(lab: Path):
    write(lab, "base: {space: sphere}\nrows: [{label: F/B+, space: ball}, {method.sizes: [4, 8], space.mode: none}]")
    rows = expand(find_experiment("mine"))
    assert rows == [["space=ball", "name=F/B+"], ["space=sphere", "method.sizes=[4,8]", "space.mode=none"]]
    assert compose(rows[0])["name"] == "F/B+"
    assert compose(rows[1])["method"]["sizes"] == [4, 8]


def test_each_row_has_all_cells_of_a_grid(lab: Path):
    write(lab, "rows: [{space: sphere}, {space: ball}]\ngrid: {seed: [0, 1]}")
    assert [row[1] for row in expand(find_experiment("mine"))] == ["seed=0", "seed=1"] * 2


def test_excluded_and_conditional_rows(lab: Path):
    text = """
    grid: {space: [sphere, ball], seed: [0, 1, 2]}
    exclude: [{space: ball, seed: [1, 2]}]
    when:
      - having: {space: sphere, seed: 0}
        then: {method.lr: .5, seed: 9}
    """
    write(lab, text)
    rows = expand(find_experiment("mine"))
    assert rows[0] == ["method.lr=0.5", "seed=0", "space=sphere"]
    assert [sorted(row) for row in rows[1:]] == [
        ["seed=1", "space=sphere"], ["seed=2", "space=sphere"], ["seed=0", "space=ball"]
    ]  # fmt: skip


def test_an_experiment_extends_another(lab: Path):
    parent = "base: {seed: 3, space: sphere}\nrows: [{method.lr: 1e-2}]\ntable: {columns: [mse], extras: [n]}"
    parent += "\ngrid: {seed: [1, 2]}"
    write(lab, parent, "theirs")
    write(lab, "extends: theirs\nbase: {space: ball}\ntable: {columns: [ssim]}\ngrid: null")
    experiment = find_experiment("mine")
    assert experiment.grid == {}
    assert expand(experiment) == [["seed=3", "space=ball", "method.lr=0.01"]]
    assert (experiment.name, experiment.table) == ("mine", {"columns": ["ssim"], "extras": ["n"]})


def test_an_experiment_cannot_extend_itself_or_nothing(lab: Path):
    write(lab, "extends: theirs", "mine")
    write(lab, "extends: mine", "theirs")
    with pytest.raises(ConfigError, match="extends=mine: an experiment cannot extend itself"):
        find_experiment("mine")
    write(lab, "extends: thiers", "mine")
    with pytest.raises(ConfigError, match="extends=thiers: there is no such experiment. Did you mean 'theirs'"):
        find_experiment("mine")


def test_mappings_survive_as_overrides(lab: Path):
    write(lab, "rows: [{loss.terms: {mse: 2}}]")
    assert compose(expand(find_experiment("mine"))[0])["loss"]["terms"] == {"mse": 2.0}


def test_needs_and_contrasts_are_typed(lab: Path):
    text = """
    rows: [{space: ball}]
    needs: [{file: p_n/toy, command: train model=fitting}]
    contrasts: [{row: F/Z+, against: F/W+, metric: mse, margin: 1e-8}]
    control: {row: F alone, plain: W+}
    """
    write(lab, text)
    experiment = find_experiment("mine")
    assert experiment.needs == (Need("p_n/toy", "train model=fitting"),)
    assert experiment.contrasts == (Contrast("F/Z+", "F/W+", "mse", 1e-8),)
    assert experiment.control == Control("F alone", "W+", "best", "mse")
    assert experiment.folder == lab / "experiments" / "mine"


def test_what_is_found_by_what_it_says_of_itself_needs_no_name(lab: Path, monkeypatch: pytest.MonkeyPatch):
    need = "{file: net/code, kind: base code encoder, of: net, command: train model=base_code}"
    write(lab, f"rows: [{{space: ball}}]\nneeds: [{need}]")
    experiment = find_experiment("mine")
    monkeypatch.setenv("ZINV_WEIGHTS", str(lab / "weights"))
    assert missing_needs(experiment) == [*experiment.needs]  # no generator either
    weights.write(lab / "weights" / "net.safetensors", {"a": torch.zeros(1)}, {})
    said = {"kind": "base code encoder", "generator": "another"}
    weights.write(lab / "weights" / "any.safetensors", {"a": torch.zeros(1)}, said)
    assert missing_needs(experiment) == [*experiment.needs]
    said["generator"] = weights.sha256(lab / "weights" / "net.safetensors")
    weights.write(lab / "weights" / "other.safetensors", {"a": torch.zeros(1)}, said)
    assert missing_needs(experiment) == []
    write(lab, f"rows: [{{space: ball}}]\nneeds: [{need[:-1]}, space: W+}}]")
    assert [need.space for need in missing_needs(find_experiment("mine"))] == ["W+"]
    weights.write(lab / "weights" / "other.safetensors", {"a": torch.zeros(1)}, {**said, "space": "W+"})
    assert missing_needs(find_experiment("mine")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("row: []", "row: no such key. Did you mean 'rows'?"),
        ("rows: 3", "rows=3: not a list of mapping."),
        ("rows: []", "it has no rows; give a grid or rows."),
        ("rows: [{seed: 0}]\ncontrasts: [{row: a, against: b, metic: mse}]", r"contrasts\[0\].metic: no such key."),
        ("rows: [{seed: 0}]\ncontrasts: [{row: a, against: b}]", r"contrasts\[0\].metric: give a str."),
        ("rows: [{seed: 0}]\ncontrasts: [{row: a, against: b, metric: mse, direction: up}]", "direction=up: unknown"),
        ("rows: [{seed: 0}]\nneeds: [file]", r"needs\[0\]=file: not a mapping of file, command, kind, of, space."),
        ("rows: [{seed: 0}]\ncontrol: {plain: a}", "control.row: give a str."),
        ("rows: [{seed: 0}]\ncontrol: [a]", r"control=\[a\]: not a mapping of row, plain, full, metric."),
        ("rows: [{seed: 0}", "not a readable YAML file"),
        ("3", "not a readable YAML file"),
    ],
)
def test_mistakes(lab: Path, text: str, expected: str):
    write(lab, text)
    with pytest.raises(ConfigError, match=expected):
        find_experiment("mine")


def test_an_unknown_experiment_has_the_nearest_name(lab: Path):
    write(lab, "rows: [{seed: 0}]", "table1")
    with pytest.raises(ConfigError, match="tabel1: there is no such experiment. Did you mean 'table1'?"):
        find_experiment("tabel1")
    assert "table1" in experiment_names()


def test_a_folder_is_an_experiment_too(lab: Path):
    write(lab, "rows: [{seed: 0}]")
    assert find_experiment("experiments/mine").name == "mine"


def test_layers_replace_key_by_key_and_refuse_doubles():
    assert layer(["space=z", "seed=1"], ["seed=2"]) == ["space=z", "seed=2"]
    with pytest.raises(ConfigError, match="seed=2: given twice"):
        layer(["seed=1", "seed=2"])
