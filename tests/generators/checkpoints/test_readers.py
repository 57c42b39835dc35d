"""Each published layout, written by hand in `layouts`, is read into the generator that it was made of."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.generators.checkpoints import layouts
from tests.generators.checkpoints.conftest import image, stylegan1, stylegan2
from tests.generators.checkpoints.layouts import STYLEGAN1, STYLEGAN2
from zinv.errors import CheckpointError
from zinv.generators import load_generator
from zinv.generators.checkpoints.formats import read_checkpoint
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2

SIZES = {
    "other widths": {},
    "two mapping layers, 16 pixels": {"resolution": 16, "channels": (5, 6, 4), "mapping_layers": 2},
    "eight mapping layers, 64 pixels": {"resolution": 64, "channels": (9, 8, 7, 6, 5), "mapping_layers": 8, "z_dim": 7},
    "4 pixels": {"resolution": 4, "channels": (5,)},
}


def same(found: StyleGAN1 | StyleGAN2, true: StyleGAN1 | StyleGAN2) -> None:
    """Architecture and images, to 1e-5 of the images' size."""
    assert found.arch == true.arch
    assert torch.equal(found.w_avg, true.w_avg)
    wanted = image(true)
    torch.testing.assert_close(image(found), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_generator(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith(".") and "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("format", STYLEGAN2)
def test_a_stylegan2_of_each_format_renders_what_it_was_made_of(tmp_path: Path, format: str, sizes: dict):
    generator = stylegan2(**sizes)
    path = STYLEGAN2[format](tmp_path / "file", generator)
    same(load_generator(str(path), check=False), generator)
    found = read_checkpoint(path)
    assert (found.format, found.what) == (format, "StyleGAN2")


@pytest.mark.parametrize("sizes", list(SIZES.values())[:3], ids=list(SIZES)[:3])
@pytest.mark.parametrize("format", STYLEGAN1)
def test_a_stylegan1_of_each_format_renders_what_it_was_made_of(tmp_path: Path, format: str, sizes: dict):
    generator = stylegan1(**sizes)
    path = STYLEGAN1[format](tmp_path / "file", generator)
    same(load_generator(str(path), check=False), generator)
    assert read_checkpoint(path).format == format


@pytest.mark.parametrize("format", ["genforce", "NVIDIA TensorFlow", "IDInvert"])
def test_a_stylegan1_fused_from_128_pixels_on(tmp_path: Path, format: str):
    generator = stylegan1(resolution=256, channels=(4, 4, 4, 4, 4, 3, 3))
    same(load_generator(str(STYLEGAN1[format](tmp_path / "file", generator)), check=False), generator)


def test_idinverts_generator_has_a_w_a_layer_and_tanh(tmp_path: Path):
    generator = stylegan1(resolution=128, channels=(4, 4, 4, 4, 4, 3), w_per_layer=True, tanh=True)
    found = load_generator(str(layouts.save_idinvert(tmp_path / "styleganinv.pth", generator)))
    same(found, generator)
    assert found.w_per_layer and found.mapping(torch.randn(2, 9)).shape == (2, 12, 7)
    assert image(found).abs().max() <= 1


@pytest.mark.parametrize(("fused", "start"), [(True, 8), (False, 128), ("auto", 128)])
def test_a_tensorflow_stylegan1_says_from_where_it_is_fused(tmp_path: Path, fused: object, start: int):
    generator = stylegan1(fused_from=start)
    path = layouts.save_nvidia_tf(tmp_path / "f.pkl", layouts.nvidia_tf1(generator, fused_scale=fused))
    same(load_generator(str(path), check=False), generator)


def test_the_name_of_a_file_says_nothing(tmp_path: Path):
    generator = stylegan2()
    for format, name in zip(STYLEGAN2, ("a.pkl", "b.safetensors", "c.pth", "d.pt"), strict=True):
        same(load_generator(str(STYLEGAN2[format](tmp_path / name, generator)), check=False), generator)
    generator.save(tmp_path / "own.safetensors")
    shutil.move(tmp_path / "own.safetensors", tmp_path / "own.pkl")
    same(load_generator(str(tmp_path / "own.pkl")), generator)


@pytest.mark.parametrize("format", STYLEGAN2)
def test_the_averaged_generator_is_taken(tmp_path: Path, format: str):
    average, raw, path = stylegan2(0), stylegan2(1), tmp_path / "file"
    entry = {"rosinality": "g_ema", "genforce": "generator_smooth", "NVIDIA PyTorch": "G_ema"}.get(format, "Gs")
    if format == "rosinality":
        layouts.save_rosinality(path, average, g=layouts.rosinality(raw), args=argparse.Namespace(size=32))
    elif format == "genforce":
        layouts.save_genforce(path, average, generator=layouts.genforce2(raw), discriminator={"x": torch.ones(2)})
    elif format == "NVIDIA PyTorch":
        layouts.save_nvidia(path, layouts.nvidia_module(average), G=layouts.nvidia_module(raw))
    else:
        layouts.save_nvidia_tf(path, layouts.nvidia_tf2(average), layouts.nvidia_tf2(raw))
    found = read_checkpoint(path)
    same(load_generator(str(path), check=False), average)
    convolutions = [x for name, x in raw.tensors().items() if x.dim() == 4 and x.shape[-1] == 3]
    assert found.entry == entry
    assert found.raw_energy == pytest.approx(sum(float(x.square().sum()) for x in convolutions))


def test_the_generator_in_training_is_taken_where_there_is_no_average(tmp_path: Path):
    generator = stylegan2()
    torch.save({"generator": layouts.genforce2(generator)}, tmp_path / "file.pth")
    same(load_generator(str(tmp_path / "file.pth"), check=False), generator)
    assert read_checkpoint(tmp_path / "file.pth").raw_energy is None


def test_a_training_state_of_genforce_has_its_networks_one_deeper(tmp_path: Path):
    generator = stylegan2()
    models = {"generator": layouts.genforce2(stylegan2(1)), "generator_smooth": layouts.genforce2(generator)}
    torch.save({"models": models, "running_metadata": {"iter": 3, "seen_img": 96}}, tmp_path / "file.pth")
    same(load_generator(str(tmp_path / "file.pth"), check=False), generator)
    assert read_checkpoint(tmp_path / "file.pth").entry == "generator_smooth"


@pytest.mark.parametrize("state", [layouts.rosinality, layouts.genforce2], ids=["rosinality", "genforce"])
def test_a_bare_state_dict_is_a_file_too(tmp_path: Path, state):
    generator = stylegan2()
    mean = {"latent_avg": generator.w_avg} if state is layouts.rosinality else {}
    torch.save({**state(generator), **mean}, tmp_path / "file")
    same(load_generator(str(tmp_path / "file"), check=False), generator)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_module_that_was_saved_whole_is_read(tmp_path: Path, zipped: bool):
    """As PTI leaves its tuned generators; torch's own archive, or a plain pickle."""
    generator = stylegan2()
    module, path = layouts.nvidia_module(generator), tmp_path / "model_run_image.pt"
    if zipped:
        layouts.save_torch(path, module)
    else:
        path.write_bytes(layouts.pickled(module))
    same(load_generator(str(path), check=False), generator)
    assert read_checkpoint(path).entry == ""


@pytest.mark.parametrize("mean", [(1, 7), (8, 7)])
def test_a_mean_that_is_kept_once_a_row_is_one_mean(tmp_path: Path, mean: tuple[int, int]):
    generator, path = stylegan2(), tmp_path / "file.pt"
    torch.save({"g_ema": layouts.rosinality(generator), "latent_avg": generator.w_avg.expand(mean).clone()}, path)
    same(load_generator(str(path), check=False), generator)


def test_a_mean_that_differs_from_row_to_row_is_refused(tmp_path: Path):
    torch.save({"g_ema": layouts.rosinality(stylegan2()), "latent_avg": torch.randn(8, 7)}, tmp_path / "file.pt")
    said = refusal(tmp_path / "file.pt")
    assert said == "latent_avg: another w for each layer; zinv has that in StyleGAN1 alone."


def test_a_mean_that_is_missing_is_sampled(tmp_path: Path):
    generator, path = stylegan2(), tmp_path / "file.pt"
    torch.save({"g_ema": layouts.rosinality(generator)}, path)
    found = load_generator(str(path), check=False)
    w = generator.mapping(torch.randn(50_000, 9))
    torch.testing.assert_close(found.w_avg, w.mean(0), rtol=0, atol=0.05 * float(w.std(0).max()))
    assert "w_avg is the mean of 20,000 draws" in read_checkpoint(path).notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_read_as_float32(tmp_path: Path, dtype: torch.dtype):
    generator, path = stylegan2(), tmp_path / "file.pt"
    half = {name: x.to(dtype) for name, x in layouts.rosinality(generator).items()}
    torch.save({"g_ema": half, "latent_avg": generator.w_avg.to(dtype)}, path)
    found = load_generator(str(path), check=False)
    assert {x.dtype for x in found.tensors().values()} == {torch.float32}
    wanted = image(generator)
    torch.testing.assert_close(image(found), wanted, rtol=0, atol=0.05 * float(wanted.abs().max()))


@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("format", ["PyTorch", "TensorFlow"])
def test_the_clamp_of_half_precision_training_is_kept(tmp_path: Path, format: str, clamp: float | None):
    generator, path = stylegan2(clamp=clamp), tmp_path / "file.pkl"
    if format == "PyTorch":
        module = layouts.nvidia_module(generator, clamp=clamp, half=2)
        assert not module.synthesis.b32.conv1.weight.is_contiguous()
        layouts.save_nvidia(path, module)
    else:
        layouts.save_nvidia_tf(path, layouts.nvidia_tf2(generator, conv_clamp=clamp, num_fp16_res=2))
    same(load_generator(str(path), check=False), generator)
    free = stylegan2()
    assert (image(free) - image(generator)).abs().max() > 0.1 or clamp is None


@pytest.mark.parametrize("kept", [True, False], ids=["layers keep it", "given to the whole"])
def test_a_stylegan2_of_stylegan3s_code(tmp_path: Path, kept: bool):
    """What ADA's code was given as `synthesis_kwargs` stands among the arguments of the whole."""
    generator = stylegan2(clamp=0.5)
    module = layouts.nvidia_module(generator, clamp=0.5, half=2)
    module._init_kwargs.update(module._init_kwargs.pop("synthesis_kwargs"), fused_modconv_default="inference_only")
    del module.synthesis_kwargs
    for part in () if kept else list(module.modules())[1:]:
        part._init_kwargs.pop("conv_clamp", None)
        part.__dict__.pop("conv_clamp", None)
    same(load_generator(str(layouts.save_nvidia(tmp_path / "f.pkl", module)), check=False), generator)


def test_layers_without_noise_have_none(tmp_path: Path):
    generator = stylegan2()
    module = layouts.nvidia_module(generator)
    for block in module.synthesis.children():
        for conv in (x for name, x in block.named_children() if name.startswith("conv")):
            conv.use_noise = False
            del conv.noise_strength, conv.noise_const
    found = load_generator(str(layouts.save_nvidia(tmp_path / "f.pkl", module)), check=False)
    z = torch.randn(2, 9)
    styles = generator.affine(generator.as_ws(generator.mapping(z)))
    torch.testing.assert_close(found.synthesis(styles), generator.synthesis(styles, noise="none"))


# refused by name


def test_conditional_generators_are_refused(tmp_path: Path):
    module = layouts.nvidia_module(stylegan2())
    module.c_dim = 10
    assert "conditional on labels (c_dim 10)" in refusal(layouts.save_nvidia(tmp_path / "a.pkl", module))
    labels = layouts.nvidia_tf2(stylegan2(), label_size=10)
    assert "label_size is 10; zinv has 0 alone" in refusal(layouts.save_nvidia_tf(tmp_path / "b.pkl", labels))
    labels.state["static_kwargs"].pop("label_size")
    labels.state["components"]["mapping"].state["variables"] += [("LabelEmbed/weight", np.ones((10, 9), np.float32))]
    labels.state["components"]["mapping"].state["static_kwargs"] = {}
    labels.state["components"]["synthesis"].state["static_kwargs"] = {}
    assert "conditional on labels; zinv has none" in refusal(layouts.save_nvidia_tf(tmp_path / "d.pkl", labels))
    state = {**layouts.genforce2(stylegan2()), "mapping.label_weight": torch.ones(10, 9)}
    torch.save({"generator_smooth": state}, tmp_path / "c.pth")
    assert "conditional on labels (mapping.label_weight)" in refusal(tmp_path / "c.pth")


def test_stylegan3_is_refused(tmp_path: Path):
    module = layouts.nvidia_module(stylegan2())
    del module.synthesis.b4
    module.synthesis.input = layouts.Persistent("SynthesisInput", {"w_dim": 7})
    assert "a StyleGAN3 generator; zinv has StyleGAN1 and" in refusal(layouts.save_nvidia(tmp_path / "3.pkl", module))


def test_generators_of_other_parts_are_refused(tmp_path: Path):
    module = layouts.nvidia_module(stylegan2())
    module.backbone = module.synthesis
    del module.synthesis
    said = refusal(layouts.save_nvidia(tmp_path / "a.pkl", module))
    assert said.startswith("a generator whose parts are mapping, mapping.fc0, ")
    state = {name: x for name, x in layouts.genforce1(stylegan1()).items() if not name.startswith("mapping.")}
    torch.save(state, tmp_path / "b.pth")
    assert refusal(tmp_path / "b.pth") == "a generator of 4 blocks with 0 layers of mapping."


@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_other_skip_architectures_are_refused(tmp_path: Path, architecture: str):
    module = layouts.nvidia_module(stylegan2())
    module.synthesis.b8.architecture = architecture
    said = refusal(layouts.save_nvidia(tmp_path / "a.pkl", module))
    assert f"synthesis.b8: architecture is '{architecture}'; zinv has 'skip' alone" in said
    network = layouts.nvidia_tf2(stylegan2(), architecture=architecture)
    assert f"architecture is '{architecture}'" in refusal(layouts.save_nvidia_tf(tmp_path / "b.pkl", network))
    state = layouts.genforce2(stylegan2())
    for k in range(3):
        state = {name: x for name, x in state.items() if f"output{k}." not in name}
    torch.save(state, tmp_path / "c.pth")
    assert "0 RGB layers for 7 others: resnet or orig; zinv has skip alone" in refusal(tmp_path / "c.pth")


def test_a_tensorflow_stylegan2_without_a_picture_at_4_pixels_is_refused(tmp_path: Path):
    network = layouts.nvidia_tf2(stylegan2())
    state = network.state["components"]["synthesis"].state
    state["variables"] = [pair for pair in state["variables"] if not pair[0].startswith("4x4/ToRGB")]
    said = refusal(layouts.save_nvidia_tf(tmp_path / "a.pkl", network))
    assert said == "a StyleGAN2 of orig or resnet architecture; zinv has skip alone."


def test_settings_that_zinv_lacks_are_refused(tmp_path: Path):
    module = layouts.nvidia_module(stylegan2())
    module.mapping.fc1.bias_gain = 0.001
    assert "mapping.fc1: bias_gain is 0.001; zinv has 0.01 alone" in refusal(
        layouts.save_nvidia(tmp_path / "a", module)
    )
    module = layouts.nvidia_module(stylegan2())
    module.img_channels = 4
    assert "generator: img_channels is 4; zinv has 3 alone" in refusal(layouts.save_nvidia(tmp_path / "b", module))
    module = layouts.nvidia_module(stylegan2(), clamp=256.0)
    module.synthesis.b8.conv1.conv_clamp = 128.0
    assert "conv_clamp differs between layers" in refusal(layouts.save_nvidia(tmp_path / "c", module))
    module = layouts.nvidia_module(stylegan2())
    module.synthesis.b8.conv1.resample_filter = layouts.BLUR
    said = refusal(layouts.save_nvidia(tmp_path / "d", module))
    assert "synthesis.b8.conv1.resample_filter: a low-pass filter of 9 taps, not 16" in said
    state = layouts.rosinality(stylegan2())
    state["convs.0.conv.blur.kernel"] = torch.ones(4, 4)
    torch.save(state, tmp_path / "e")
    assert "convs.0.conv.blur.kernel: another low-pass filter than zinv's" in refusal(tmp_path / "e")


def test_a_file_that_does_not_say_whether_layers_are_clamped_is_refused(tmp_path: Path):
    module = layouts.nvidia_module(stylegan2())
    for part in module.modules():
        part._init_kwargs.pop("conv_clamp", None)
        part.__dict__.pop("conv_clamp", None)
    module._init_kwargs.pop("synthesis_kwargs")
    assert "does not say whether the layer is clamped" in refusal(layouts.save_nvidia(tmp_path / "a.pkl", module))


def test_a_stylegan1_that_is_still_growing_is_refused(tmp_path: Path):
    state = {**layouts.genforce1(stylegan1()), "synthesis.lod": torch.tensor(2.5)}
    torch.save(state, tmp_path / "a.pth")
    assert "synthesis.lod: 2.5, so it has not grown to its full resolution" in refusal(tmp_path / "a.pth")


def test_a_stylegan2_with_a_w_a_layer_is_refused(tmp_path: Path):
    state = layouts.genforce2(stylegan2())
    for end in ("weight", "bias"):
        state[f"mapping.dense2.{end}"] = state[f"mapping.dense2.{end}"].repeat_interleave(8, 0)
    torch.save(state, tmp_path / "a.pth")
    assert "gives each layer a w of its own; zinv has that in StyleGAN1 alone" in refusal(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("convs.1.conv.weight", None, "convs.1.conv.weight: not in the file"),
        ("convs.1.conv.weight", torch.ones(1, 3, 10, 3, 3), r"synthesis.b8.conv1.weight: shape \(3, 10, 3, 3\) does"),
        ("conv1.conv.modulation.weight", torch.ones(12, 0), "sizes 32, 9, 0, 12, 10, 8, 6 are not numbers from 1 to"),
        ("convs.1.conv.weight", torch.ones(()), r"synthesis.b8.conv1.weight: shape \(\) does not fit"),
        ("input.input", torch.full((1, 12, 4, 4), np.nan), "synthesis.b4.const: not all of its values are finite"),
        ("to_rgb1.iwt.ll", torch.ones(2, 2), "to_rgb1.iwt.ll: no tensor of this architecture"),
    ],
    ids=["missing", "shape", "empty", "axes", "nan", "unknown"],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, name: str, change: torch.Tensor | None, said: str):
    state = layouts.rosinality(stylegan2())
    state.pop(name, None)
    torch.save({"g_ema": {**state, **({} if change is None else {name: change})}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=said):
        load_generator(str(tmp_path / "a.pt"))


def test_other_axes_than_tensorflow_has_are_named(tmp_path: Path):
    network = layouts.nvidia_tf2(stylegan2())
    variables = network.state["components"]["synthesis"].state["variables"]
    at = [name for name, _ in variables].index("8x8/Conv1/weight")
    variables[at] = ("8x8/Conv1/weight", np.ones((3, 3), np.float32))
    said = refusal(layouts.save_nvidia_tf(tmp_path / "a.pkl", network))
    assert said == "synthesis/8x8/Conv1/weight: shape (3, 3) does not fit the architecture."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": {"x": torch.ones(2)}, "epoch": 3}, "it holds a dict of model, epoch, none of the networks that"),
        ([1, 2], "it holds a list, none of the networks that zinv reads."),
        (torch.ones(1, 18, 512), "it holds a tensor of shape (1, 18, 512), none of the networks that zinv reads."),
    ],
    ids=["dict", "list", "tensor"],
)
def test_files_of_something_else_are_described(tmp_path: Path, content: object, said: str):
    torch.save(content, tmp_path / "a.pt")
    assert refusal(tmp_path / "a.pt").startswith(said)


def test_a_tensorflow_network_of_another_kind_is_refused(tmp_path: Path):
    other = layouts.Network("D", {"resolution": 16}, 4, [("4x4/Conv/weight", np.ones((3, 3, 2, 2), np.float32))])
    said = refusal(layouts.save_nvidia_tf(tmp_path / "a.pkl", other))
    assert said == "a TensorFlow network that is neither StyleGAN2 nor StyleGAN1."


# what a user sees


def test_one_line_says_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = layouts.save_nvidia(tmp_path / "ffhq.pkl", layouts.nvidia_module(stylegan2(clamp=256.0), clamp=256.0))
    generator = load_generator(str(path))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(
        "ffhq.pkl: NVIDIA PyTorch StyleGAN2 (G_ema): 32 pixels, widths 12 10 8 6, z 9, w 7, 3 mapping layers, "
        "clamped at 256, "
    )
    parameters = sum(p.numel() for p in generator.parameters())
    assert f", {parameters:,} parameters, sha256 {generator.sha256[:16]}…" in said


def test_the_digest_is_that_of_the_file(tmp_path: Path):
    import hashlib

    path = layouts.save_genforce(tmp_path / "a.pth", stylegan2())
    assert load_generator(str(path), check=False).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
