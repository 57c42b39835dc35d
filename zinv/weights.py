"""Where weight files are looked for, what they are called, and their digests. Nothing is ever downloaded here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zinv.errors import WeightsError, suggest
from zinv.published import PUBLISHED

Weights = Annotated[str, "weights"]
"""An argument that names a weight file, by its name in the manifest or by its path; it counts by its sha256."""

SHIPPED: Final = Path(__file__).parent / "assets"
TRAINED: Final = Path("runs") / "train"
ARRAYS: Final = "*.npy"


def folders() -> list[Path]:
    """Where weight files are looked for, in order.

    The folders of `ZINV_WEIGHTS`, what `zinv train` made here, the user's data folder, the package's own.
    """
    given = [Path(part) for part in os.environ.get("ZINV_WEIGHTS", "").split(os.pathsep) if part]
    home = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return [*given, TRAINED, home / "zinv", SHIPPED]


def find(name: str) -> Path:
    """The file of a weight name (`portraits/generator`, `lpips/vgg16`) or path; a folder of `.npy` arrays is one too.

    Raises:
        WeightsError: there is no such file; says where it was looked for, and the nearest name or where to get it.
    """
    if Path(name).is_file() or any(Path(name).glob(ARRAYS)):
        return Path(name)
    published = PUBLISHED.get(name)
    for folder in folders() + (torch_caches() if published else []):
        for file in (name, f"{name}.safetensors", *(published.files if published else ())):
            if (folder / file).is_file():
                return folder / file
    raise WeightsError(_missing(name))


def torch_caches() -> list[Path]:
    """Where torchvision and facenet-pytorch keep what they have downloaded."""
    home = Path(os.environ.get("TORCH_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")).expanduser()
    return [home / "hub" / "checkpoints", home / "checkpoints"]


def _missing(name: str) -> str:
    looked = ", ".join(str(folder) for folder in folders())
    published = PUBLISHED.get(name)
    if published is None:
        return f"{name}: no such weight file. Looked in the working folder, {looked}. {suggest(name, names())}"
    return (
        f"{name}: the weight file {published.files[0]} is missing. Get it from {published.source} "
        f"(sha256 {published.sha256[:8]}…; {published.licence}) and put it into one of: {looked}."
    )


def read_state(name: str) -> dict[str, Tensor]:
    """Tensors of a network by weight name or path: safetensors, or a torch file that holds tensors alone.

    Raises:
        WeightsError: missing, truncated, not what its publisher published, or more than tensors.
    """
    path = find(name)
    check_published(name, path)
    if path.suffix == ".safetensors":
        return read(path)[0]
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the broken file makes its readers raise
        raise WeightsError(f"{path}: not a readable file of tensors ({type(error).__name__}).") from error
    if not isinstance(content, Mapping) or not all(isinstance(x, Tensor) for x in content.values()):
        raise WeightsError(f"{path}: not a file of named tensors.")
    return {str(key): x.float() if x.is_floating_point() else x for key, x in content.items()}


def check_published(name: str, path: Path) -> None:
    """A file under its publisher's name must have its publisher's digest.

    Raises:
        WeightsError: it has not.
    """
    published = PUBLISHED.get(name)
    if published and path.name == published.files[0] and sha256(path) != published.sha256:
        raise WeightsError(
            f"{path}: truncated or another file: sha256 {sha256(path)[:8]}…, not {published.sha256[:8]}…; "
            f"get it again from {published.source}."
        )


def names() -> list[str]:
    """Names of all safetensors files in the weight folders."""
    return sorted(
        {
            path.relative_to(folder).with_suffix("").as_posix()
            for folder in folders()
            if folder.is_dir()
            for path in folder.rglob("*.safetensors")
        }
    )


def sha256(path: Path) -> str:
    """Digest of a file, or of a folder of arrays; computed once for each state of the file."""
    if path.is_dir():
        digests = [f"{file.name} {sha256(file)}" for file in sorted(path.glob(ARRAYS))]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()
    status = path.stat()
    return _sha256(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _sha256(path: str, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_sha256(name: str) -> str:
    """Digest of a weight file by name or path, or of the files in a folder such as the published P_N arrays.

    Raises:
        WeightsError: there is neither.
    """
    folder = Path(name)
    if not folder.is_dir():
        return sha256(find(name))
    each = [f"{path.name}:{sha256(path)}" for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256("\n".join(each).encode()).hexdigest()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Digest of named tensors, whatever file they came from."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (floating point as float32) and metadata of a safetensors file.

    Raises:
        WeightsError: the file is truncated or not a safetensors file.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}).") from error
    return {name: x.float() if x.is_floating_point() else x for name, x in tensors.items()}, metadata


def metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, without its tensors; empty if it cannot be read."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], half: bool = False) -> None:
    """Write a safetensors file by a temporary name and a rename; `half` stores floating point as float16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {name: _storable(x, half) for name, x in tensors.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(stored, str(temporary), metadata=dict(metadata))
    temporary.replace(path)


def _storable(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor.clone()
