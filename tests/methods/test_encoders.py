"""An encoder alone, IDInvert about one, and starts from one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zinv.config import compose, layer, run_id, slug
from zinv.evaluation.store import Run
from zinv.generators.base import Generator
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.base import Inverter
from zinv.methods.encoder import Encoder
from zinv.methods.encoders import load_encoder
from zinv.methods.idinvert import IDInvert
from zinv.methods.inversion import Inversion
from zinv.networks.latent_encoder import LatentEncoder
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus
from zinv.weights import write

IDS = ["ada", "ben", "cy", "dee"]
SPACES = ["z", "zplus", "w", "wplus", "pn", "pnplus", "s", "fixed"]
Build = Callable[..., Inverter]
Batches = Callable[[Inverter, Tensor, int], Tensor]
Cli = Callable[..., Any]


def idinvert(space: LatentSpace, generator: Generator | None = None, **settings: Any) -> IDInvert:
    return IDInvert(generator or toy_stylegan2(), space, Loss({"mse": 1.0}), **{"num_steps": 4, **settings})


@pytest.mark.parametrize("name", ["encoder", "idinvert"])
@pytest.mark.parametrize("space", SPACES)
def test_float64_results_do_not_depend_on_the_batch(
    method: Build, in_batches: Batches, target: Tensor, name: str, space: str
):
    steps = ["method.num_steps=8"] if name == "idinvert" else []
    built = method(name, space, *steps).double()
    alone = in_batches(built, target.double(), 1)
    torch.testing.assert_close(in_batches(built, target.double(), 3), alone, rtol=1e-6, atol=1e-6)  # 3 and 1
    torch.testing.assert_close(in_batches(built, target.double(), 4), alone, rtol=1e-6, atol=1e-6)


def test_an_encoder_is_one_pass(target: Tensor):
    method = Encoder(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}))
    found = method.invert(target, image_rngs(0, IDS))
    rows = method.encoder(target)
    torch.testing.assert_close(found.code, 4 * rows / rows.norm(dim=2, keepdim=True))
    image = toy_stylegan2().synthesis(toy_stylegan2().affine(toy_stylegan2().map_rows(found.code)))
    torch.testing.assert_close(found.losses["mse"], (image - target).square().mean((1, 2, 3)))
    assert method.num_scalars() == 0 and method.settings()["encoder"] == "untrained"


@pytest.mark.parametrize("space", [Z(), ZPlus(), W(), WPlus()], ids=lambda space: space.label)
def test_the_domain_term_by_hand(target: Tensor, space: LatentSpace):
    """mean((code - E(G(code)))^2) in the space's coordinates, z's on the sphere."""
    method = idinvert(space, domain_weight=3.0)
    found = method.invert(target, image_rngs(0, IDS))
    generator = toy_stylegan2()
    rows = method.encoder(generator.synthesis(space.to_styles(generator, found.code)))
    if space.coordinates == "z":
        rows = 4 * rows / rows.square().sum(2, keepdim=True).sqrt()
    away = (found.code.reshape(4, -1, 16) - rows).square()
    torch.testing.assert_close(found.losses["domain"], away.sum((1, 2)) / away[0].numel())
    torch.testing.assert_close(found.losses["total"], found.losses["mse"] + 3 * found.losses["domain"])


def test_the_gradient_of_the_domain_term_goes_through_the_encoder(target: Tensor):
    method = idinvert(WPlus()).double()
    prepared = method.loss.prepare(target[:1].double())
    code = method._encoded(target[:1].double()).detach().requires_grad_(True)

    def domain(x: Tensor) -> Tensor:
        return method._terms(x, prepared)["domain"]

    (gradient,) = torch.autograd.grad(domain(code).sum(), code)
    direction = torch.randn(code.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6 * direction
    slope = (domain(code + step) - domain(code - step)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum()[None], slope.detach(), rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        fixed = method._encoded(method._image(code))
    alone = 2 * (code - fixed) / code.numel()
    assert not torch.allclose(gradient, alone, rtol=1e-2)


def test_descent_from_the_encoders_code_as_written_out(target: Tensor):
    method, generator = idinvert(WPlus(), num_steps=6, lr=0.05).double(), toy_stylegan2().double()
    goal = target.double()
    code = method.encoder(goal).detach().requires_grad_(True)
    optimiser = torch.optim.Adam([code], lr=0.05)
    for _ in range(6):
        image = generator.synthesis(generator.affine(code))
        domain = (code - method.encoder(image)).square().mean((1, 2)).sum()
        loss = (image - goal).square().mean((1, 2, 3)).sum() + 2 * domain
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.testing.assert_close(method.invert(goal, image_rngs(0, IDS)).code, code.detach())


def test_where_a_descent_begins(target: Tensor):
    own = idinvert(ZPlus(), num_steps=0).invert(target, image_rngs(0, IDS))
    method = idinvert(ZPlus(start="best_of_k", num_candidates=5), num_steps=0, from_encoder=False)
    best = method.invert(target, image_rngs(0, IDS))
    draws, rngs = [], image_rngs(0, IDS)
    for _ in range(5):
        code = method.space.initial(method.generator, rngs)
        terms = method._terms(code, method.loss.prepare(target))
        draws.append(terms["mse"] + 2 * terms["domain"])
    torch.testing.assert_close(best.losses["total"], torch.stack(draws).amin(0))
    given = method.invert(target, image_rngs(0, IDS), Inversion(own.code))
    assert torch.equal(given.code, own.code)
    assert idinvert(ZPlus()).settings()["start"] == "in-domain encoder"
    assert method.settings()["start"] == "best_of_k"


def test_a_picture_that_is_not_a_number_leaves_the_others_untouched(target: Tensor):
    broken = target.clone()
    broken[1] = math.nan
    method = idinvert(WPlus())
    found, clean = (method.invert(x, image_rngs(0, IDS)) for x in (broken, target))
    assert torch.equal(found.code[[0, 2, 3]], clean.code[[0, 2, 3]])
    assert found.losses["total"].isnan().tolist() == [False, True, False, False]


def test_generators_with_a_w_a_layer(target: Tensor):
    method = idinvert(WPlus(), toy_stylegan1(w_per_layer=True, tanh=True))
    assert method.invert(target, image_rngs(0, IDS)).code.shape == (4, 6, 16)


# Starts


def toy(overrides: str) -> str:
    base = ["generator=toy", "space=zplus", "data.num=2", "trainer=cpu"]
    return " ".join(["evaluate", *layer(base, overrides.split())])


def only(pattern: str) -> Run:
    (found,) = Path("runs").glob(pattern)
    return Run.open(found)


@pytest.mark.parametrize("name", ["optimize", "bdinvert", "pti", "idinvert"])
def test_every_method_starts_at_the_encoders_code(cli: Cli, name: str):
    said = cli(toy(f"method={name} start=encoder method.num_steps=0"))
    assert said.status == 0 and "Untrained encoder, so that the numbers mean nothing: " in said.out
    run = only(f"encoder-zplus-toy-{name}/*")
    assert run.facts["settings"]["start"] == "untrained encoder"  # type: ignore[index,call-overload]
    if name == "optimize":
        assert cli(toy("method=encoder")).status == 0
    encoder, _ = load_encoder(LatentEncoder, "auto", toy_stylegan2(), ZPlus())
    from zinv.data.sources import Toy

    rows = encoder(torch.stack([Toy(2).image(i) for i in range(2)]))
    for i, image in enumerate(Toy(2).ids):
        code = run.read(image).tensors["code"]
        expected = ZPlus().from_rows(toy_stylegan2(), rows)[i]
        torch.testing.assert_close(code, expected[-len(code) :])
    assert cli(f"score {run.path} protocol=pixel").status == 0  # needs no start any more


def test_a_file_names_the_encoder_and_counts_by_its_content(cli: Cli, tmp_path: Path):
    encoder, _ = load_encoder(LatentEncoder, "untrained/3", toy_stylegan2(), ZPlus())
    facts = encoder.metadata(toy_stylegan2().sha256, 16, "Z+", "none")
    write(tmp_path / "mine.safetensors", encoder.state_dict(), facts)
    assert cli(toy("method=optimize start=mine.safetensors method.num_steps=0")).status == 0
    run = only("encoder-zplus-toy-optimize/*")
    assert run.facts["settings"]["start"] == "mine.safetensors"  # type: ignore[index,call-overload]
    base = ["generator=toy", "space=zplus", "method=optimize"]
    mine, auto = (compose([*base, f"start={start}"]) for start in ("mine.safetensors", "encoder"))
    assert slug(mine) == slug(auto) == "encoder-zplus-toy-optimize"
    assert len({run_id(mine), run_id(auto), run_id(compose(base))}) == 3
    before = run_id(mine)
    Path("mine.safetensors").rename("moved.safetensors")
    assert run_id(compose([*base, "start=moved.safetensors"])) == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("method=encoder start=encoder", "start=encoder: method=encoder has no descent to start."),
        ("method=optimize space=wplus start=mine.safetensors", "mine.safetensors: trained for Z+, not for W+."),
        ("method=encoder space=wplus method.encoder=mine.safetensors", "mine.safetensors: trained for Z+, not for W+."),
        (
            "method=encoder generator.seed=1 method.encoder=mine.safetensors",
            "mine.safetensors: trained for generator {sha}… of 16 pixels, not for {other}… of 16 pixels.",
        ),
        ("method=pti start=encodr", "start=encodr: neither the folder of a run, an encoder's weights nor a start."),
    ],
)
def test_what_does_not_fit_is_one_error(cli: Cli, tmp_path: Path, overrides: str, message: str):
    encoder, _ = load_encoder(LatentEncoder, "untrained/3", toy_stylegan2(), ZPlus())
    facts = encoder.metadata(toy_stylegan2().sha256, 16, "Z+", "none")
    write(tmp_path / "mine.safetensors", encoder.state_dict(), facts)
    said = cli(toy(overrides))
    expected = message.format(sha=toy_stylegan2().sha256[:8], other=toy_stylegan2(seed=1).sha256[:8])
    assert said.status == 2 and said.err.startswith(f"error: {expected}") and said.err.count("\n") == 1
    assert not list(Path("runs").glob("*/*/images/*"))


def test_another_encoder_is_not_gone_on_with(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`start=encoder` found one; then another one is there to be found."""
    assert cli(toy("method=optimize start=encoder method.num_steps=0 data.num=1")).status == 0
    encoder, _ = load_encoder(LatentEncoder, "untrained/3", toy_stylegan2(), ZPlus())
    facts = encoder.metadata(toy_stylegan2().sha256, 16, "Z+", "none")
    write(tmp_path / "weights" / "mine.safetensors", encoder.state_dict(), facts)
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path / "weights"))
    said = cli(toy("method=optimize start=encoder method.num_steps=0"))
    assert said.status == 2 and "start_encoder" in said.err, said
    assert json.loads((only("encoder-*/*").path / "run.json").read_text())["identity"]["start"] == "encoder"
