"""The StyleGAN1 Generator: rows, styles, base codes, edits, views, noise, purity, files, and inversion on it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zinv.check import broken
from zinv.config import build, compose
from zinv.contracts import IDS, Contract, GeneratorContract, SpaceContract
from zinv.data.sources import Toy
from zinv.errors import CheckpointError, ConfigError
from zinv.generators import FeatureEdit, Styles, load_generator
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.toy import toy_stylegan1, toy_stylegan2
from zinv.methods.base import Inverter
from zinv.networks.stylegan1 import MappingNetwork, StyleGAN1Architecture, SynthesisNetwork, adain
from zinv.seeding import image_rngs
from zinv.spaces.base import LatentSpace, prior_ws, truncate
from zinv.spaces.fixed import Fixed
from zinv.spaces.p import PN, PNPlus
from zinv.spaces.s import S
from zinv.spaces.statistics import PNStatistics
from zinv.spaces.w import W, WPlus
from zinv.spaces.z import Z, ZPlus
from zinv.weights import read, write

SPACES = ["z", "zplus", "w", "wplus", "pn", "pnplus", "s", "fixed"]
NEED_ONE_W = ["w", "pn", "pnplus"]
METHODS = ["optimize", "bdinvert"]
LOOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def generator() -> StyleGAN1:
    return toy_stylegan1(resolution=32)  # 8 rows, base codes at 8, 16 and 32 pixels, fused from 16 on


@pytest.fixture(scope="module")
def per_layer() -> StyleGAN1:
    return toy_stylegan1(w_per_layer=True)


@pytest.fixture(scope="module")
def ws(generator: StyleGAN1) -> Tensor:
    z = torch.randn(2, generator.num_ws, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.map_rows(z)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def kept(contract: Contract) -> dict[str, str]:
    """Broken promises and how; none in a good part."""
    reasons = {words: broken(promise) for words, promise in contract.promises().items()}
    return {words: reason for words, reason in reasons.items() if reason}


def influence(generator: StyleGAN1, ws: Tensor, base: tuple[str, Tensor] | None = None) -> list[bool]:
    """Which rows the image depends on."""
    ws = ws.clone().requires_grad_(True)
    image = generator.synthesis(generator.affine(ws), base=base)
    (gradient,) = torch.autograd.grad(image.square().sum(), ws)
    return (gradient.abs().amax((0, 2)) > 0).tolist()


def test_style_widths_at_1024_pixels():
    """Scales and shifts of two layers a resolution, of widths min(16384 / r, 512)."""
    arch = StyleGAN1Architecture(1024, tuple(min(16384 // (4 * 2**k), 512) for k in range(9)), mapping_layers=1)
    with torch.device("meta"):
        generator = StyleGAN1(arch, MappingNetwork(arch), SynthesisNetwork(arch), sha256="none")
    assert (generator.num_ws, len(generator.noise_shapes)) == (18, 18)
    assert generator.style_dims == (*[1024] * 8, 512, 512, 256, 256, 128, 128, 64, 64, 32, 32)
    view = generator.above("b16.conv0")
    assert (view.first_ws, view.num_ws, sum(view.style_dims)) == (4, 14, 4 * 1024 + 2 * (512 + 256 + 128 + 64 + 32))


def test_points_are_those_of_a_stylegan2_of_the_size(generator: StyleGAN1):
    assert generator.points == toy_stylegan2(resolution=32).points
    assert toy_stylegan1(resolution=4).points == toy_stylegan2(resolution=4).points == ()
    for point in generator.points:
        ours, theirs = generator.above(point), toy_stylegan2(resolution=32).above(point)
        assert ours.points == theirs.points
        assert ours.num_ws == 8 - ours.first_ws


def test_each_layer_reads_its_row(generator: StyleGAN1, ws: Tensor):
    assert influence(generator, ws) == [True] * 8
    styles = generator.affine(ws)
    for row in range(8):
        changed = ws.clone()
        changed[:, row] += 1
        pairs = zip(styles, generator.affine(changed), strict=True)
        assert [i for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)] == [row]


@pytest.mark.parametrize(("point", "first"), [("b8.conv0", 2), ("b16.conv0", 4), ("b8.out", 4), ("b32.conv0", 6)])
def test_rows_below_a_base_code_count_for_nothing(generator: StyleGAN1, ws: Tensor, point: str, first: int):
    """The layer that a base code comes from still normalises it, so its row counts."""
    feature = generator.features(generator.affine(ws), [point])[point]
    assert influence(generator, ws, (point, feature)) == [row >= first for row in range(8)]
    assert generator.above(point).first_ws == first


@pytest.mark.parametrize("point", ["b8.conv0", "b4.out", "b16.conv0", "b16.out"])
def test_a_base_code_of_the_points_own_features_is_exact(generator: StyleGAN1, ws: Tensor, point: str):
    styles = generator.affine(ws)
    feature = generator.features(styles, [point])[point]
    assert torch.equal(generator.synthesis(styles, base=(point, feature)), generator.synthesis(styles))


def test_a_base_code_comes_before_the_norm(generator: StyleGAN1, ws: Tensor):
    """So a positive factor and an offset a channel change nothing, and a negative factor does."""
    styles, point = generator.affine(ws), "b16.conv0"
    features, image = generator.features(styles, [point, "b16.out"]), generator.synthesis(styles)
    feature, layer = features[point], generator.synthesis_network.layer("b16.conv1")
    after = adain(layer(adain(feature, styles[4]), layer.noise_const[None, None]), styles[5])
    torch.testing.assert_close(after, features["b16.out"], **LOOSE)
    factor, offset = drawn(2, 16, 1, 1).abs() + 0.5, drawn(2, 16, 1, 1)
    scaled = generator.synthesis(styles, base=(point, feature * factor + offset))
    torch.testing.assert_close(scaled, image, rtol=1e-3, atol=1e-3)
    assert (generator.synthesis(styles, base=(point, -feature)) - image).abs().mean() > 0.05


def test_one_base_code_serves_several_styles_and_one_style_several_base_codes(generator: StyleGAN1, ws: Tensor):
    styles, point = generator.affine(ws), "b16.conv0"
    feature = generator.features(styles, [point])[point]
    one = generator.synthesis(styles, base=(point, feature[:1]))
    assert torch.equal(one, generator.synthesis(styles, base=(point, feature[:1].repeat(2, 1, 1, 1))))
    other = generator.synthesis(tuple(style[:1] for style in styles), base=(point, feature))
    torch.testing.assert_close(other[:1], one[:1], **LOOSE)


def test_nothing_below_a_base_code_is_computed(generator: StyleGAN1, ws: Tensor):
    styles, point = generator.affine(ws), "b16.conv0"
    feature = generator.features(styles, [point])[point]
    called: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in generator.synthesis_network.named_modules()
        if name.count(".") == 1
    ]
    image = generator.synthesis(styles, base=(point, feature))
    for handle in handles:
        handle.remove()
    assert called == ["b16.conv1", "b32.conv0", "b32.conv1", "b32.torgb"]
    spoilt = tuple(style * math.nan if i < 4 else style for i, style in enumerate(styles))
    assert torch.equal(generator.synthesis(spoilt, base=(point, feature)), image)


def test_a_feature_edited_into_itself_changes_nothing(generator: StyleGAN1, ws: Tensor):
    styles = generator.affine(ws)
    image, features = generator.synthesis(styles), generator.features(styles, generator.points)
    assert list(features) == list(generator.points)
    everything = {point: FeatureEdit(feature) for point, feature in features.items()}
    assert torch.equal(generator.synthesis(styles, edits=everything), image)


def test_an_edit_is_x_times_keep_plus_value(generator: StyleGAN1, ws: Tensor):
    styles, point = generator.affine(ws), "b16.out"
    feature = generator.features(styles, [point])[point]
    mask = (drawn(2, 1, 16, 16) > 0).float()
    replaced = generator.synthesis(styles, edits={point: FeatureEdit(feature * mask + 2)})
    blended = generator.synthesis(styles, edits={point: FeatureEdit(torch.full_like(feature, 2), keep=mask)})
    assert torch.equal(blended, replaced)


def test_features_at_a_blocks_end_are_after_the_style(generator: StyleGAN1, ws: Tensor):
    styles = generator.affine(ws)
    feature = generator.features(styles, ["b16.out"])["b16.out"]
    scale, shift = styles[5].chunk(2, 1)
    torch.testing.assert_close(feature.mean((2, 3)), shift, rtol=1e-4, atol=1e-4)
    deviation = feature.std((2, 3), correction=0)
    torch.testing.assert_close(deviation, (scale + 1).abs(), rtol=1e-3, atol=1e-3)


def test_views_of_views_and_edits_above_a_base_code(generator: StyleGAN1, ws: Tensor):
    view, styles = generator.above("b8.conv0"), generator.affine(ws)
    assert view.above("b16.conv0").first_ws == 4
    features = generator.features(styles, ["b8.conv0", "b16.out"])
    base, above = ("b8.conv0", features["b8.conv0"]), view.affine(ws[:, 2:])
    image = view.synthesis(above, base=base)
    assert torch.equal(image, generator.synthesis(styles))
    edited = view.synthesis(above, base=base, edits={"b16.out": FeatureEdit(features["b16.out"])})
    assert torch.equal(edited, image)
    with pytest.raises(ConfigError, match=r"^base=None: this is what is left above b8\.conv0; it needs a base code"):
        view.synthesis(above)


def test_noise_is_const_none_or_given(generator: StyleGAN1, ws: Tensor):
    styles = generator.affine(ws)
    assert generator.noise_shapes == tuple((side, side) for side in (4, 4, 8, 8, 16, 16, 32, 32))
    own = [generator.synthesis_network.layer(name).noise_const.expand(2, 1, -1, -1) for name in generator.style_names]
    const, silent = generator.synthesis(styles), generator.synthesis(styles, noise="none")
    torch.testing.assert_close(generator.synthesis(styles, noise=own), const)
    assert not torch.allclose(const, silent, atol=1e-3)
    other = [torch.cat([x[:1], x[1:] + drawn(*x.shape[2:])]) for x in own]
    given = generator.synthesis(styles, noise=other)
    torch.testing.assert_close(given[0], const[0])
    assert not torch.allclose(given[1], const[1], atol=1e-3)


def test_the_noise_of_a_base_codes_own_layer_lies_below_it(generator: StyleGAN1):
    assert generator.above("b16.conv0").noise_shapes == ((16, 16), (32, 32), (32, 32))
    assert generator.above("b8.out").noise_shapes == ((16, 16), (16, 16), (32, 32), (32, 32))


@pytest.mark.parametrize("point", [None, "b8.conv0", "b16.conv0"])
@pytest.mark.parametrize(("cutoff", "cut"), [(None, 8), (0, 0), (5, 5)])
def test_truncation_cutoffs_count_from_the_whole_generator(generator, ws, point, cutoff, cut):
    view = generator if point is None else generator.above(point)
    whole = ws.clone()
    whole[:, :cut] = generator.w_avg + 0.7 * (ws[:, :cut] - generator.w_avg)
    torch.testing.assert_close(truncate(view, ws[:, view.first_ws :], 0.7, cutoff), whole[:, view.first_ws :])


def test_rendering_works_under_vmap_and_functional_call(generator: StyleGAN1, ws: Tensor):
    """A generator an image, as pivotal tuning has them: weights stacked along the batch."""
    styles, network = generator.affine(ws), generator.synthesis_network
    stacked = {name: torch.stack([x, 1.1 * x]) for name, x in network.state_dict().items()}
    names = generator.style_names

    def render(weights: dict[str, Tensor], own: Styles) -> Tensor:
        by_name = {name: style[None] for name, style in zip(names, own, strict=True)}
        noise = {name: weights[f"{name}.noise_const"][None, None] for name in names}
        return torch.func.functional_call(network, weights, (by_name, noise))[0][0]

    images = torch.func.vmap(render)(stacked, styles)
    torch.testing.assert_close(images[:1], generator.synthesis(tuple(style[:1] for style in styles)), **LOOSE)
    tuned = render({name: x[1] for name, x in stacked.items()}, tuple(style[1] for style in styles))
    torch.testing.assert_close(images[1], tuned, **LOOSE)


def test_gradients_flow_through_vmap(generator: StyleGAN1, ws: Tensor):
    def total(row_codes: Tensor) -> Tensor:
        return generator.synthesis(generator.affine(row_codes[None])).square().sum()

    each = torch.func.vmap(torch.func.grad(total))(ws)
    leaf = ws.clone().requires_grad_(True)
    (plain,) = torch.autograd.grad(generator.synthesis(generator.affine(leaf)).square().sum(), leaf)
    torch.testing.assert_close(each, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


def test_gradients_reach_base_code_noise_and_edits(generator: StyleGAN1, ws: Tensor):
    styles, point = generator.affine(ws), "b8.conv0"
    feature = generator.features(styles, [point])[point].requires_grad_(True)
    value = torch.zeros(2, 16, 16, 16, requires_grad=True)
    maps = [torch.randn(2, 1, *shape).requires_grad_(True) for shape in generator.noise_shapes]
    edits = {"b16.out": FeatureEdit(value, keep=1.0)}
    image = generator.synthesis(styles, base=(point, feature), edits=edits, noise=maps)
    gradients = torch.autograd.grad(image.square().sum(), [feature, value, *maps], allow_unused=True)
    assert [x is not None and bool(x.any()) for x in gradients] == [True, True, *[False] * 3, *[True] * 5]


def test_rendering_draws_nothing_and_keeps_nothing(generator: StyleGAN1, ws: Tensor):
    state = {name: x.clone() for name, x in generator.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (generator.synthesis(generator.affine(ws)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(x, state[name]) for name, x in generator.state_dict().items())


def test_toys_are_seeded_and_untrained():
    assert toy_stylegan1(1).sha256 == toy_stylegan1(1).sha256 != toy_stylegan1(2).sha256
    assert not toy_stylegan1().trained and not toy_stylegan1().above("b8.conv0").trained
    assert toy_stylegan1().synthesis_network.layer("b16.conv0").step == "fused"
    with pytest.raises(ConfigError, match="generator.resolution=12: not a power of two from 4 on"):
        toy_stylegan1(resolution=12)


@pytest.mark.parametrize("settings", [{}, {"w_per_layer": True, "tanh": True}, {"fused_from": 128, "resolution": 64}])
def test_other_toys_keep_the_contract(settings: dict[str, int]):
    assert kept(GeneratorContract(toy_stylegan1(3, **settings))) == {}


def test_a_generator_that_lies_about_its_base_codes_is_named():
    words = "A base code of a point's own features renders the same image, or not, as base_is_exact says"
    for lying in (toy_stylegan1(), toy_stylegan2()):
        lying.base_is_exact = not lying.base_is_exact
        assert kept(GeneratorContract(lying)) == {words: f"b8.conv0: base_is_exact is {lying.base_is_exact}"}


@pytest.mark.parametrize("settings", [{}, {"w_per_layer": True, "tanh": True, "fused_from": 8}])
def test_a_saved_generator_is_read_again(tmp_path: Path, settings: dict[str, int]):
    generator = toy_stylegan1(5, **settings)
    generator.save(tmp_path / "g.safetensors", note="mine")
    again = load_generator(str(tmp_path / "g.safetensors"))
    styles = generator.affine(generator.map_rows(drawn(2, 6, 16)))
    assert isinstance(again, StyleGAN1) and again.trained
    assert again.arch == generator.arch
    assert torch.equal(again.synthesis(again.affine(again.map_rows(drawn(2, 6, 16)))), generator.synthesis(styles))
    generator.save(tmp_path / "half.safetensors", half=True)
    half = load_generator(str(tmp_path / "half.safetensors"))
    assert half.w_avg.dtype == torch.float32
    assert len({again.sha256, half.sha256, generator.sha256}) == 3
    torch.testing.assert_close(half.synthesis(styles), generator.synthesis(styles), rtol=0.05, atol=0.05)


def test_files_that_do_not_fit_are_named(generator: StyleGAN1, tmp_path: Path):
    tensors = generator.tensors()
    missing = {name: x for name, x in tensors.items() if name != "mapping.fc0.bias"}
    with pytest.raises(CheckpointError, match=r"^mapping\.fc0\.bias: not in the file\.$"):
        StyleGAN1.from_tensors(generator.arch, missing, "")
    with pytest.raises(CheckpointError, match=r"^synthesis\.b4\.extra: shape \(1,\) does not fit the architecture\.$"):
        StyleGAN1.from_tensors(generator.arch, {**tensors, "synthesis.b4.extra": torch.ones(1)}, "")
    write(tmp_path / "a.safetensors", tensors, {"kind": "stylegan1", "architecture": "{}"})
    with pytest.raises(CheckpointError, match="a.safetensors: its architecture cannot be read"):
        load_generator(str(tmp_path / "a.safetensors"))
    generator.save(tmp_path / "g.safetensors")
    assert set(read(tmp_path / "g.safetensors")[0]) == set(tensors)


def test_a_file_that_declares_huge_widths_costs_nothing(tmp_path: Path):
    """36 thousand million numbers in a convolution are declared, none is allocated."""
    described = '{"resolution": 8, "channels": [64000, 64000]}'
    write(tmp_path / "h.safetensors", {"x": torch.ones(1)}, {"kind": "stylegan1", "architecture": described})
    with pytest.raises(CheckpointError, match=r"h\.safetensors: mapping\.fc0\.bias: not in the file\.$"):
        load_generator(str(tmp_path / "h.safetensors"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing 1 required positional argument: 'resolution'"),
        ({"resolution": 16}, "2 widths from 4 pixels on do not end at 16"),
        ({"resolution": 8, "w_dim": 10**12}, "sizes 8, 512, 1000000000000, 4, 4 are not numbers from 1 to 65536"),
        ({"resolution": 8, "z_dim": "x"}, "sizes 8, x, 512, 4, 4 are not numbers from 1 to 65536"),
        ({"resolution": 8, "mapping_layers": 10**9}, "1000000000 mapping layers are not from 1 to 64"),
        ({"resolution": 8, "depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_an_architecture_that_is_none_is_named(tmp_path: Path, fields: dict[str, object], reason: str):
    described = json.dumps({"channels": [4, 4], **fields})
    write(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"kind": "stylegan1", "architecture": described})
    with pytest.raises(CheckpointError, match="a.safetensors: its architecture cannot be read") as error:
        load_generator(str(tmp_path / "a.safetensors"))
    assert reason in str(error.value)


def test_a_new_generator_is_that_of_the_paper():
    """The constant is 1, noise and biases are 0, and styles begin at a scale of 1 and a shift of 0."""
    generator = StyleGAN1.new(StyleGAN1Architecture(16, (4, 4, 4), 8, 8, 2))
    tensors = generator.tensors()
    assert bool((tensors["synthesis.b4.const"] == 1).all())
    assert not any(x.any() for name, x in tensors.items() if name.endswith(("bias", "noise_strength")))


# A w a layer


def test_a_w_a_layer_in_the_whole_and_above_a_base_code(per_layer: StyleGAN1):
    z, rows, view = drawn(3, 16), drawn(3, 6, 16), per_layer.above("b8.conv0")
    ws = per_layer.mapping(z)
    assert ws.shape == (3, 6, 16) and per_layer.w_shape == (6, 16) and view.w_shape == (4, 16)
    assert not torch.allclose(ws[:, 0], ws[:, 1], atol=1e-3)
    assert torch.equal(per_layer.as_ws(ws), ws)
    assert torch.equal(view.mapping(z), ws[:, 2:])
    mapped = per_layer.map_rows(rows)
    for i in range(6):
        torch.testing.assert_close(mapped[:, i], per_layer.mapping(rows[:, i])[:, i])
    torch.testing.assert_close(view.map_rows(rows[:, 2:]), mapped[:, 2:])


def test_its_spaces_start_and_spread_row_by_row(per_layer: StyleGAN1):
    rngs = image_rngs(0, ["ada"])
    assert torch.equal(WPlus().initial(per_layer, rngs), per_layer.w_avg.expand(1, 6, -1))
    assert torch.equal(
        S().initial(per_layer, rngs)[0], torch.cat(per_layer.affine(per_layer.w_avg.expand(1, 6, -1)), 1)[0]
    )
    z = torch.randn(16, generator=image_rngs(0, ["ada"])[0])
    for space in (WPlus(start="random"), Fixed("random")):
        ws = space.to_ws(per_layer, space.initial(per_layer, image_rngs(0, ["ada"])))
        torch.testing.assert_close(ws, per_layer.mapping(z[None]))
    assert torch.equal(WPlus().spread(per_layer), prior_ws(per_layer).std(0))
    assert (WPlus().spread(per_layer)[0] - WPlus().spread(per_layer)[1]).abs().max() > 1e-4
    torch.testing.assert_close(Z().to_ws(per_layer, z[None]), per_layer.mapping(z[None]))


@pytest.mark.parametrize("space", [W(), PN(), PNPlus()])
def test_its_w_and_pn_are_refused_with_the_reason(per_layer: StyleGAN1, space: LatentSpace):
    expected = f"space: {space.label} needs one w for all layers; this generator maps z to a w a layer. Take space=z, "
    for view in (per_layer, per_layer.above("b8.conv0")):
        with pytest.raises(ConfigError) as error:
            space.check(view)
        assert str(error.value).startswith(expected)
    space.check(toy_stylegan1())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("space", NEED_ONE_W)
def test_a_method_refuses_them_before_it_begins(name: str, space: str):
    with pytest.raises(ConfigError, match="needs one w for all layers"):
        inverter(name, space, "generator.w_per_layer=true")


@pytest.mark.parametrize("space", [Z(), ZPlus(), WPlus(), S(), Fixed("random")])
@pytest.mark.parametrize("point", [None, "b8.conv0"])
def test_its_other_spaces_keep_their_contract(per_layer: StyleGAN1, space: LatentSpace, point: str | None):
    assert kept(space_contract(space, per_layer, point)) == {}


# Spaces and methods


def space_contract(space: LatentSpace, generator: StyleGAN1, point: str | None) -> SpaceContract:
    if point is None:
        return SpaceContract(space, generator)
    styles = generator.affine(generator.w_avg.expand(len(IDS), generator.num_ws, -1))
    return SpaceContract(space, generator.above(point), (point, generator.features(styles, [point])[point]))


def inverter(name: str, space: str, *overrides: str) -> Inverter:
    config = compose([f"method={name}", f"space={space}", "generator=toy_stylegan1", *overrides])
    parts = {group: build(config, group) for group in ("generator", "space", "loss")}
    built: Inverter = build(config, "method", **parts)
    return built


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    """Statistics of P_N from 20,000 draws: the toys have none of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zinv.spaces.statistics.NUM", 20_000)
        yield


