"""What others publish beside generators: GANSpace's components, InterfaceGAN's boundaries, codes of pictures.

P_N statistics, the fourth kind, are read by `zinv.spaces.statistics`.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

import numpy as np
import torch
from torch import Tensor

from zinv.errors import WeightsError
from zinv.generators.checkpoints.base import tensors_in
from zinv.unpickle import load
from zinv.weights import Weights, find

LARGEST: Final = 1 << 29  # bytes of an unpacked array; published ones stay below 200 MB
UNIT: Final = 0.01
LATENT: Final = ("lat_mean", "lat_comp", "lat_stdev")
PCA: Final = ("mean", "comp", "std")


@dataclass(frozen=True)
class Components:
    """Principal directions of a prior (Härkönen et al. 2020).

    Attributes:
        coordinates: "w", or "z" for directions that were regressed from W back to z.
        mean: `(D,)`.
        axes: unit rows, `(K, D)`.
        deviations: the prior's standard deviation along each, `(K,)`; ones for "z".
    """

    coordinates: Literal["z", "w"]
    mean: Tensor
    axes: Tensor
    deviations: Tensor


def read_components(name: Weights) -> Components:
    """Those of a GANSpace `.npz` of either flavour, or of PTI's and e4e's `ffhq_pca.pt`.

    GANSpace's file of z directions has a deviation of one for each, and its axes in W beside them.

    Raises:
        WeightsError: it is missing, damaged, or something else.
    """
    path = find(name)
    arrays = _arrays(path)
    names = next((names for names in (LATENT, PCA) if all(part in arrays for part in names)), None)
    if names is None:
        raise WeightsError(f"{path}: no components; they are {', '.join(LATENT)} or {', '.join(PCA)}.")
    mean, axes, deviations = (arrays[part].float() for part in names)
    axes = axes.flatten(1)
    if axes.shape != (deviations.numel(), mean.numel()):
        raise WeightsError(f"{path}: components of shape {tuple(axes.shape)} for a mean of {mean.numel()} numbers.")
    if not (axes.norm(dim=1) - 1).abs().max() < UNIT:
        raise WeightsError(f"{path}: the components are not of length one.")
    ones = bool((deviations == 1).all())
    return Components("z" if ones else "w", mean.flatten(), axes, deviations.flatten())


def read_boundary(name: Weights, dim: int) -> Tensor:
    """The normal of an InterfaceGAN boundary (Shen et al. 2020), `(1, dim)` or a row for each layer.

    Whether it belongs to Z or W is not in the file. Lengths are kept: of many rows, each may be of length one, or all
    together.

    Args:
        name: a `.npy` or `.pt` file of one array, also flattened.
        dim: of the latent.

    Raises:
        WeightsError: it is missing, damaged, or something else.
    """
    path = find(name)
    normal = _single(path)
    if not 1 <= normal.dim() <= 3 or normal.numel() == 0 or normal.shape[-1] % dim:
        raise WeightsError(f"{path}: shape {tuple(normal.shape)} is no boundary of rows of {dim}.")
    return normal.reshape(-1, dim)


def read_codes(name: Weights, num_ws: int) -> Tensor:
    """Codes `(N, 1 or num_ws, dim)`: PTI's pivots, e4e's latents, `projected_w.npz`, IDInvert's and BDInvert's arrays.

    Args:
        name: a `.npy`, `.npz` or `.pt` file of one array; of two axes, the first are the rows if there are `num_ws`.
        num_ws: rows of the generator.

    Raises:
        WeightsError: it is missing, damaged, or something else.
    """
    path = find(name)
    codes = _single(path)
    if codes.dim() == 1:
        codes = codes[None, None]
    elif codes.dim() == 2:
        codes = codes[None] if codes.shape[0] == num_ws else codes[:, None]
    if codes.dim() != 3 or codes.shape[1] not in (1, num_ws) or codes.numel() == 0:
        raise WeightsError(f"{path}: shape {tuple(codes.shape)} is no code of 1 or {num_ws} rows.")
    return codes


def _single(path: Path) -> Tensor:
    """The one array of a file, finite, as float32."""
    arrays = _arrays(path)
    if len(arrays) != 1:
        raise WeightsError(f"{path}: one array is wanted; it has {', '.join(sorted(arrays)) or 'none'}.")
    (array,) = arrays.values()
    if not torch.isfinite(array).all():
        raise WeightsError(f"{path}: not all of its values are finite.")
    return array.float()


def _arrays(path: Path) -> Mapping[str, Tensor]:
    """Arrays of a `.npy`, `.npz` or torch file by name, whatever its own name says; a single one has none."""
    if not path.is_file():
        raise WeightsError(f"{path}: a folder, where one file of arrays is wanted.")
    with open(path, "rb") as file:
        head = file.read(6)
    try:
        if head == b"\x93NUMPY":
            return {"": _tensor(np.load(path, mmap_mode="r", allow_pickle=False))}
        if head.startswith(b"PK") and not _is_torch(path):
            with zipfile.ZipFile(path) as archive:
                return {name.removesuffix(".npy"): _member(archive, name) for name in archive.namelist()}
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise WeightsError(f"{path}: not a readable file of numpy arrays ({error}).") from error
    content = load(path)
    return {"": content} if isinstance(content, Tensor) else tensors_in(content)


def _is_torch(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _member(archive: zipfile.ZipFile, name: str) -> Tensor:
    """An array of a `.npz`, if it is as large as its header says."""
    size = archive.getinfo(name).file_size
    if size > LARGEST:
        raise ValueError(f"{name} unpacks to {size:,} bytes")
    with archive.open(name) as file:
        if _claimed(file) > size:
            raise ValueError(f"{name} is shorter than its header says")
    with archive.open(name) as file:
        return _tensor(np.lib.format.read_array(file, allow_pickle=False))


def _claimed(file: IO[bytes]) -> int:
    """Bytes of content that an array's header announces."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return math.prod(shape) * dtype.itemsize


def _tensor(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
    if array.dtype.kind not in "fiu" or array.nbytes > LARGEST:
        raise ValueError(f"an array of {array.nbytes:,} bytes of {array.dtype}")
    return torch.from_numpy(np.array(array, dtype=np.float32))
