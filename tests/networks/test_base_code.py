"""The base-code encoder: layout of the published files, and refusal of those for something else."""

import json
from pathlib import Path

import pytest
import torch

from zinv import weights
from zinv.errors import WeightsError
from zinv.networks.base_code import BaseCodeEncoder, tensor_shapes


def narrow(size: int = 8) -> BaseCodeEncoder:
    return BaseCodeEncoder(size, channels=6, width=4)


def test_the_layout_is_that_of_the_published_files() -> None:
    with torch.device("meta"):
        state = BaseCodeEncoder(size=16, channels=512).state_dict()
    shapes = {key: tuple(x.shape) for key, x in state.items() if x.dim() == 4}
    widths = [128] * 3 + [256] * 3 + [512] * 5
    indices = [0, 3, 6, 10, 13, 16, 20, 23, 26, 30, 33]
    before = [3, *widths]
    assert shapes == {
        f"model.{i}.weight": (wide, thin, 3, 3) for i, wide, thin in zip(indices, widths, before, strict=False)
    }
    norms = sorted(int(key.split(".")[1]) for key in state if key.endswith("running_var"))
    assert norms == [i + 1 for i in indices[:-1]]


@pytest.mark.parametrize("side", [16, 64, 128])
def test_any_picture_becomes_a_base_code_of_its_size(side: int) -> None:
    assert narrow()(torch.zeros(2, 3, side, side)).shape == (2, 6, 8, 8)


def test_pictures_of_the_encoders_size_pass_unchanged_and_gradients_flow() -> None:
    encoder, images = narrow().eval(), torch.rand(1, 3, 64, 64, requires_grad=True)
    torch.testing.assert_close(encoder(images), encoder.model(images))
    encoder(images).square().sum().backward()
    assert images.grad is not None and images.grad.abs().max() > 0


def test_weights_start_with_the_variance_of_fan_out() -> None:
    weight = BaseCodeEncoder(8, channels=64, width=64, max_width=64).model[3].weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


def test_an_own_file_comes_back_and_is_tied_to_its_generator_and_point(tmp_path: Path) -> None:
    encoder, path = narrow().eval(), tmp_path / "base_code.safetensors"
    weights.write(path, encoder.state_dict(), encoder.metadata("a" * 64, "b8.conv0"))
    again = BaseCodeEncoder.load(str(path), "a" * 64, "b8.conv0", 6)
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again(picture), encoder(picture))
    for generator, point, channels, words in [
        ("b" * 64, "b8.conv0", 6, r"trained for generator aaaaaaaa…, not for bbbbbbbb…\."),
        ("a" * 64, "b16.conv0", 6, r"trained for b8\.conv0, not for b16\.conv0"),
        ("a" * 64, "b8.conv0", 5, r"base codes of 6 channels; b8\.conv0 has 5"),
    ]:
        with pytest.raises(WeightsError, match=words):
            BaseCodeEncoder.load(str(path), generator, point, channels)


def test_a_published_file_tells_its_widths_by_its_shapes(tmp_path: Path) -> None:
    encoder = BaseCodeEncoder(16, channels=6, width=4, max_width=12).eval()
    torch.save({"encoder": encoder.state_dict(), "epoch": 10_000}, tmp_path / "encoder.pth")
    again = BaseCodeEncoder.load(str(tmp_path / "encoder.pth"), "any", "b16.conv0", 6)
    picture = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(again(picture), encoder(picture))


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: not a base code encoder"):
        BaseCodeEncoder.load(str(tmp_path / "other.pth"), "any", "b8.conv0", 6)
    state = {**narrow().state_dict(), "model.33.weight": torch.zeros(7, 6, 3, 3)}
    torch.save({"encoder": state}, tmp_path / "other.pth")
    with pytest.raises(
        WeightsError, match=r"other\.pth: not a base code encoder \(model\.30\.bias: missing, unknown or"
    ):
        BaseCodeEncoder.load(str(tmp_path / "other.pth"), "any", "b8.conv0", 7)
    weights.write(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"kind": "stylegan2"})
    with pytest.raises(WeightsError, match="holds stylegan2, not a base code encoder"):
        BaseCodeEncoder.load(str(tmp_path / "other.safetensors"), "any", "b8.conv0", 6)


def test_a_file_that_declares_a_huge_encoder_costs_nothing(tmp_path: Path) -> None:
    """Its last convolution would have 9 10^12 numbers."""
    metadata = narrow().metadata("a" * 64, "b8.conv0")
    fields = {**json.loads(metadata["architecture"]), "channels": 10**6}
    huge = {**metadata, "architecture": json.dumps(fields)}
    weights.write(tmp_path / "huge.safetensors", narrow().state_dict(), huge)
    with pytest.raises(WeightsError, match=r"huge\.safetensors: not a base code encoder \(model\.30\.bias: missing,"):
        BaseCodeEncoder.load(str(tmp_path / "huge.safetensors"), "a" * 64, "b8.conv0", 10**6)


def test_shapes_are_those_of_the_built_encoder() -> None:
    built = {name: tuple(x.shape) for name, x in BaseCodeEncoder(8, 7, 4, 12).state_dict().items() if x.dim()}
    assert tensor_shapes(7, 4, 12) == built


def test_untrained_encoders_are_seeded() -> None:
    a, b, c = (BaseCodeEncoder.load(f"untrained/{seed}", "any", "b8.conv0", 6) for seed in (0, 0, 1))
    picture = torch.rand(1, 3, 64, 64)
    assert torch.equal(a(picture), b(picture)) and not torch.equal(a(picture), c(picture))
