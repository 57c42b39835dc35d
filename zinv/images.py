"""The one place where pictures become tensors and back: `(N, 3, H, W)` float32 in [-1, 1] everywhere else."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from zinv.errors import DataError

Resize = Literal["area", "bilinear", "bicubic", "bicubic_no_antialias", "lanczos", "bilinear_pil"]
PIL_FILTERS: Final = {"lanczos": Image.Resampling.LANCZOS, "bilinear_pil": Image.Resampling.BILINEAR}
MAX_PIXELS = 100_000_000


def to_uint8(images: Tensor) -> Tensor:
    """`(N, 3, H, W)` in [-1, 1] to `(N, H, W, 3)` uint8, rounded to nearest, clamped.

    >>> to_uint8(torch.full((1, 3, 1, 1), -1.2)).flatten().tolist()
    [0, 0, 0]
    """
    scaled = (images.detach().float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu()


def from_uint8(pixels: Tensor) -> Tensor:
    """`(N, H, W, 3)` uint8 to `(N, 3, H, W)` float32 in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def round_8bit(images: Tensor) -> Tensor:
    """What is left of images in [-1, 1] after 8-bit export."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def pixels_sha256(image: Tensor) -> str:
    """Digest of one `(3, H, W)` image's 8-bit pixels and size."""
    pixels = to_uint8(image[None])[0].contiguous().numpy()
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def resize(images: Tensor, size: int, how: Resize = "area") -> Tensor:
    """`(N, 3, H, W)` to `(N, 3, size, size)`; differentiable except for `lanczos` and `bilinear_pil`, PIL's on 8 bits.

    >>> resize(torch.zeros(1, 3, 8, 8), 4).shape
    torch.Size([1, 3, 4, 4])
    """
    if images.shape[-2:] == (size, size):
        return images
    if how == "area":
        return F.interpolate(images, size=(size, size), mode="area")
    if how in PIL_FILTERS:
        return _resize_pil(images, size, PIL_FILTERS[how])
    mode = how.removesuffix("_no_antialias")
    antialias = not how.endswith("_no_antialias")
    return F.interpolate(images, size=(size, size), mode=mode, antialias=antialias, align_corners=False)


def _resize_pil(images: Tensor, size: int, how: Image.Resampling) -> Tensor:
    pictures = [Image.fromarray(x.numpy()).resize((size, size), how) for x in to_uint8(images)]
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return from_uint8(pixels).to(images)


def read_image(path: Path) -> Tensor:
    """Read any picture that PIL knows as `(3, H, W)` float32 in [-1, 1].

    EXIF rotation is applied, alpha is laid on white, grey becomes RGB, 16-bit is scaled to 8.

    Raises:
        DataError: the file is not a picture, is truncated, or has more than 100 million pixels.
    """
    try:
        with Image.open(path) as picture:
            _check_size(picture, path)
            picture.load()
            return from_uint8(torch.from_numpy(np.array(_to_rgb(picture)))[None])[0]
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path.name}: not a readable picture ({error}).") from error


def _check_size(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{path.name}: {width} x {height} is more than {MAX_PIXELS} pixels.")


def _to_rgb(picture: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float64)
        picture = Image.fromarray(
            (values / 257.0 if picture.mode != "F" else values).round().clip(0, 255).astype(np.uint8)
        )
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def write_png(image: Tensor, path: Path) -> None:
    """Write one `(3, H, W)` image in [-1, 1] as an 8-bit PNG, by a temporary name and a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(to_uint8(image[None])[0].numpy()).save(temporary, format="PNG")
    temporary.replace(path)


def grid(images: Tensor, columns: int | None = None, pad: int = 2) -> Tensor:
    """Lay `(N, 3, H, W)` out as one `(3, H', W')` picture, row by row, with white gaps."""
    num, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(num))
    rows = math.ceil(num / columns)
    sheet = images.new_ones(channels, rows * (height + pad) - pad, columns * (width + pad) - pad)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + pad), (i % columns) * (width + pad)
        sheet[:, top : top + height, left : left + width] = image
    return sheet
