"""Pivotal tuning against loops written out, several images at once against one at a time, and what it stores."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from zinv.config import compose, run_id
from zinv.data.sampler import Batch
from zinv.errors import ConfigError, StoreError, WeightsError
from zinv.generators import FeatureEdit, Generator
from zinv.generators.stylegan2 import StyleGAN2
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.methods.base import Inverter
from zinv.methods.bdinvert import BDInvert
from zinv.methods.inversion import Inversion
from zinv.methods.optimize import Optimize
from zinv.methods.pti import PTI
from zinv.seeding import image_rngs, randn
from zinv.spaces.base import LatentSpace, prior_ws
from zinv.spaces.s import S
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus

IDS = ["ada", "ben", "cy", "dee"]
Build = Callable[..., Inverter]


def pti(space: LatentSpace, generator: Generator | None = None, **settings: Any) -> PTI:
    """A few steps on pixels, without what makes the first stage random."""
    few = {"num_steps": 4, "pivot_steps": 2, "noise": "fixed", "jitter": 0.0, "locality": 0.0}
    return PTI(generator or toy_stylegan2(), space, Loss({"mse": 1.0}), **{**few, **settings})


def invert(method: Inverter, target: Tensor, ids: list[str] | None = None, **more: Any) -> Inversion:
    return method.invert(target, image_rngs(0, ids or IDS[: len(target)]), **more)


def test_losses_of_four_at_once_are_those_of_one_at_a_time(method: Build, target: Tensor):
    """Over 20 steps in float32, with everything random on: jitter, noise maps, locality."""
    settings = ["method.num_steps=20", "method.pivot_steps=3"]
    together, alone = (method("pti", "zplus", *settings, f"method.images_at_once={num}") for num in (4, 1))
    together.trace_every = alone.trace_every = 1
    a, b = invert(together, target), invert(alone, target)
    assert a.trace is not None and b.trace is not None and set(a.trace) == {"step", "mse", "locality"}
    torch.testing.assert_close(a.trace["mse"], b.trace["mse"], rtol=1e-4, atol=0)
    torch.testing.assert_close(a.losses["mse"], b.losses["mse"], rtol=1e-4, atol=0)
    assert (a.losses["mse"] < a.trace["mse"][0]).all()


def test_a_step_of_four_images_is_one_pass(target: Tensor, monkeypatch: pytest.MonkeyPatch):
    built, passes = pti(WPlus(), num_steps=5, pivot_steps=0, images_at_once=4), []
    assert built.num_scalars()  # its own pass
    synthesis = StyleGAN2.synthesis
    monkeypatch.setattr(StyleGAN2, "synthesis", lambda *a, **k: (passes.append(1), synthesis(*a, **k))[1])
    start = Inversion(built.space.initial(built.generator, image_rngs(0, IDS)))
    invert(built, target, start=start)
    assert len(passes) == 5 + 4  # and the pictures of the result, one by one


def written_out(generator: StyleGAN2, ws: Tensor, goal: Tensor, num_steps: int, locality: float) -> list[list[float]]:
    """One image's values `mse, locality` before each step, by torch's own Adam on a copy of the generator."""
    new = copy.deepcopy(generator)
    tuned = [x.requires_grad_(True) for x in new.synthesis_network.parameters()]
    optimiser, (rng,), values = torch.optim.Adam(tuned, lr=3e-4), image_rngs(0, ["ada"]), []
    unit = prior_ws(generator).std(0).square().sum().mul(generator.num_ws).sqrt()
    for _ in range(num_steps):
        loss = (new.synthesis(new.affine(ws)) - goal).square().mean()
        w = generator.mapping(torch.randn(1, generator.z_dim, generator=rng).double())
        w = generator.w_avg + 0.5 * (w - generator.w_avg)
        away = w[:, None] - ws
        there = ws + 0.75 * unit * away / away.square().sum().sqrt()
        old = generator.synthesis(generator.affine(there), noise="none")
        local = (new.synthesis(new.affine(there), noise="none") - old).square().mean()
        optimiser.zero_grad()
        (loss + locality * local).backward()
        optimiser.step()
        values.append([loss.item(), local.item()])
    return values


@pytest.mark.parametrize("locality", [0.1, 5.0])
def test_it_is_the_plain_loop_on_a_copy_of_the_generator(target: Tensor, locality: float):
    toy, goal = toy_stylegan2().double(), target[:1].double()
    built = pti(W(), toy, num_steps=6, pivot_steps=0, locality=locality).double()
    built.trace_every = 1
    trace = invert(built, goal).trace
    assert trace is not None
    expected = torch.tensor(written_out(toy, toy.w_avg.expand(1, 6, -1), goal, 6, locality), dtype=torch.float64)
    ours = torch.stack([trace["mse"][:, 0], trace["locality"][:, 0]], 1)
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)
    assert ours[0, 1] == 0 < ours[1, 1]  # the generators differ from the first step on


def test_locality_holds_the_generator_elsewhere(target: Tensor):
    changes = []
    for locality in (0.0, 20.0):
        built = pti(WPlus(), num_steps=15, pivot_steps=0, locality=locality, lr=3e-3)
        found = invert(built, target[:1])
        ws = toy_stylegan2().map_rows(torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(1)))
        tuned, plain = (
            built.reconstruct(copy_with(found, ws)),
            Optimize(built.generator, WPlus(), built.loss)._image(ws, ()),
        )
        changes.append(float((tuned - plain).square().mean()))
    assert changes[1] < 0.5 * changes[0]


def copy_with(found: Inversion, code: Tensor) -> Inversion:
    return Inversion(code, weights=found.weights, generator=found.generator)


def test_the_pivot_is_that_of_the_plain_descent_with_the_losses_first_stage(target: Tensor):
    loss = Loss({"mse": 1.0, "l1": 0.0}, pivot={"l1": 1.0})
    built = PTI(toy_stylegan2(), ZPlus(), loss, num_steps=2, pivot_steps=5)
    first = Optimize(toy_stylegan2(), ZPlus(), Loss({"l1": 1.0}), 5, 5e-3, True, "dropped", 1e5, 1.13)
    found = invert(built, target)
    assert torch.equal(found.code, invert(first, target).code)
    assert set(found.losses) == {"mse", "total"}


def test_an_image_stops_at_its_threshold_and_the_others_go_on(target: Tensor):
    free = pti(WPlus(), num_steps=8)
    free.trace_every = 1
    trace = cast(dict[str, Tensor], invert(free, target).trace)["mse"]
    (limit,) = trace[3, 2:3].tolist()  # the third image is there after 3 steps
    built = pti(WPlus(), num_steps=8, stop_at={"mse": limit})
    found = invert(built, target)
    expected = [next((k for k in range(8) if trace[k, i] <= limit), 8) for i in range(4)]
    assert found.steps is not None and found.steps.tolist() == expected
    assert expected[2] == 3 and max(expected) == 8
    short = invert(pti(WPlus(), num_steps=3), target)
    for name, x in cast(dict[str, Tensor], found.weights).items():
        assert torch.equal(x[2], cast(dict[str, Tensor], short.weights)[name][2])


def test_images_that_are_there_at_once_are_not_tuned(target: Tensor):
    found = invert(pti(WPlus(), stop_at={"mse": 100.0}), target)
    assert found.steps is not None and found.steps.tolist() == [0] * 4
    assert not any(x.any() for x in cast(dict[str, Tensor], found.weights).values())


@pytest.mark.parametrize(
    ("space", "mapping", "tuned"),
    [
        (ZPlus(), False, {"synthesis", "affine"}),
        (ZPlus(), True, {"synthesis", "affine", "mapping"}),
        (Z(), True, {"synthesis", "affine", "mapping"}),
        (WPlus(), True, {"synthesis", "affine"}),
        (S(), False, {"synthesis"}),
        (S(), True, {"synthesis"}),
    ],
)
def test_what_the_picture_depends_on_is_tuned(target: Tensor, space: LatentSpace, mapping: bool, tuned: set[str]):
    built = pti(space, tune_mapping=mapping)
    before = {name: x.clone() for name, x in built.generator.state_dict().items()}
    found = invert(built, target)
    assert found.weights is not None
    changed = {name for name, x in found.weights.items() if x.any()}
    parts = {name: {"mapping": "mapping_"}.get(name, name) for name in ("affine", "mapping")}
    kinds = {kind for kind, word in parts.items() if any(word in name for name in changed)}
    kinds |= {"synthesis"} if any("affine" not in name and "mapping_" not in name for name in changed) else set()
    assert kinds == tuned
    assert built.num_scalars() == sum(x[0].numel() for x in found.weights.values()) + built.space.num_scalars(
        built.generator
    )
    after = built.generator.state_dict()
    assert all(torch.equal(after[name], x) for name, x in before.items())


def test_what_is_stored_renders_the_very_same_picture(target: Tensor):
    built = pti(ZPlus(), noise="kept")
    found = invert(built, target)
    stored = [found.image(i) for i in range(4)]
    assert all(x.dtype == torch.float16 for name, x in stored[0][0].items() if name.startswith("weights/"))
    assert {name for name in stored[0][0] if name.startswith("noise/")} == {f"noise/{i:02d}" for i in range(5)}
    read = [({name: x.float() for name, x in tensors.items()}, metadata) for tensors, metadata in stored]
    assert torch.equal(built.reconstruct(Inversion.join(read)), built.reconstruct(found))
    assert torch.equal(built.reconstruct(Inversion.join(read[2:3]))[0], built.reconstruct(found)[2])
    torch.testing.assert_close(found.losses["mse"], (built.reconstruct(found) - target).square().mean((1, 2, 3)))


def test_weights_of_another_generator_are_refused(target: Tensor):
    found, other = invert(pti(WPlus()), target[:1]), toy_stylegan2(seed=1)
    with pytest.raises(
        WeightsError, match=f"tuned weights: of generator {found.generator[:8]}…, not of {other.sha256[:8]}…"
    ):
        pti(WPlus(), other).reconstruct(found)


def test_weights_that_were_not_kept_are_missed_when_they_are_needed(target: Tensor):
    built = pti(WPlus(), keep_weights=False)
    found = invert(built, target[:1])
    with pytest.raises(StoreError, match=r"the tuned weights were not kept \(method.keep_weights=false\)"):
        built.reconstruct(Inversion.join([found.image(0)]))
    assert torch.equal(built.reconstruct(found), pti(WPlus()).reconstruct(invert(pti(WPlus()), target[:1])))


def test_an_image_that_diverges_is_a_failure_and_the_others_are_not(target: Tensor):
    broken = target.clone()
    broken[1] = math.nan
    found, clean = invert(pti(WPlus()), broken), invert(pti(WPlus()), target)
    assert (
        list(found.failures) == [1] and "tuning diverged: loss nan at the pivot, nan after 0 steps" in found.failures[1]
    )
    for name, x in cast(dict[str, Tensor], found.weights).items():
        assert torch.equal(x[[0, 2, 3]], cast(dict[str, Tensor], clean.weights)[name][[0, 2, 3]])
    wild = invert(pti(WPlus(), lr=3.0, num_steps=6), target)
    assert list(wild.failures) == [0, 1, 2, 3]
    assert "a lower method.lr may help" in wild.failures[0]


def test_a_start_is_the_pivot_with_its_base_code(target: Tensor):
    first = BDInvert(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=3)
    parent = invert(first, target)
    built = PTI(toy_stylegan2(), ZPlus(), Loss({"mse": 1.0}), num_steps=3)
    built.trace_every = 1
    found = invert(built, target, start=parent)
    assert torch.equal(found.code, parent.code)
    assert found.base is not None and parent.base is not None and torch.equal(found.base[1], parent.base[1])
    torch.testing.assert_close(cast(dict[str, Tensor], found.trace)["mse"][0], parent.losses["mse"])
    assert (found.losses["mse"] < parent.losses["mse"]).all()


def test_a_start_is_the_pivot_with_its_feature_changes(target: Tensor):
    built = pti(WPlus(), num_steps=2, pivot_steps=0)
    built.trace_every = 1
    keep = torch.rand(4, 1, 8, 8)
    edits = {
        "b4.out": FeatureEdit(torch.randn(4, 16, 4, 4), 1.0),
        "b8.out": FeatureEdit(torch.randn(4, 16, 8, 8), keep),
    }
    parent = Inversion(built.space.initial(built.generator, image_rngs(0, IDS)), edits=edits)
    found = invert(built, target, start=parent)
    image = built.generator.synthesis(built.space.to_styles(built.generator, parent.code), edits=edits)
    torch.testing.assert_close(
        cast(dict[str, Tensor], found.trace)["mse"][0], (image - target).square().mean((1, 2, 3))
    )
    assert found.edits is not None and torch.equal(cast(Tensor, found.edits["b8.out"].keep), keep)


def test_a_start_is_descended_from_where_steps_are_asked_for(target: Tensor):
    parent = invert(Optimize(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=3), target)
    found = invert(pti(WPlus(), pivot_steps=5), target, start=parent)
    first = Optimize(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), 5, 5e-3, True)
    assert torch.equal(found.code, invert(first, target, start=parent).code)


def test_images_at_once_follow_the_memory(target: Tensor, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    tune = PTI._tune
    monkeypatch.setattr(PTI, "_tune", lambda self, x, *rest: (sizes.append(len(x)), tune(self, x, *rest))[1])
    for settings in ({"memory": 1e-6}, {"memory": 8.0}, {"images_at_once": 3}):
        invert(pti(WPlus(), num_steps=1, pivot_steps=0, **settings), target)
    assert sizes == [1, 1, 1, 1, 4, 3, 1]


def test_how_many_at_once_names_no_run():
    base = ["method=pti", "space=zplus", "generator=toy"]
    assert run_id(compose([*base, "method.images_at_once=2", "method.memory=1"])) == run_id(compose(base))
    assert run_id(compose([*base, "method.lr=.1"])) != run_id(compose(base))


def test_presets_are_of_the_paper_and_of_the_code():
    paper, released = (
        compose([f"method={name}", "generator=stylegan2_ffhq1024", "loss=pixel", "data=toy"])
        for name in ("pti", "pti_released")
    )
    assert paper["method"]["locality"] == 0.1 and released["method"]["locality"] == 0
    assert paper["method"]["pivot_lr"] == 0.005 and released["method"]["pivot_lr"] == 0.01
    assert released["method"]["stop_at"] == {"lpips_alex": 0.06} and not paper["method"]["stop_at"]


def test_its_own_loss_goes_with_it_unless_the_generators_domain_has_one():
    assert compose(["method=pti", "generator=toy"])["loss"]["_name_"] == "pixel"
    path = ["generator=stylegan2_ffhq1024", "data=toy"]
    assert compose(["method=pti", *path])["loss"]["pivot"] == {"lpips_area": 1.0}
    assert compose(["method=optimize", *path])["loss"]["_name_"] == "paper"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "method.stop_at.lpips_alx=.1",
            "method.stop_at.lpips_alx=0.1: there is no such term. Did you mean 'lpips_alex'?",
        ),
        ("method.images_at_once=0", "method.images_at_once=0: not an int of 1 or more."),
        ("method.noise=keep", "method.noise=keep: unknown choice. Did you mean 'kept'?"),
    ],
)
def test_mistakes(method: Build, override: str, message: str):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.").replace("?", r"\?")):
        method("pti", "zplus", override)


def test_jitter_is_in_units_of_the_spread_and_fades(target: Tensor, monkeypatch: pytest.MonkeyPatch):
    seen: list[Tensor] = []
    built = Optimize(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=8, lr=1e-12, jitter=2.0)
    to_ws = WPlus.to_ws
    monkeypatch.setattr(WPlus, "to_ws", lambda self, g, code: (seen.append(code.detach()), to_ws(self, g, code))[1])
    found = invert(built, target[:1])
    (rng,) = image_rngs(0, ["ada"])
    for step, code in enumerate(seen[:8]):
        width = 2.0 * max(0.0, 1 - (step / 8) / 0.75) ** 2
        noise = randn((6, 16), [rng]) if width else torch.zeros(1, 6, 16)
        torch.testing.assert_close(
            code - found.code, width * built.space.spread(built.generator) * noise, rtol=1e-4, atol=1e-6
        )
    assert torch.equal(seen[-1], found.code)


def test_optimised_noise_maps_are_white_and_kept_or_dropped(target: Tensor):
    kept, dropped = (
        Optimize(toy_stylegan2(), WPlus(), Loss({"mse": 1.0}), num_steps=5, noise=x) for x in ("kept", "dropped")
    )  # type: ignore[arg-type]
    a, b = invert(kept, target), invert(dropped, target)
    assert torch.equal(a.code, b.code) and b.noise is None and a.noise is not None
    for x in a.noise:
        torch.testing.assert_close(x.square().mean((1, 2, 3)), torch.ones(4))
    torch.testing.assert_close(a.losses["mse"], (kept.reconstruct(a) - target).square().mean((1, 2, 3)))
    torch.testing.assert_close(b.losses["mse"], (dropped.reconstruct(b) - target).square().mean((1, 2, 3)))
    assert kept.num_scalars() == 6 * 16 + 16 + 2 * 64 + 2 * 256


# One generator for several images


def test_shared_weights_descend_on_the_sum_of_their_images(target: Tensor):
    """Against torch's own Adam on one copy of the generator."""
    generator, goal = toy_stylegan2().double(), target[:3].double()
    built = pti(WPlus(), generator, num_steps=5, pivot_steps=0, shared="all")
    start = Inversion(WPlus(start="random").initial(generator, image_rngs(0, IDS[:3])).double())
    found = invert(built, goal, start=start)
    new = copy.deepcopy(generator)
    tuned = [x.requires_grad_(True) for x in new.synthesis_network.parameters()]
    optimiser = torch.optim.Adam(tuned, lr=3e-4)
    for _ in range(5):
        loss = (new.synthesis(new.affine(start.code)) - goal).square().mean((1, 2, 3)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert found.weights is not None
    own = dict(generator.named_parameters())
    for name, x in new.named_parameters():
        if name in found.weights:
            torch.testing.assert_close(found.weights[name], (x - own[name]).detach().half().expand(3, *x.shape))
    assert built.reconstruct(found).shape == goal.shape


def test_images_of_a_person_share_a_generator_in_any_batch(target: Tensor):
    """ada_1 and ada_2; ben has his own."""
    ids = ["ada_1", "ben_1", "ada_2"]

    class All:
        def __init__(self) -> None:
            self.ids = ids

        def __call__(self, names: list[str]) -> Batch:
            return Batch(list(names), torch.stack([target[ids.index(name)] for name in names]), {}, {})

    def results(size: int, shared: str | None) -> dict[str, dict[str, Tensor]]:
        built = pti(ZPlus(), shared=shared, num_steps=3)
        built.images = All()
        found: dict[str, dict[str, Tensor]] = {}
        for first in range(0, 3, size):
            part = ids[first : first + size]
            inversion = built.predict_step(All()(part), 0)
            assert inversion is not None and inversion.losses["mse"].shape == (len(part),)
            found |= {name: inversion.image(i)[0] for i, name in enumerate(part)}
        return found

    name = "weights/synthesis_network.b16.conv1.weight"
    together, alone, own = results(3, "_"), results(1, "_"), results(3, None)
    assert torch.equal(together["ada_1"][name], together["ada_2"][name])
    assert not torch.equal(together["ada_1"][name], together["ben_1"][name])
    for image in ids:
        torch.testing.assert_close(alone[image][name], together[image][name], rtol=1e-2, atol=1e-5)
    torch.testing.assert_close(own["ben_1"][name], together["ben_1"][name], rtol=1e-2, atol=1e-5)
    everyone = results(2, "all")
    assert torch.equal(everyone["ada_1"][name], everyone["ben_1"][name])


def test_who_shares_a_generator_counts_in_a_run(target: Tensor):
    class Some:
        def __init__(self, *ids: str) -> None:
            self.ids = ids

        def __call__(self, names: list[str]) -> Batch:
            raise AssertionError

    built, digests = pti(ZPlus(), shared="all"), []
    for images in (Some("a", "b"), Some("a", "b"), Some("a", "b", "c")):
        built.images = images
        digests.append(built.found())
    assert digests[0] == digests[1] != digests[2]
    assert pti(ZPlus()).found() == {}
