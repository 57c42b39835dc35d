"""Training of the base-code encoder on a toy generator."""

from pathlib import Path

import pytest
import torch

from zinv.errors import WeightsError
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.networks.base_code import BaseCodeEncoder
from zinv.training.base_code import BaseCodeTraining
from zinv.training.fit import fit


def small(num_steps: int = 2, **options: float | int) -> BaseCodeTraining:
    return BaseCodeTraining(toy_stylegan2(), Loss({"mse": 1.0}), width=4, num_steps=num_steps, batch_size=4, **options)


def test_the_trained_encoder_fits_its_generator_alone(tmp_path: Path) -> None:
    file, generator = str(fit(small(), tmp_path, accelerator="cpu")), toy_stylegan2()
    encoder = BaseCodeEncoder.load(file, generator.sha256, "b8.conv0", 16)
    ws = generator.w_avg.expand(2, generator.num_ws, -1)
    styles = generator.affine(ws)
    target = generator.synthesis(styles)
    again = generator.synthesis(styles, base=("b8.conv0", encoder(target)))
    assert again.shape == target.shape and again.isfinite().all()
    other = toy_stylegan2(seed=1).sha256
    with pytest.raises(WeightsError, match=f"trained for generator {generator.sha256[:8]}…, not for {other[:8]}…"):
        BaseCodeEncoder.load(file, other, "b8.conv0", 16)


def test_training_brings_the_pictures_closer() -> None:
    trainee = small(lr=1e-2)
    optimizer = torch.optim.Adam(trainee.encoder.parameters(), 1e-2)
    ws, target = trainee._draw(trainee._fresh(8))
    losses = []
    for _ in range(12):
        loss = (trainee._reconstruct(ws, target) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_truncation_acts_on_the_first_rows() -> None:
    whole, cut = (
        small(truncation_psi=psi, truncation_cutoff=2)._draw(torch.randn(3, 16, generator=rng))[0]
        for psi, rng in ((1.0, torch.Generator().manual_seed(0)), (0.5, torch.Generator().manual_seed(0)))
    )
    w_avg = toy_stylegan2().w_avg
    torch.testing.assert_close(cut[:, :2], w_avg + 0.5 * (whole[:, :2] - w_avg))
    assert torch.equal(cut[:, 2:], whole[:, 2:])


def test_checkpoints_leave_the_generator_out() -> None:
    assert all(name.startswith("encoder.") for name in small().state_dict())
