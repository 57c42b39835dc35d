"""Edits from the command line to `edits.csv`, tables and W&B; resume; what is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from zinv.altering import measuring
from zinv.config import build, compose, layer
from zinv.data.sources import Toy
from zinv.editing import direction as directions
from zinv.editing.direction import Direction
from zinv.evaluation.edit_means import per_image
from zinv.evaluation.edits import picture_path, read_edits
from zinv.evaluation.store import Run
from zinv.generators.toy import toy_stylegan2
from zinv.methods.optimize import Optimize
from zinv.metrics.base import Embedding
from zinv.metrics.portraits import PortraitIdentity
from zinv.spaces.z import onto_sphere

Cli = Callable[..., Any]
CHECKOUT = Path(__file__).parents[2]
RUN = "generator=toy space=zplus method.num_steps=2 trainer=cpu protocol=demo data.num=3"
SMILE = "direction=smile direction.strengths=-2:2:5 direction.control=false"
LIGHT = "direction=light direction.strengths=1 direction.control=false"


def random_direction(name: str, coordinates: str, rows: int = 1, seed: int = 0) -> Direction:
    toy = toy_stylegan2()
    step = torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed))
    return Direction(name, coordinates, step, toy.sha256, attribute=name, range=(-3.0, 3.0))  # type: ignore[arg-type]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weight folder with smile and age in Z+ of the toy, and light in W."""
    folder = tmp_path / "weights"
    both = [random_direction("smile", "z", 6), random_direction("age", "z", 6, 1)]
    directions.save(folder / "toy_z.safetensors", both)
    directions.save(folder / "toy_new.safetensors", [replace(random_direction("anew", "z", 6, 2), range=None)])
    directions.save(folder / "toy_w.safetensors", [random_direction("light", "w")])
    monkeypatch.setenv("ZINV_WEIGHTS", str(folder))
    return folder


def run(overrides: str = "") -> str:
    """A command line on the toy, with overrides over it."""
    return " ".join(["evaluate", *layer(RUN.split(), overrides.split())])


def folder(root: str = "runs") -> Path:
    (path,) = Path(root).glob("*/*")
    return path


def error(said: Any) -> str:
    assert said.status == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1, said
    return str(said.err.removeprefix("error: ").rstrip("\n"))


