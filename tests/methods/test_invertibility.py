"""The predictor that SAM's authors published, from a file of its layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zinv.errors import CheckpointError, WeightsError
from zinv.generators.toy import toy_stylegan2
from zinv.methods.invertibility import load_predictor
from zinv.methods.layers import default_points
from zinv.networks.base_code import BaseCodeEncoder
from zinv.networks.deeplab import DeepLabPredictor

SPACES = ["W+", "F4", "F6", "F8", "F10"]


@pytest.mark.slow
def test_a_published_predictor_maps_as_the_network_that_was_saved(tmp_path: Path):
    net, toy = DeepLabPredictor(SPACES).eval(), toy_stylegan2(0, 256, 2)
    heads = {space: head.state_dict() for space, head in net.heads.items()}
    base = {f"module.{name}": x for name, x in net.base.state_dict().items()}
    path = tmp_path / "invertibility_faces_sg2.pt"
    torch.save({"sd_base": base, **heads}, path)
    predictor, origin = load_predictor(str(path), toy, "Z+", default_points(toy))
    assert origin == "published, for W+" and not predictor.training
    assert not any(parameter.requires_grad for parameter in predictor.parameters())
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(predictor(picture), net(picture))
    with pytest.raises(
        WeightsError, match=r"trained for W\+, F4, F6, F8, F10, which is b16.out, b32.out, .*; not for b4"
    ):
        load_predictor(str(path), toy, "Z+", ["b4.out", "b8.out"])


def test_another_published_network_is_called_by_name(tmp_path: Path):
    path = tmp_path / "encoder.pt"
    torch.save({"encoder": BaseCodeEncoder(16, 6, 4, 12).state_dict()}, path)
    with pytest.raises(WeightsError, match="holds base-code encoder, not an invertibility predictor"):
        load_predictor(str(path), toy_stylegan2(), "Z+", ["b4.out"])
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="encoder.pt"):
        load_predictor(str(path), toy_stylegan2(), "Z+", ["b4.out"])