def losses(name: str, space: str, num_steps: int, *overrides: str) -> Tensor:
    source = Toy(num=2)
    target = torch.stack([source.image(i) for i in range(2)])
    built = inverter(name, space, f"method.num_steps={num_steps}", *overrides)
    return built.invert(target, image_rngs(0, ["ada", "ben"])).losses["total"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("space", SPACES)
def test_inversion_in_every_space_comes_nearer(name: str, space: str):
    """The whole loss of each image falls, but where nothing is optimised."""
    first, last = (losses(name, space, num_steps) for num_steps in (0, 25))
    if (name, space) == ("optimize", "fixed"):
        assert torch.equal(last, first)
    else:
        assert (last < 0.95 * first).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("space", [space for space in SPACES if space not in NEED_ONE_W])
def test_inversion_with_a_w_a_layer_comes_nearer(name: str, space: str):
    first, last = (losses(name, space, num_steps, "generator.w_per_layer=true") for num_steps in (0, 25))
    assert (last < 0.95 * first).all() or (name, space) == ("optimize", "fixed")


def test_whitened_samples_are_standard():
    """The last leaky ReLU has slope .2 here too, and no gain."""
    generator = toy_stylegan1()
    statistics = PNStatistics.compute(generator, num=20_000)
    p = statistics.whiten(generator.mapping(torch.randn(20_000, 16, generator=torch.Generator().manual_seed(1))))
    torch.testing.assert_close(p.T @ p / len(p), torch.eye(16), atol=0.1, rtol=0)
