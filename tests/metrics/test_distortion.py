"""Pixel metrics against hand-worked values, SciPy, scikit-image and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from zinv.errors import ProtocolError
from zinv.images import round_8bit, to_uint8
from zinv.metrics import MSE, MSSSIM, PSNR, SSIM, Metric

C1, C2 = 6.5025, 58.5225


def pair(num: int = 1, size: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(num, 3, 6, 6, generator=rng) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = 0.2 * torch.randn(num, 3, size, size, generator=rng)
    return round_8bit(target + noise), round_8bit(target)


def constant(value: float, size: int = 16) -> Tensor:
    return torch.full((1, 3, size, size), value)


def numpy_pair(seed: int = 0, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    image, target = pair(size=size, seed=seed)
    return to_uint8(image)[0].numpy(), to_uint8(target)[0].numpy()


def test_mse_and_psnr_of_constant_images() -> None:
    assert MSE()(constant(-1), constant(1)).tolist() == [4.0]
    assert PSNR()(constant(-1), constant(1)).tolist() == [0.0]
    assert PSNR()(constant(0), constant(0.5)).item() == pytest.approx(10 * math.log10(16), abs=1e-6)
    assert PSNR()(constant(0.25), constant(0.25)).item() == math.inf


def test_psnr_is_scikit_images_on_8_bit_files() -> None:
    image, target = numpy_pair()
    expected = peak_signal_noise_ratio(target, image, data_range=255)
    assert PSNR()(*pair()).item() == pytest.approx(expected, abs=1e-5)


def test_ganinverters_psnr_is_three_decibels_lower() -> None:
    difference = PSNR()(*pair()) - PSNR(peak_power=2.0)(*pair())
    assert difference.item() == pytest.approx(10 * math.log10(2), abs=1e-5)


def test_ssim_of_constant_images() -> None:
    a, b = 127.5 * 1.5, 127.5 * 0.6
    expected = (2 * a * b + C1) / (a * a + b * b + C1)
    for variant in ("opencv", "wang", "skimage"):
        assert SSIM(variant)(constant(0.5), constant(-0.4)).item() == pytest.approx(expected, abs=1e-6)


def reference_maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and contrast maps of one channel, with OpenCV's borders, by SciPy."""

    def smooth(image: np.ndarray) -> np.ndarray:
        offsets = np.arange(-5, 6)
        window = np.exp(-(offsets**2) / (2 * 1.5**2))
        window /= window.sum()
        return correlate1d(correlate1d(image, window, axis=0, mode="mirror"), window, axis=1, mode="mirror")

    mx, my = smooth(x), smooth(y)
    vx, vy, covariance = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    contrast = (2 * covariance + C2) / (vx + vy + C2)
    return contrast * (2 * mx * my + C1) / (mx**2 + my**2 + C1), contrast


def test_ssim_follows_opencv_and_torchmetrics() -> None:
    channels = zip(*(a.astype(np.float64).transpose(2, 0, 1) for a in numpy_pair()), strict=True)
    expected = np.mean([reference_maps(x, y)[0] for x, y in channels])
    image, target = ((a.double() + 1) * 127.5 for a in pair())
    assert SSIM()(*pair()).item() == pytest.approx(expected, abs=1e-6)
    torchmetrics = structural_similarity_index_measure(image, target, data_range=255.0)
    assert SSIM()(*pair()).item() == pytest.approx(torchmetrics.item(), abs=1e-6)


def test_ssim_variants_follow_scikit_image() -> None:
    x, y = numpy_pair()
    options = {"data_range": 255, "channel_axis": 2}
    default = structural_similarity(x, y, **options)
    wang = structural_similarity(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, **options)
    assert SSIM("skimage")(*pair()).item() == pytest.approx(default, abs=1e-6)
    assert SSIM("wang")(*pair()).item() == pytest.approx(wang, abs=1e-6)


def test_ms_ssim_is_the_product_of_five_scales() -> None:
    image, target = pair(size=176)
    x, y = ((a[0].double().numpy() + 1) * 127.5 for a in (image, target))
    values = np.ones(3)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        for channel in range(3):
            similarity, contrast = reference_maps(x[channel], y[channel])
            factor = (similarity if scale == 4 else contrast)[5:-5, 5:-5].mean()
            values[channel] *= max(factor, 0) ** weight
        x, y = (a[:, : a.shape[1] // 2 * 2, : a.shape[2] // 2 * 2] for a in (x, y))
        x, y = (a.reshape(3, a.shape[1] // 2, 2, a.shape[2] // 2, 2).mean((2, 4)) for a in (x, y))
    assert MSSSIM()(image, target).item() == pytest.approx(values.mean(), abs=1e-6)


def test_ms_ssim_refuses_small_images() -> None:
    with pytest.raises(ProtocolError, match="ms_ssim: needs 161 pixels a side, the images have 160."):
        MSSSIM().check_size(constant(0, size=160))


@pytest.mark.parametrize("metric", [MSE(), PSNR(), SSIM(), SSIM("wang"), SSIM("skimage")])
def test_a_value_does_not_depend_on_its_batch(metric: Metric) -> None:
    image, target = pair(num=3)
    alone = torch.cat([metric(a[None], b[None]) for a, b in zip(image, target, strict=True)])
    together = metric(image, target)
    assert together.shape == (3,) and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)
