"""The portraits' directions that are shipped: found in every space, and they do what they say on draws of the prior."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from scipy.stats import spearmanr

from zinv.config import build, compose
from zinv.editing.direction import Direction, load, save
from zinv.editing.edits import Edits
from zinv.editing.moves import Move
from zinv.editing.sources import find_directions
from zinv.generators import Generator
from zinv.networks.portraits import load_attributes
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.weights import SHIPPED, find, sha256

NAMES = ["smile", "age", "yaw", "glasses", "light"]
SPACES = ["z", "zplus", "w", "wplus", "pn", "pnplus", "s"]
FILES = sorted((SHIPPED / "portraits").glob("*interfacegan*.safetensors"))
FILES += sorted(
    path for kind in ("ganspace", "sefa", "stylespace") for path in (SHIPPED / "portraits").glob(f"{kind}*.safetensors")
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return cast(Generator, build(compose(["generator=portraits", "space=z"]), "generator"))


def space_of(name: str) -> LatentSpace:
    return cast(LatentSpace, build(compose(["generator=toy", f"space={name}"]), "space"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_of_the_shipped_generator_and_has_its_card(path: Path, generator: Generator):
    assert {direction.generator for direction in load(path)} == {generator.sha256}
    assert sha256(path) in path.with_suffix(".md").read_text()


def test_together_they_are_small():
    assert len(FILES) >= 7
    assert sum(path.stat().st_size for path in FILES) < 1_000_000


@pytest.mark.parametrize("name", SPACES)
def test_the_preset_finds_all_five_in_every_space(name: str, generator: Generator):
    edits = cast(Edits, build(compose(["generator=portraits", f"space={name}", "direction=portraits"]), "direction"))
    plan = edits.plan(space_of(name), generator, generator)
    assert [edit.attribute for edit in plan.edits] == NAMES
    assert plan.judge is not None and edits.judge == "portraits/attributes_second"
    has_rows = [edit.directions[0].has_rows for edit in plan.edits]
    assert all(has_rows) == (name in ("zplus", "wplus", "pnplus"))


def test_ones_own_direction_goes_before_a_shipped_one_of_its_name(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And only in the spaces that it is shaped for."""
    save(tmp_path / "mine.safetensors", [Direction("smile", "w", torch.ones(1, 128), generator.sha256)])
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    found = {name: find_directions(["smile"], "auto", space_of(name), generator, generator) for name in ("w", "wplus")}
    assert torch.equal(found["w"][0].step, torch.ones(1, 128))
    assert found["wplus"][0].has_rows


@pytest.mark.slow
@pytest.mark.parametrize("name", ["z", "zplus", "w", "wplus", "s"])
def test_the_second_network_sees_what_they_change(name: str, generator: Generator):
    """On 8 draws that nothing was fitted on, 5 strengths: Spearman's correlation at least .9 in most."""
    space, judge = space_of(name), load_attributes("portraits/attributes_second")
    codes = space.draw(generator, image_rngs(77, [f"shipped {i}" for i in range(8)]))
    strengths = (-2.0, -1.0, 0.0, 1.0, 2.0)
    for direction in load(find(f"portraits/interfacegan_{name}")):
        moved = [Move.along(direction, [d] * len(codes))(space, generator, codes) for d in strengths]
        with torch.no_grad():
            images = [generator.synthesis(space.to_styles(generator, each)) for each in moved]
        seen = torch.stack([judge(each)[:, judge.names.index(direction.name)] for each in images], 1)
        steady = sum(spearmanr(strengths, row).statistic >= 0.9 for row in seen.numpy())
        assert steady >= 6, (name, direction.name, steady)
