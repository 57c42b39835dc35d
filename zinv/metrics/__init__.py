"""What is measured: metrics of one image each, and the protocols that say how."""

from zinv.metrics.base import Metric
from zinv.metrics.distortion import MSE, MSSSIM, PSNR, SSIM
from zinv.metrics.protocol import Protocol

__all__ = ["MSE", "MSSSIM", "PSNR", "SSIM", "Metric", "Protocol"]
