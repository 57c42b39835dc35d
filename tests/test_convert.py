"""`zinv convert`, and the preset that runs any generator file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import Said
from tests.generators.checkpoints import layouts
from tests.generators.checkpoints.conftest import image, stylegan1, stylegan2
from zinv.config import compose
from zinv.config.identity import run_id
from zinv.generators import load_generator
from zinv.networks.base_code import BaseCodeEncoder

Cli = Callable[..., Said]
NAMES = {"own.safetensors": "zinv", "theirs.pt": "rosinality", "theirs.pth": "genforce"}


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_becomes_a_file_of_each_format(cli: Cli, name: str):
    generator = stylegan2()
    layouts.save_nvidia(Path("ffhq.pkl"), layouts.nvidia_module(generator))
    said = cli(f"convert ffhq.pkl {name}")
    assert said.status == 0
    assert said.out.startswith(f"{name}: in {NAMES[name]}'s format; read back, it renders the same.\n")
    assert said.err.startswith("ffhq.pkl: NVIDIA PyTorch StyleGAN2 (G_ema): 32 pixels, ")
    again, wanted = load_generator(name, check=False), image(generator)
    torch.testing.assert_close(image(again), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert sorted(path.name for path in Path().iterdir()) == sorted(["ffhq.pkl", name])


def test_there_and_back_through_every_format(cli: Cli):
    generator = stylegan1()
    layouts.save_nvidia_tf(Path("cat.pkl"), layouts.nvidia_tf1(generator))
    for step in ("cat.pkl a.safetensors", "a.safetensors b.pth", "b.pth c --format zinv"):
        assert cli(f"convert {step}").status == 0
    assert torch.equal(image(load_generator("c")), image(generator))


def test_the_format_can_be_named(cli: Cli):
    stylegan2().save(Path("a.safetensors"))
    assert cli("convert a.safetensors b.pt --format genforce").status == 0
    assert "generator_smooth" in torch.load("b.pt", weights_only=True)


def test_a_clamp_that_acts_cannot_be_left_out(cli: Cli):
    for clamp, status in ((0.5, 2), (1e6, 0)):
        stylegan2(clamp=clamp).save(Path("a.safetensors"))
        said = cli("convert a.safetensors b.pt")
        assert said.status == status
        assert Path("b.pt").exists() is (status == 0)
    assert "note: rosinality's format does not tell that layers are clamped." in said.out
    stylegan2(clamp=0.5).save(Path("a.safetensors"))
    said = cli("convert a.safetensors b.pt")
    assert "error: b.pt: rosinality's format cannot hold it: read back, images differ by " in said.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a.safetensors b.onnx", "OUT=b.onnx: no format has the suffix '.onnx'. Choose from: .pt, .pth, .safetensors."),
        ("a.safetensors a.safetensors", "OUT=a.safetensors: it is the file that is read."),
        ("nowhere.pkl b.pt", "nowhere.pkl: no such weight file."),
        ("e.pth b.pt", "e.pth: no generator; it is BDInvert base-code encoder: width 4, "),
        ("a.safetensors b.pt --format onnx", "zinv convert: argument --format: invalid choice: 'onnx'"),
        ("a.safetensors", "zinv convert: give OUT."),
        ("a.safetensors /proc/b.pt", "OUT=/proc/b.pt: it cannot be written (No such file or directory)."),
        ("a.safetensors /proc/b.safetensors", "OUT=/proc/b.safetensors: it cannot be written (No such file or"),
        ("folder b.pt", "folder: a folder without arrays (.npy), no weight file."),
        ("arrays b.pt", "arrays: it is not a file."),
    ],
)
def test_mistakes_are_one_line(cli: Cli, line: str, words: str):
    stylegan2().save(Path("a.safetensors"))
    torch.save({"encoder": BaseCodeEncoder(16, 6, 4, 12).state_dict()}, "e.pth")
    Path("folder").mkdir()
    Path("arrays").mkdir()
    np.save("arrays/mean.npy", np.zeros(3))
    said = cli(f"convert {line}")
    assert said.status == 2
    assert said.err.count("\n") == 1 and words in said.err


def test_any_file_runs_and_its_content_names_the_run(cli: Cli):
    generator = stylegan2(resolution=16, channels=(6, 5, 4))
    layouts.save_genforce(Path("a.pth"), generator)
    parts = "data=toy loss=pixel protocol=pixel method.num_steps=1 data.num=1"
    said = cli(f"evaluate generator=file generator.path=a.pth {parts}")
    assert said.status == 0, said.err
    Path("a.pth").rename("b")
    paths = [f"generator.path={name}" for name in ("b", "c")]
    layouts.save_genforce(Path("c"), stylegan2(seed=1, resolution=16, channels=(6, 5, 4)))
    base = ["generator=file", *parts.split()]
    moved, other = (run_id(compose([*base, path])) for path in paths)
    assert list(Path("runs").glob(f"*-file/{moved}"))
    assert moved != other
    assert run_id(compose([*base, paths[0], "generator.check=false"])) == moved
