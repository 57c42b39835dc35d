"""Fair strengths: searches on known functions, and calibrated edits of the toy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from zinv.altering import measuring
from zinv.altering.calibration import Search, calibrate
from zinv.altering.measuring import Item
from zinv.config import layer
from zinv.editing import direction as directions
from zinv.editing.direction import Direction
from zinv.editing.edits import Edit
from zinv.evaluation.edits import read_edits
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.metrics.seen import Shelf

Cli = Callable[..., Any]


class Known:
    """An editor whose pictures change by a known function of the step; counts how many it makes."""

    def __init__(
        self,
        function: Callable[[float], float],
        amounts: list[float],
        limit: float = 6.0,
        own: tuple[float, float] | None = None,
        beyond: bool = False,
    ) -> None:
        edit = Edit("smile", (Direction("smile", "w", torch.ones(1, 4), range=own),))
        pairs = [(edit, amount) for amount in amounts]
        self.plan = SimpleNamespace(pairs=lambda: iter(pairs), limit=limit, tolerance=0.02, beyond=beyond)
        self.function, self.num = function, 0

    def pictures(self, items: list[Item]) -> list[float]:
        self.num += len(items)
        return [item.step for item in items]

    def change(self, step: float) -> float:
        return self.function(abs(step))


def searched(editor: Known) -> list[Search]:
    return calibrate(editor, [SimpleNamespace(name="ada")])  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize(
    "function",
    [lambda s: s / 3, lambda s: s**3 / 20, math.sqrt, math.tanh, lambda s: 1 / (1 + math.exp(4 - 4 * s)) * (s > 0)],
)
def test_the_step_reaches_the_amount(function: Callable[[float], float]):
    for search in searched(Known(function, [0.25, 0.5, -0.5, 0.9])):
        assert search.found is not None and search.monotone
        assert function(abs(search.found)) == pytest.approx(abs(search.amount), rel=0.02)
        assert math.copysign(1, search.found) == math.copysign(1, search.amount)


def test_a_linear_change_is_found_at_once():
    editor = Known(lambda s: s, [1.0])
    (search,) = searched(editor)
    assert search.found == pytest.approx(1.0, rel=0.02)
    assert editor.num <= 8 + 3


def test_what_is_not_reached_says_how_far_it_came():
    search, nothing = searched(Known(lambda s: 0.1 * s, [0.9, 0.0]))
    assert search.found is None
    assert search.reason == "not reached: at most 0.6, at step 6 of 6"
    assert nothing.found == 0.0


def test_the_calibrated_range_ends_the_search_unless_it_may_go_beyond():
    """.9 is at step 9, the range ends at 2 and -1, the limit is 10."""
    for beyond in (False, True):
        up, down = searched(Known(lambda s: 0.1 * s, [0.9, -0.9], limit=10, own=(-1.0, 2.0), beyond=beyond))
        if beyond:
            assert (up.found, down.found) == (pytest.approx(9, rel=0.03), pytest.approx(-9, rel=0.03))
        else:
            assert up.reason == "not reached: at most 0.2, at step 2 of 2"
            assert down.reason == "not reached: at most 0.1, at step -1 of -1"


def test_a_change_that_falls_back_is_noticed():
    """The smallest step counts; what rises no longer is called so."""
    near, far = searched(Known(lambda s: math.sin(s), [0.5, 1.5]))
    assert not near.monotone and not far.monotone
    assert near.found == pytest.approx(math.asin(0.5), rel=0.05)
    assert far.reason.startswith("not reached: at most ")


def test_a_jump_never_settles():
    (search,) = searched(Known(lambda s: float(s > 1.1), [0.5]))
    assert search.reason.startswith("did not settle: 0 at step 1.")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    step = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    smile = Direction("smile", "w", step, toy_stylegan2().sha256, attribute="smile")
    directions.save(folder / "toy_w.safetensors", [smile])
    monkeypatch.setenv("ZINV_WEIGHTS", str(folder))
    return folder


RUN = "generator=toy space=wplus method.num_steps=2 trainer=cpu protocol=demo data.num=2 direction=smile"


def run(overrides: str) -> str:
    return " ".join(["evaluate", *layer(RUN.split(), overrides.split())])


@pytest.mark.parametrize(
    ("amount", "column", "strengths"),
    [("w", "w_change", "-.2,.1,500"), ("image", "portrait_perceptual_inversion", "-.05,.02,500"),
     ("attribute", "attribute_change", "-.02,.02,900")],
)  # fmt: skip
def test_calibrated_edits_of_a_run(cli: Cli, weights: Path, amount: str, column: str, strengths: str):
    """What is reached is reached to the tolerance; the impossible amount is a row with its reason."""
    said = cli(run(f"direction.amount={amount} direction.strengths={strengths}"))
    assert said.status == 0, said
    (folder,) = Path("runs").glob("*/*")
    header, frame = read_edits(folder)
    assert header.edits.amount == amount and len(frame) == 6
    done = frame[frame["status"] == "ok"]
    assert len(done) >= 2
    sign = 1 if amount == "attribute" else done["strength"].apply(lambda x: math.copysign(1, x))
    for asked, reached in zip(done["strength"], done[column] * sign, strict=True):
        assert reached == pytest.approx(asked, rel=0.03, abs=1e-4)
    failed = frame[frame["status"] == "failed"]
    assert set(frame["strength"].iloc[[2, 5]]) <= set(failed["strength"])
    assert failed["reason"].str.startswith("not reached: at most ").all()
    assert "edits reached" in cli("table runs --format md").out


@pytest.mark.required
def test_features_of_inversions_are_kept_within_bounds_and_change_no_bit(
    cli: Cli, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    """Five images are calibrated at a time: without a bound the features of all of them are there at once."""
    line = run("data.num=5 direction.amount=image direction.strengths=.02")
    kept, tables = Shelf.used, {}
    for limit in (2**31, 500_000):
        sizes: list[int] = []
        monkeypatch.setattr(measuring, "KEPT", limit)
        monkeypatch.setattr(Shelf, "used", lambda self, *given: kept(self, *given) or sizes.append(self.num_bytes))  # noqa: B023
        assert cli(f"{line} runs=at{limit}").status == 0
        (folder,) = Path(f"at{limit}").glob("*/*")
        tables[limit] = max(sizes), (folder / "edits.csv").read_bytes()
    (unbounded, expected), (bounded, found) = tables.values()
    assert bounded <= 500_000 < 1_000_000 < unbounded
    assert found == expected


def test_rows_of_calibrated_edits_at_equal_change(cli: Cli, weights: Path):
    """Row by row against `at_common` on the files; the label of the first row has no difference."""
    calibrated = "direction.amount=w direction.strengths=-.2,.1,.3 direction.control=false"
    assert cli(run(calibrated)).status == 0
    assert cli(run(f"{calibrated} space=w")).status == 0
    out = cli("table runs --edits --format md").out
    found = [read_edits(path)[1].set_index(["image", "strength"]) for path in Path("runs").glob("*/*")]
    frames = [frame["portrait_identity"] for frame in found]
    for frame in frames:
        pairs = [(frame[name, -0.2] + frame[name, 0.3]) / 2 for name in ("toy-00000", "toy-00001")]
        assert f"{sum(pairs) / 2:.4f}" in out
    assert out.count("100.0%") == 2 and "0 of 4 have none" in out
    words = "by steps of the direction, and equal steps are no equal edits"
    assert cli(run("direction.strengths=1 direction.control=false runs=stepped")).status == 0
    assert words in cli("table stepped --edits").err


def test_codes_of_s_have_no_w(cli: Cli, weights: Path):
    said = cli(run("space=s direction.names=[b8.conv0:3] direction.amount=w"))
    assert said.err == "error: direction.amount=w: codes of S have no w. Choose from: step, attribute, image.\n"


def test_a_w_a_layer_has_no_one_unit(cli: Cli, weights: Path):
    toy = toy_stylegan1(w_per_layer=True)
    directions.save(weights / "layers.safetensors", [Direction("smile", "w", torch.ones(1, toy.w_dim), toy.sha256)])
    line = run("direction.amount=w").replace("generator=toy ", "generator=toy_stylegan1 generator.w_per_layer=true ")
    assert cli(line).err.startswith("error: direction.amount=w: this generator has a w a layer")


def test_a_direction_of_no_attribute_has_no_attribute_to_reach(cli: Cli, weights: Path):
    said = cli(run("space=s direction.names=[b8.conv0:3] direction.amount=attribute"))
    words = "error: direction.amount=attribute: the attribute of direction b8.conv0:3 was fitted to none."
    assert said.err.startswith(words)