def test_a_row_for_each_image_direction_and_strength(cli: Cli, weights: Path):
    said = cli(run(f"{SMILE} direction.names=[smile,age]"))
    assert said.status == 0, said
    header, frame = read_edits(folder())
    assert (header.images, header.edited, header.edits.amount) == (3, 3, "step")
    pairs = [(name, d) for name in ("smile", "age") for d in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert [(row.direction, row.strength) for row in frame.itertuples()] == 3 * pairs
    assert list(frame["image"]) == [name for name in Toy(3).ids for _ in pairs]
    assert set(frame["status"]) == {"ok"} and (frame["step"] == frame["strength"]).all()
    still = frame[frame["strength"] == 0]
    assert still["mse_inversion"].max() < 1e-6 and still["w_change"].max() < 1e-3
    assert still["portrait_identity_inversion"].min() > 0.999
    assert frame[frame["strength"] == 2]["mse_inversion"].min() > 1e-5
    records = pd.read_csv(folder() / "records.csv", comment="#").set_index("image")
    kept = still.groupby("image")["portrait_identity"].mean()
    assert np.allclose(kept, records.loc[kept.index, "portrait_identity"], atol=2e-3)  # 8-bit on the way


def test_an_edits_numbers_by_hand(cli: Cli, weights: Path):
    """The code moved and retracted, rendered, and shown to the networks, without any of the job's code."""
    assert cli(run("direction=smile direction.strengths=2 direction.control=false")).status == 0
    _, frame = read_edits(folder())
    toy, space = toy_stylegan2(), build(compose(["space=zplus"], groups=("space",)), "space")
    net = build(compose(["direction=smile", "generator=toy"]), "direction")
    from zinv.images import round_8bit
    from zinv.networks.portraits import load_attributes

    assert net.attributes == "portraits/attributes"
    first, identity = load_attributes(), PortraitIdentity()
    for i, row in enumerate(frame.to_dict("records")):
        code = Run.open(folder()).read(f"toy-0000{i}").tensors["code"][None]
        moved = onto_sphere(code + 2 * random_direction("smile", "z", 6).step)
        before, after = (toy.synthesis(space.to_styles(toy, x)) for x in (code, moved))
        change = (first(after) - first(before))[0]
        assert row["attribute_change"] == pytest.approx(float(change[0]), abs=1e-4)
        assert row["first_age"] == pytest.approx(float(change[1]), abs=1e-4)
        target = Toy(3).image(i)[None]
        assert row["portrait_identity"] == pytest.approx(float(identity(round_8bit(after), target)), abs=1e-4)
        w_before, w_after = (toy.map_rows(x) for x in (code, moved))
        rms = (w_after - w_before).square().sum(2).mean().sqrt()
        z = torch.randn(50_000, 16, generator=torch.Generator().manual_seed(3))
        prior = toy.mapping(z).var(0).sum().sqrt()
        assert row["w_change"] == pytest.approx(float(rms / prior), rel=0.05)


def test_finished_inversions_and_edits_are_not_done_again(cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch):
    assert cli(run("data.num=2")).status == 0
    before = {path: path.stat().st_mtime_ns for path in folder().glob("images/*/inversion.safetensors")}
    assert cli(run(SMILE)).status == 0  # inverts the third, edits all
    assert len(list(Path("runs").glob("*/*"))) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    written = {path: path.stat().st_mtime_ns for path in folder().glob("images/*/edits/*.json")}
    first = (folder() / "edits.csv").read_bytes()
    assert len(written) == 3
    next(iter(written)).unlink()
    decoded: list[str] = []
    kept = measuring.Editor.subject
    monkeypatch.setattr(measuring.Editor, "subject", lambda self, name: decoded.append(name) or kept(self, name))
    assert cli(run(SMILE)).status == 0
    assert len(decoded) == 1
    assert (folder() / "edits.csv").read_bytes() == first


def test_batches_cross_images_and_change_nothing(cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    kept = Optimize.reconstruct
    monkeypatch.setattr(Optimize, "reconstruct", lambda self, found: sizes.append(len(found)) or kept(self, found))
    assert cli(run(f"{SMILE} runs=one direction.batch_size=4")).status == 0
    assert [size for size in sizes if size > 1] == [4, 4, 4, 3]  # 3 images x 5 strengths
    assert cli(run(f"{SMILE} runs=two direction.batch_size=64")).status == 0
    one, two = (read_edits(folder(root))[1] for root in ("one", "two"))
    columns = [name for name in one if one[name].dtype == float]
    assert folder("one").name == folder("two").name  # edits name no run
    np.testing.assert_allclose(one[columns], two[columns], atol=2e-4)


@pytest.mark.slow
@pytest.mark.required
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_give_the_edits_of_one(cli: Cli, weights: Path):
    line = run(f"{SMILE} direction.batch_size=1")
    path = os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "zinv", *line.split(), "trainer.strategy=ddp", "trainer.devices=2", "runs=two"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert cli(f"{line} runs=one").status == 0
    assert (folder("one") / "edits.csv").read_bytes() == (folder("two") / "edits.csv").read_bytes()


def test_the_identity_of_edits_stands_in_tables(cli: Cli, weights: Path):
    """The mean over images of their means over directions and strengths but 0, and the paper's with 0."""
    assert cli(run(f"{SMILE} direction.names=[smile,age]")).status == 0
    _, frame = read_edits(folder())
    moved = frame[frame["strength"] != 0].groupby("image")["portrait_identity"].mean().mean()
    whole = frame.groupby("image")["portrait_identity"].mean().mean()
    for fmt in ("latex", "md"):
        out = cli(f"table runs --format {fmt}").out
        assert "portrait identity, edited" in out and "portrait identity, edited, 0 included" in out
        assert f"{moved:.4f}" in out and f"{whole:.4f}" in out
        assert "30" in out and "smile, age at -2, -1, 0, 1, 2 (steps of the direction)." in out
    from zinv.evaluation.report import summary
    from zinv.evaluation.rows import Row

    assert summary(Row.read(folder()))["edited_portrait_identity"] == pytest.approx(moved, abs=1e-6)


def test_a_row_without_edits_has_none_in_the_table(cli: Cli, weights: Path):
    assert cli(run()).status == 0
    assert cli(run(f"space=wplus {LIGHT}")).status == 0
    said = cli("table runs --format md")
    assert said.status == 0
    first, _, blocks = said.out.partition("| space | change | drift ↓ |")
    cells = {line.split(" | ")[0]: line.split(" | ") for line in first.splitlines()}
    assert "| Z+ | – | – |" in blocks
    place = cells["| space"].index("portrait identity, edited ↑")
    assert cells["| Z+"][place] == "–" and float(cells["| W+"][place].split()[0].strip("*")) < 1


def test_two_kinds_of_edits_share_no_table(cli: Cli, weights: Path):
    assert cli(run(SMILE)).status == 0
    assert cli(run(f"space=wplus {LIGHT}")).status == 0
    said = error(cli("table runs"))
    assert (
        said.startswith("two kinds of edits cannot share a table or figure: 'W+' has edits ")
        or "'Z+' has edits " in said
    )


def test_a_missing_face_scores_0_and_is_counted(cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch):
    kept = PortraitIdentity.compare

    def compare(self: PortraitIdentity, of_image: Embedding, of_target: Embedding) -> torch.Tensor:
        cosine = kept(self, of_image, of_target)
        return torch.where(cosine > 0.999, cosine, torch.nan)  # only near-copies have a face

    monkeypatch.setattr(PortraitIdentity, "compare", compare)
    assert cli(run(SMILE)).status == 0
    header, frame = read_edits(folder())
    assert header.missing == {"portrait_identity": 15}
    out = cli("table runs --format md").out
    assert "15 (15 without portrait_identity)" in out
    assert "edited, without the pictures that could not be scored: Z+ – (12 left out)." in out
    assert (per_image(frame, "portrait_identity") == 0).all()
    assert per_image(frame, "portrait_identity", missing=math.nan).isna().all()


def test_several_edits_at_once(cli: Cli, weights: Path):
    both = "direction.names=[smile,age] direction.together=true data.num=2"
    assert cli(run(f"{SMILE} {both}")).status == 0
    _, frame = read_edits(folder())
    assert list(frame["direction"]) == ["smile+age"] * 10


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("direction=smlie", "direction=smlie: there is no such preset. Did you mean 'smile'?"),
        ("direction.strengths=1", "direction: choose one with direction=NAME. Choose from: age, "),
        (
            "direction=smile direction.names=[smlie]",
            "direction.names=smlie: there is no such direction. Did you mean 'smile'?",
        ),
        ("direction=light", "direction light: none moves codes of Z+. Those there are fit space=w, wplus, pn, pnplus."),
        (
            "direction=file direction.file=toy_w",
            "direction light: it moves w, not codes of Z+. It fits space=w, wplus, pn, pnplus.",
        ),
        ("direction=smile generator.seed=1", "direction.names=smile: no direction was made for generator "),
        ("direction=smile direction.file=toy_z generator.seed=1", "direction smile: of generator "),
        ("direction=smile direction.strengths=a:b", "direction.strengths=a:b: neither FIRST:LAST:NUMBER nor numbers"),
        ("direction=smile direction.strengths=1,1", "direction.strengths=1,1: neither FIRST:LAST:NUMBER nor numbers"),
        ("direction=smile direction.strengths=nan", "direction.strengths=nan: neither FIRST:LAST:NUMBER nor numbers"),
        ("direction=smile direction.strengths=0:inf:3", "direction.strengths=0:inf:3: neither FIRST:LAST:NUMBER nor"),
        ("direction=smile direction.rows=top", "direction.rows=top: neither FIRST:LAST nor row numbers."),
        ("direction=smile direction.rows=4:9", "direction smile: rows 4-9; the generator has rows 0 to 5."),
        (
            "direction=smile direction.strengths=-4:4:3",
            "direction.strengths: -4 is outside the calibrated range of direction smile, -3 to 3. "
            "Add direction.beyond=true",
        ),
        (
            "direction=smile direction.names=[smile,anew] direction.together=true direction.strengths=4",
            "direction.strengths: 4 is outside the calibrated range of direction smile+anew, -3 to 3. ",
        ),
        (
            "direction=smile method=bdinvert direction.rows=0:1",
            "direction smile: it moves rows 0-1, which all lie below the base code; codes begin at row 2.",
        ),
        (
            "direction=smile method=bdinvert direction.base=moved",
            "direction.base=moved: F/Z+ has no codes for the rows below its base code.",
        ),
        (
            "direction=smile direction.judge=portraits/attributes_second",
            "direction.judge=portraits/attributes_second: there is no second attribute network yet. `zinv train model=",
        ),
        (
            "direction=smile direction.judge=portraits/attributes",
            "direction.judge: the same network as direction.attributes; another one is to judge.",
        ),
        (
            "direction=smile direction.amount=attribute direction.attributes=null",
            "direction.amount=attribute: give the network that measures it, as direction.attributes.",
        ),
        (
            "direction=smile direction.amount=image protocol=pixel",
            "direction.amount=image: protocol pixel has no perceptual metric.",
        ),
        ("direction=smile direction.amount=steps", "direction.amount=steps: unknown choice. Did you mean 'step'?"),
        ("direction=b8.conv0 direction.names=[smile]", "direction=b8.conv0: "),
        ("direction=smile direction.names=[b8.conv0:3]", "direction b8.conv0:3: it moves s, not codes of Z+."),
        ("direction=smile space=s direction.names=[b8.conv7:3]", "direction.names=b8.conv7:3: there is no such layer."),
        (
            "direction=smile space=s direction.names=[b8.conv0:16]",
            "direction.names=b8.conv0:16: the channels of b8.conv0 are 0 to 15.",
        ),
        ("direction=smile direction.names=[]", "direction.names=[]: name at least one direction"),
        (
            "direction=smile method=pti method.keep_weights=false",
            "method.keep_weights=false: edits are made with the tuned",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_is_inverted(cli: Cli, weights: Path, overrides: str, words: str):
    if "judge=portraits/attributes_second" in overrides:
        from zinv.weights import locate

        if locate("portraits/attributes_second"):
            pytest.skip("there is a second attribute network")
    assert error(cli(run(overrides))).startswith(words)
    assert not list(Path("runs").glob("*/*/images/*")) if Path("runs").exists() else True


def test_beyond_the_calibrated_range_is_recorded(cli: Cli, weights: Path):
    assert (
        cli(run("direction=smile direction.strengths=-4,2 direction.beyond=true direction.control=false")).status == 0
    )
    _, frame = read_edits(folder())
    assert list(frame["beyond"]) == [1, 0] * 3


def test_a_published_file(cli: Cli, weights: Path, tmp_path: Path):
    """A boundary of InterfaceGAN says neither generator nor coordinates."""
    torch.save(torch.ones(1, 16) / 4, tmp_path / "age.pt")
    line = run("space=wplus direction=file direction.file=age.pt direction.strengths=1 direction.control=false")
    assert error(cli(line)) == "direction.coordinates: age.pt does not say whether it moves z or w. Give one of z, w."
    assert cli(f"{line} direction.coordinates=w").status == 0
    assert set(read_edits(folder())[1]["direction"]) == {"age"}
    np.savez("pca.npz", lat_comp=np.eye(16)[:3, None], lat_mean=np.zeros((1, 16)), lat_stdev=np.array([3.0, 2.0, 1.0]))
    named = "direction.file=pca.npz direction.names=[ganspace1]"
    assert cli(f"{line.replace('direction.file=age.pt', named)} --fresh").status == 0
    assert set(read_edits(folder())[1]["direction"]) == {"ganspace1"}


def test_zinv_list_tells_of_directions(cli: Cli, weights: Path):
    said = cli("list direction")
    lines = [line.split("  ") for line in said.out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["direction", "space", "layers", "calibrated range", "generator", "file"] in cells
    digest = toy_stylegan2().sha256[:8]
    assert ["smile", "zplus", "all", "-3 to 3", digest, "toy_z"] in cells
    assert ["light", "w, wplus, pn, pnplus", "all", "-3 to 3", digest, "toy_w"] in cells


def test_pictures_of_some_strengths_are_kept(cli: Cli, weights: Path):
    from zinv.images import read_image

    assert cli(run(SMILE)).status == 0
    assert not list(folder().glob("images/*/edits/*/*/*.png"))
    assert cli(run(f"{SMILE} direction.keep=[-2,0]")).status == 0
    header, _ = read_edits(folder())
    still = picture_path(folder(), header.edits, "toy-00001", "smile", 0.0)
    stored = Run.open(folder()).read("toy-00001").reconstruction
    assert (read_image(still) - stored).abs().max() < 0.02
    assert len(list(folder().glob("images/*/edits/*/smile/-2.png"))) == 3
    assert error(cli(run(f"{SMILE} direction.keep=3"))) == "direction.keep=3: not one of direction.strengths."


def test_several_files_with_a_name(cli: Cli, weights: Path):
    other = replace(random_direction("smile", "z", 6, 2), range=None)
    directions.save(weights / "other.safetensors", [other])
    words = "direction.names=smile: several files have it. Give one of them as direction.file: other, toy_z."
    assert error(cli(run(SMILE))) == words
    assert cli(run(f"{SMILE} direction.file=other")).status == 0


def test_changed_pictures_are_noticed(cli: Cli, weights: Path):
    assert cli(run()).status == 0
    result = folder() / "images" / "toy-00000" / "result.json"
    result.write_text(json.dumps({**json.loads(result.read_text()), "target_sha256": "0" * 64}))
    assert "image 'toy-00000' was made from another picture" in error(cli(run(SMILE)))
