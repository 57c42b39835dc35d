"""The StyleGAN2 Generator: rows, styles, base codes, edits, views, noise, purity, files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from zinv.errors import CheckpointError, ConfigError, WeightsError
from zinv.generators import FeatureEdit, Generator, Styles, load_generator
from zinv.generators.base import base_row, base_size
from zinv.generators.stylegan2 import StyleGAN2, stylegan2_from_tensors
from zinv.generators.toy import toy_stylegan2
from zinv.networks.stylegan2 import MappingNetwork, StyleGAN2Architecture, SynthesisNetwork
from zinv.spaces.base import truncate
from zinv.spaces.z import ZPlus
from zinv.weights import read, write


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return toy_stylegan2(resolution=32)  # 8 rows, base codes at 8, 16 and 32 pixels


@pytest.fixture(scope="module")
def ws(generator: StyleGAN2) -> Tensor:
    z = torch.randn(2, generator.num_ws, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.map_rows(z)


def influence(generator: StyleGAN2, ws: Tensor, base: tuple[str, Tensor] | None = None) -> list[bool]:
    """Which rows the image depends on."""
    ws = ws.clone().requires_grad_(True)
    image = generator.synthesis(generator.affine(ws), base=base)
    (gradient,) = torch.autograd.grad(image.square().sum(), ws)
    return (gradient.abs().amax((0, 2)) > 0).tolist()


def row_styles(generator: StyleGAN2, ws: Tensor, row: int) -> list[str]:
    """Names of the layers whose style changes with a row."""
    changed = ws.clone()
    changed[:, row] += 1
    pairs = zip(generator.layers, generator.affine(ws), generator.affine(changed), strict=True)
    return [layer.name for layer, a, b in pairs if not torch.equal(a, b)]


@pytest.fixture(scope="module")
def full_size() -> StyleGAN2:
    """Config F at 1024 pixels, untrained."""
    channels = tuple(min(32768 // (4 * 2**k), 512) for k in range(9))
    arch = StyleGAN2Architecture(1024, channels, mapping_layers=1)
    return StyleGAN2(arch, MappingNetwork(arch), SynthesisNetwork(arch), sha256="none")


def test_style_widths_at_1024_pixels(full_size: StyleGAN2):
    assert full_size.num_ws == 18
    assert full_size.style_dims == (
        512, 512, 512, 512, 512, 512, 512, 512, 512, 512, 512,  # to b32.torgb
        512, 512, 512, 512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 32, 32,
    )  # fmt: skip
    to_rgb = [width for layer, width in zip(full_size.layers, full_size.style_dims, strict=True) if "rgb" in layer.name]
    assert (len(full_size.style_dims), sum(full_size.style_dims)) == (26, 9088)
    assert (len(to_rgb), sum(to_rgb)) == (9, 3040)


def test_styles_above_a_base_code_of_16_pixels_at_1024(full_size: StyleGAN2):
    view = full_size.above("b16.conv0")
    to_rgb = [layer.dim for layer in view.layers if "rgb" in layer.name]
    assert (view.first_ws, view.num_ws) == (4, 14)
    assert (len(view.style_dims), sum(view.style_dims), sum(to_rgb)) == (20, 6016, 2016)


@pytest.mark.parametrize(("resolution", "rows"), [(256, 14), (512, 16), (1024, 18)])
def test_number_of_rows(resolution: int, rows: int):
    assert StyleGAN2Architecture(resolution, (4,) * int(math.log2(resolution) - 1)).num_ws == rows


@pytest.mark.parametrize(("resolution", "size"), [(16, 8), (64, 8), (128, 16), (256, 16), (1024, 16)])
def test_default_base_size(resolution: int, size: int):
    assert base_size(cast(Generator, SimpleNamespace(resolution=resolution))) == size


def test_first_row_above_a_base_code():
    assert [base_row(side) for side in (8, 16, 32)] == [2, 4, 6]


@pytest.mark.parametrize(
    ("row", "layers"),
    [
        (0, ["b4.conv1"]),
        (1, ["b4.torgb", "b8.conv0"]),
        (2, ["b8.conv1"]),
        (3, ["b8.torgb", "b16.conv0"]),
        (6, ["b32.conv1"]),
        (7, ["b32.torgb"]),
    ],
)
def test_each_rgb_layer_shares_its_row_with_the_next_blocks_first_convolution(generator, ws, row, layers):
    assert row_styles(generator, ws, row) == layers


def test_every_row_counts(generator: StyleGAN2, ws: Tensor):
    assert influence(generator, ws) == [True] * 8


@pytest.mark.parametrize(("point", "first"), [("b8.conv0", 2), ("b16.conv0", 4), ("b32.conv0", 6)])
def test_rows_below_a_base_code_count_for_nothing(generator: StyleGAN2, ws: Tensor, point: str, first: int):
    feature = generator.features(generator.affine(ws), [point])[point]
    assert influence(generator, ws, (point, feature)) == [row >= first for row in range(8)]


def test_nothing_below_a_base_code_is_computed(generator: StyleGAN2, ws: Tensor):
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
    assert called == ["b16.conv1", "b16.torgb", "b32.conv0", "b32.conv1", "b32.torgb"]
    broken = tuple(style * math.nan if i < 6 else style for i, style in enumerate(styles))
    assert torch.equal(generator.synthesis(broken, base=(point, feature)), image)


def test_a_base_code_drops_the_rgb_below_it(generator: StyleGAN2, ws: Tensor):
    styles, point = generator.affine(ws), "b16.conv0"
    feature = generator.features(styles, [point])[point]
    based = generator.synthesis(styles, base=(point, feature))
    whole = generator.synthesis(styles)
    assert not torch.allclose(based, whole, atol=0.1)
    # what is missing is the RGB of 4 and 8 pixels, up-sampled: smooth, and the same for another start of the top layers
    low = whole - based
    again = generator.synthesis(styles, base=(point, feature + 1)) + low
    edited = generator.synthesis(styles, edits={point: FeatureEdit(feature + 1)})
    torch.testing.assert_close(again, edited, rtol=1e-4, atol=1e-4)


def test_a_feature_edited_into_itself_changes_nothing(generator: StyleGAN2, ws: Tensor):
    styles = generator.affine(ws)
    image, features = generator.synthesis(styles), generator.features(styles, generator.points)
    assert list(features) == list(generator.points)
    for point, feature in features.items():
        assert torch.equal(generator.synthesis(styles, edits={point: FeatureEdit(feature)}), image), point
    everything = {point: FeatureEdit(feature) for point, feature in features.items()}
    assert torch.equal(generator.synthesis(styles, edits=everything), image)


def test_an_edit_is_x_times_keep_plus_value(generator: StyleGAN2, ws: Tensor):
    styles, point = generator.affine(ws), "b16.out"
    feature = generator.features(styles, [point])[point]
    mask = (torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    replaced = generator.synthesis(styles, edits={point: FeatureEdit(feature * mask + 2)})
    kept = generator.synthesis(styles, edits={point: FeatureEdit(torch.full_like(feature, 2), keep=mask)})
    assert torch.equal(kept, replaced)


def test_an_edit_after_a_block_is_not_seen_by_its_own_rgb(generator: StyleGAN2, ws: Tensor):
    """At the last block there is no point, since nothing would see the change."""
    styles, point = generator.affine(ws), "b16.out"
    feature = generator.features(styles, [point])[point]
    shown: list[Tensor] = []
    hook = generator.synthesis_network.layer("b16.torgb").register_forward_hook(lambda *a: shown.append(a[-1]))
    plain = generator.synthesis(styles)
    edited = generator.synthesis(styles, edits={point: FeatureEdit(feature + 1)})
    hook.remove()
    assert torch.equal(*shown)
    assert not torch.equal(plain, edited)
    assert "b32.out" not in generator.points


@pytest.mark.parametrize("point", ["b8.conv0", "b16.conv0", "b32.conv0"])
def test_a_view_renders_what_the_whole_generator_renders_from_a_base_code(generator, ws, point):
    view = generator.above(point)
    styles = generator.affine(ws)
    feature = generator.features(styles, [point])[point]
    above = view.affine(ws[:, view.first_ws :])
    assert torch.equal(view.synthesis(above, base=(point, feature)), generator.synthesis(styles, base=(point, feature)))
    assert view.sha256 == generator.sha256
    assert point not in view.points
    assert set(view.points) < set(generator.points)
    assert view.synthesis_network is generator.synthesis_network


def test_a_view_of_a_view_counts_rows_from_the_whole_generator(generator: StyleGAN2):
    view = generator.above("b8.conv0").above("b16.conv0")
    assert (view.first_ws, view.num_ws) == (4, 4)


def test_edits_work_above_a_base_code(generator: StyleGAN2, ws: Tensor):
    view, styles = generator.above("b8.conv0"), generator.affine(ws)
    features = generator.features(styles, ["b8.conv0", "b16.out"])
    base = "b8.conv0", features["b8.conv0"]
    above = view.affine(ws[:, view.first_ws :])
    edited = view.synthesis(above, base=base, edits={"b16.out": FeatureEdit(features["b16.out"])})
    torch.testing.assert_close(edited, view.synthesis(above, base=base))


def test_noise_is_const_none_or_given(generator: StyleGAN2, ws: Tensor):
    styles = generator.affine(ws)
    assert generator.noise_shapes == ((4, 4), (8, 8), (8, 8), (16, 16), (16, 16), (32, 32), (32, 32))
    own = [generator.synthesis_network.layer(name).noise_const.expand(2, 1, -1, -1) for name in generator.noise_layers]
    const, silent = generator.synthesis(styles), generator.synthesis(styles, noise="none")
    assert torch.equal(generator.synthesis(styles, noise=own), const)
    zeros = [torch.zeros_like(x) for x in own]
    torch.testing.assert_close(generator.synthesis(styles, noise=zeros), silent, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(const, silent, atol=1e-3)
    other = [torch.cat([x[:1], x[1:] + 1]) for x in own]
    given = generator.synthesis(styles, noise=other)
    assert torch.equal(given[0], const[0]) and not torch.equal(given[1], const[1])


def test_noise_maps_above_a_base_code_are_those_of_the_layers_left(generator: StyleGAN2, ws: Tensor):
    view = generator.above("b16.conv0")
    assert view.noise_shapes == ((16, 16), (32, 32), (32, 32))


@pytest.mark.parametrize("point", [None, "b8.conv0", "b16.conv0"])
@pytest.mark.parametrize(("cutoff", "untouched"), [(None, 8), (0, 0), (5, 5), (8, 8)])
def test_truncation_cutoffs_count_from_the_whole_generator(generator, ws, point, cutoff, untouched):
    view = generator if point is None else generator.above(point)
    truncated = truncate(view, ws[:, view.first_ws :], 0.7, cutoff)
    whole = ws.clone()
    whole[:, :untouched] = generator.w_avg + 0.7 * (ws[:, :untouched] - generator.w_avg)
    torch.testing.assert_close(truncated, whole[:, view.first_ws :])


def test_rendering_works_under_vmap_and_functional_call(generator: StyleGAN2, ws: Tensor):
    """A generator an image, as pivotal tuning has them: weights stacked along the batch."""
    styles = generator.affine(ws)
    network = generator.synthesis_network
    stacked = {name: torch.stack([x, 1.1 * x]) for name, x in network.state_dict().items()}
    names = [layer.name for layer in generator.layers]
    const = {name: f"{name}.noise_const" for name in generator.noise_layers}

    def render(weights: dict[str, Tensor], own: Styles) -> Tensor:
        by_name = {name: style[None] for name, style in zip(names, own, strict=True)}
        noise = {name: weights[buffer][None, None] for name, buffer in const.items()}
        return torch.func.functional_call(network, weights, (by_name, noise))[0][0]

    images = torch.func.vmap(render)(stacked, styles)
    torch.testing.assert_close(images[:1], generator.synthesis(tuple(style[:1] for style in styles)))
    tuned = render({name: x[1] for name, x in stacked.items()}, tuple(style[1] for style in styles))
    torch.testing.assert_close(images[1], tuned, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_vmap(generator: StyleGAN2, ws: Tensor):
    def total(row_codes: Tensor) -> Tensor:
        return generator.synthesis(generator.affine(row_codes[None])).square().sum()

    each = torch.func.vmap(torch.func.grad(total))(ws)
    leaf = ws.clone().requires_grad_(True)
    (plain,) = torch.autograd.grad(generator.synthesis(generator.affine(leaf)).square().sum(), leaf)
    torch.testing.assert_close(each, plain, rtol=1e-3, atol=1e-3)


def test_rendering_draws_nothing_and_keeps_nothing(generator: StyleGAN2, ws: Tensor):
    state = {name: x.clone() for name, x in generator.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (generator.synthesis(generator.affine(ws)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(x, state[name]) for name, x in generator.state_dict().items())


def test_unknown_points_are_named(generator: StyleGAN2, ws: Tensor):
    with pytest.raises(ConfigError, match=r"b64\.conv0: this generator has no such point\. Did you mean 'b\d+\.conv0'"):
        generator.above("b64.conv0")
    with pytest.raises(ConfigError, match="b8.con: this generator has no such point. Did you mean 'b8.conv0'"):
        generator.features(generator.affine(ws), ["b8.con"])


def test_toys_are_seeded_and_untrained():
    assert toy_stylegan2(1).sha256 == toy_stylegan2(1).sha256 != toy_stylegan2(2).sha256
    assert not toy_stylegan2().trained and not toy_stylegan2().above("b8.conv0").trained


def test_a_saved_generator_is_read_again(generator: StyleGAN2, ws: Tensor, tmp_path: Path):
    generator.save(tmp_path / "g.safetensors", note="mine")
    again = load_generator(str(tmp_path / "g.safetensors"))
    assert torch.equal(again.synthesis(again.affine(ws)), generator.synthesis(generator.affine(ws)))
    assert again.trained
    generator.save(tmp_path / "half.safetensors", half=True)
    half = load_generator(str(tmp_path / "half.safetensors"))
    assert half.w_avg.dtype == torch.float32
    assert half.sha256 != again.sha256
    image = half.synthesis(half.affine(ws))
    torch.testing.assert_close(image, generator.synthesis(generator.affine(ws)), rtol=0.05, atol=0.05)


def test_files_that_do_not_fit_are_named(generator: StyleGAN2, tmp_path: Path):
    tensors = generator.tensors()
    missing = {name: x for name, x in tensors.items() if name != "mapping.fc0.bias"}
    with pytest.raises(CheckpointError, match=r"^mapping\.fc0\.bias: not in the file\.$"):
        stylegan2_from_tensors(generator.arch, missing, "")
    with pytest.raises(CheckpointError, match=r"^synthesis\.b4\.extra: shape \(1,\) does not fit the architecture\.$"):
        stylegan2_from_tensors(generator.arch, {**tensors, "synthesis.b4.extra": torch.ones(1)}, "")
    write(tmp_path / "e.safetensors", {"x": torch.ones(1)}, {"kind": "pnorm"})
    with pytest.raises(CheckpointError, match="e.safetensors: it holds pnorm, not a StyleGAN1 or StyleGAN2"):
        load_generator(str(tmp_path / "e.safetensors"))
    write(tmp_path / "a.safetensors", tensors, {"kind": "stylegan2", "architecture": "{"})
    with pytest.raises(CheckpointError, match="a.safetensors: its architecture cannot be read"):
        load_generator(str(tmp_path / "a.safetensors"))
    generator.save(tmp_path / "g.safetensors")
    whole = (tmp_path / "g.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="cut.safetensors: not a readable safetensors file"):
        load_generator(str(tmp_path / "cut.safetensors"))


def test_names_in_a_file_are_those_of_the_published_checkpoints(generator: StyleGAN2, tmp_path: Path):
    generator.save(tmp_path / "g.safetensors")
    names = set(read(tmp_path / "g.safetensors")[0])
    assert {"mapping.w_avg", "mapping.fc0.weight", "synthesis.b4.const", "synthesis.b8.conv0.affine.bias"} <= names
    assert {"synthesis.b8.conv0.noise_const", "synthesis.b8.conv0.noise_strength", "synthesis.b8.torgb.weight"} <= names


def test_the_released_cutoff_acts_on_detail_rows_only_above_a_base_code(generator: StyleGAN2):
    """psi .7 below row 8 touches rows 4 to 7 above a base code of 16 pixels."""
    view, space = generator.above("b16.conv0"), ZPlus(truncation_psi=0.7, truncation_cutoff=6)
    code = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(0))
    plain = ZPlus().to_ws(view, code)
    ws = space.to_ws(view, code)
    torch.testing.assert_close(ws[:, :2], torch.lerp(generator.w_avg, plain[:, :2], 0.7))
    assert torch.equal(ws[:, 2:], plain[:, 2:])


def test_a_view_needs_a_base_code(generator: StyleGAN2):
    view = generator.above("b16.conv0")
    styles = view.affine(torch.zeros(1, view.num_ws, view.w_dim))
    for use in (lambda: view.synthesis(styles), lambda: view.features(styles, ["b16.out"])):
        with pytest.raises(
            ConfigError, match=r"^base=None: this is what is left above b16\.conv0; it needs a base code"
        ):
            use()


def test_a_file_that_declares_huge_widths_costs_nothing(tmp_path: Path):
    """36 thousand million numbers in a convolution are declared, none is allocated."""
    described = '{"resolution": 8, "channels": [64000, 64000]}'
    write(tmp_path / "h.safetensors", {"x": torch.ones(1)}, {"kind": "stylegan2", "architecture": described})
    with pytest.raises(CheckpointError, match=r"h\.safetensors: mapping\.fc0\.bias: not in the file\.$"):
        load_generator(str(tmp_path / "h.safetensors"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing 1 required positional argument: 'resolution'"),
        ({"resolution": 16}, "2 widths from 4 pixels on do not end at 16"),
        ({"resolution": 2, "channels": []}, "0 widths from 4 pixels on do not end at 2"),
        ({"resolution": 2**40, "channels": [4] * 39}, f"sizes {2**40}, 512, 512, 4, 4"),
        ({"resolution": 8, "w_dim": 10**12}, "sizes 8, 512, 1000000000000, 4, 4 are not numbers from 1 to 65536"),
        ({"resolution": 8, "z_dim": "x"}, "sizes 8, x, 512, 4, 4 are not numbers from 1 to 65536"),
        ({"resolution": 8, "mapping_layers": 10**9}, "1000000000 mapping layers are not from 1 to 64"),
        ({"resolution": 8, "clamp": -1}, "a clamp of -1, which is no number above 0"),
        ({"resolution": 8, "depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_an_architecture_that_is_none_is_named(tmp_path: Path, fields: dict[str, object], reason: str):
    described = json.dumps({"channels": [4, 4], **fields})
    write(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"kind": "stylegan2", "architecture": described})
    with pytest.raises(CheckpointError, match="a.safetensors: its architecture cannot be read") as error:
        load_generator(str(tmp_path / "a.safetensors"))
    assert reason in str(error.value)
