"""The precision of synthesis and loss networks: where it acts, where it does not, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zinv.arithmetic import Precision, check_precision, precision
from zinv.data.sampler import Batch
from zinv.errors import ConfigError
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.losses.base import Loss
from zinv.losses.perceptual import LPIPSTerm
from zinv.methods.bdinvert import BDInvert
from zinv.methods.inversion import Inversion
from zinv.seeding import image_rngs
from zinv.spaces.z import ZPlus

TARGET = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def conv_types(monkeypatch: pytest.MonkeyPatch) -> set[torch.dtype]:
    """Types that 3 × 3 convolutions gave, of all that ran."""
    found: set[torch.dtype] = set()
    plain = torch.nn.functional.conv2d

    def conv2d(*args: Any, **kwargs: Any) -> torch.Tensor:
        out = plain(*args, **kwargs)
        found.add(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    return found


@pytest.mark.parametrize("make", [toy_stylegan2, toy_stylegan1])
def test_synthesis_convolves_in_bfloat16_and_gives_float32(make: Callable[[], Any], conv_types: set[torch.dtype]):
    generator = make()
    styles = generator.affine(generator.w_avg.repeat(2, generator.num_ws, 1))
    exact = generator.synthesis(styles)
    assert conv_types == {torch.float32}
    conv_types.clear()
    with precision("bfloat16"):
        image = generator.synthesis(styles)
    assert conv_types == {torch.bfloat16}
    assert image.dtype == torch.float32
    assert 1e-5 < float((image - exact).abs().max() / exact.abs().max()) < 0.05


def test_mapping_and_affine_stay_float32():
    generator = toy_stylegan2()
    z = torch.randn(2, generator.num_ws, generator.z_dim)
    exact = generator.affine(generator.map_rows(z))
    with precision("bfloat16"):
        found = generator.affine(generator.map_rows(z))
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True))


def test_a_loss_network_is_in_bfloat16_and_its_distance_in_float32(conv_types: set[torch.dtype]):
    term, code = LPIPSTerm("random/vgg16"), torch.zeros(2, 4)
    exact = term(TARGET, code, term.prepare(-TARGET))
    conv_types.clear()
    with precision("bfloat16"):
        prepared = term.prepare(-TARGET)
        value = term(TARGET, code, prepared)
        itself = term(-TARGET, code, prepared)
    assert all(x.dtype == torch.float32 for x in prepared)
    assert value.dtype == torch.float32 and not torch.equal(value, exact)
    torch.testing.assert_close(value, exact, rtol=0.02, atol=0)
    assert not itself.any()  # both pictures are seen alike, so that the minimum is where it was


@pytest.mark.parametrize(("chosen", "near"), [("float32", 0.0), ("bfloat16", 0.1)])
def test_a_method_inverts_in_its_precision_and_renders_in_float32(chosen: Precision, near: float):
    method = BDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=10)
    plain = method.invert(TARGET, image_rngs(0, ["a", "b"]))
    rendered = method.reconstruct(plain)
    method.precision = chosen
    found = method.predict_step(Batch(["a", "b"], TARGET, {}, {}), 0)
    assert isinstance(found, Inversion) and found.code.dtype == found.losses["mse"].dtype == torch.float32
    assert torch.equal(found.code, plain.code) == (near == 0)
    torch.testing.assert_close(found.losses["mse"], plain.losses["mse"], rtol=near, atol=0)
    assert torch.equal(method.reconstruct(plain), rendered)  # the choice ends with the descent


def test_the_switches_of_tf32_are_set_and_put_back():
    def switches() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = switches()
    with pytest.raises(ZeroDivisionError), precision("tf32"):
        assert switches() == ("high", True)
        _ = 1 / 0
    assert switches() == before
    with precision("bfloat16"):
        assert switches() == before


def test_tf32_is_refused_where_there_is_none():
    check_precision("tf32", torch.device("cuda"))
    check_precision("bfloat16", torch.device("cpu"))
    words = r"^trainer\.precision=tf32: a cpu device has none\. Take float32 or bfloat16\.$"
    with pytest.raises(ConfigError, match=words):
        check_precision("tf32", torch.device("cpu"))


def test_a_network_of_ones_own_is_left_in_float32():
    with precision("bfloat16"):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == torch.float32


def test_precision_names_the_run_and_tables_refuse_a_mixture(cli: Callable[..., Any]):
    cell = "evaluate generator=toy method=optimize space=wplus method.num_steps=2 data.num=2"
    assert cli(f"{cell} trainer=cpu").status == 0
    assert cli(f"{cell} trainer=fast trainer.accelerator=cpu").status == 0
    runs = sorted(Path("runs/optimize-wplus-toy").iterdir())
    kinds = {json.loads((run / "run.json").read_text())["identity"]["precision"] for run in runs}
    assert kinds == {"float32", "bfloat16"}
    said = cli("table", *map(str, runs))
    assert said.status != 0
    assert said.err.startswith("error: two precisions cannot share a table: ")


def test_tf32_on_a_cpu_is_one_line(cli: Callable[..., Any]):
    said = cli("evaluate generator=toy method=optimize space=wplus trainer=cpu trainer.precision=tf32")
    assert said.status != 0
    assert "error: trainer.precision=tf32: a cpu device has none." in said.err
