"""Metrics of pixels: MSE, PSNR, SSIM and MS-SSIM."""

from __future__ import annotations

import math
from functools import partial
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.metrics.base import Metric, exact

C1: Final = (0.01 * 255) ** 2
C2: Final = (0.03 * 255) ** 2
SCALE_WEIGHTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, table of the five scales


def squared_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference `(N,)` in [-1, 1] units, float64.

    >>> squared_error(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item()
    1.0
    """
    return (exact(image) - exact(target)).square().mean((1, 2, 3))


class MSE(Metric):
    """Mean squared error over pixels and channels in [-1, 1] units: 4 times that of [0, 1]."""

    label, name, higher_is_better, digits = "MSE", "mse", False, 5

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        return squared_error(image, target).float()


class PSNR(Metric):
    """Peak signal-to-noise ratio, 10 log10(peak_power / MSE) decibels; infinite for equal images.

    Args:
        peak_power: the square of the data range: 4 for [-1, 1]. GANInverter has 2, which reads 3.01 dB lower.
    """

    label, name, higher_is_better, digits = "PSNR", "psnr", True, 2

    def __init__(self, peak_power: float = 4.0) -> None:
        super().__init__()
        self.peak_power = peak_power

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        return (10 * (math.log10(self.peak_power) - squared_error(image, target).log10())).float()

    def describe(self) -> str:
        """See `Metric`."""
        return f"PSNR 10 log10({self.peak_power:g}/MSE)"


class SSIM(Metric):
    """Structural similarity (Wang et al. 2004) of RGB channels with the constants of 8 bits, mean over the map.

    Args:
        variant: "opencv": Gaussian window 11 x 11 of sigma 1.5, borders reflected without the edge pixel, mean over the
            whole map, as OpenCV's quality module and torchmetrics; "wang": the same window inside the image alone, as
            the original and scikit-image's `gaussian_weights=True, use_sample_covariance=False`; "skimage":
            scikit-image's defaults, 7 x 7 uniform, sample covariance.
    """

    label, name, higher_is_better = "SSIM", "ssim", True

    def __init__(self, variant: Literal["opencv", "wang", "skimage"] = "opencv") -> None:
        super().__init__()
        self.variant = variant
        self.min_size = 7 if variant == "skimage" else 11 if variant == "wang" else 6

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        x, y = levels(image), levels(target)
        if self.variant == "skimage":
            similarity, _ = ssim_maps(x, y, torch.full((7,), 1 / 7, dtype=torch.float64), bias=49 / 48)
        else:
            similarity, _ = ssim_maps(x, y, gaussian_window(), reflect=self.variant == "opencv")
        return similarity.mean((1, 2, 3)).float()

    def describe(self) -> str:
        """See `Metric`."""
        window = "7x7 uniform" if self.variant == "skimage" else "11x11 Gaussian 1.5"
        return f"SSIM ({self.variant}: {window}, RGB, 8-bit constants)"


class MSSSIM(Metric):
    """Multi-scale structural similarity (Wang et al. 2003): five scales, windows inside the image, per channel."""

    label, name, higher_is_better, min_size = "MS-SSIM", "ms_ssim", True, 161

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """See `Metric`."""
        x, y = levels(image), levels(target)
        factors = []
        for scale in range(len(SCALE_WEIGHTS)):
            if scale:
                halve = partial(F.avg_pool2d, kernel_size=2, padding=(x.shape[2] % 2, x.shape[3] % 2))
                x, y = halve(x), halve(y)
            similarity, contrast = (m.mean((2, 3)).relu() for m in ssim_maps(x, y, gaussian_window()))
            factors.append(contrast)
        factors[-1] = similarity
        weighted = [factor**weight for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True)]
        return torch.stack(weighted).prod(0).mean(1).float()

    def describe(self) -> str:
        """See `Metric`."""
        return "MS-SSIM (5 scales, 11x11 Gaussian 1.5, RGB, 8-bit constants)"


def levels(image: Tensor) -> Tensor:
    """[-1, 1] to [0, 255], float64."""
    return (exact(image) + 1) * 127.5


def gaussian_window(size: int = 11, sigma: float = 1.5) -> Tensor:
    """The normalised window `(size,)`, float64."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-x.square() / (2 * sigma**2))
    return window / window.sum()


def ssim_maps(x: Tensor, y: Tensor, window: Tensor, reflect: bool = False, bias: float = 1.0) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor at each pixel, `(N, C, h, w)`, of images in [0, 255].

    Args:
        x: images.
        y: their targets.
        window: one side `(K,)` of the separable window.
        reflect: pad by reflection, so that the map has the image's size.
        bias: factor of the covariances: n / (n - 1) makes them sample covariances.
    """
    smooth = partial(_smooth, window=window.to(x), reflect=reflect)
    mx, my, xx, yy, xy = smooth(x), smooth(y), smooth(x * x), smooth(y * y), smooth(x * y)
    vx, vy, covariance = bias * (xx - mx * mx), bias * (yy - my * my), bias * (xy - mx * my)
    contrast = (2 * covariance + C2) / (vx + vy + C2)
    return contrast * (2 * mx * my + C1) / (mx * mx + my * my + C1), contrast


def _smooth(image: Tensor, window: Tensor, reflect: bool) -> Tensor:
    n, channels, height, width = image.shape
    flat = image.reshape(n * channels, 1, height, width)
    if reflect:
        flat = F.pad(flat, [len(window) // 2] * 4, mode="reflect")
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.reshape(n, channels, *flat.shape[-2:])
