"""Where weight files are looked for, what they are called, and their digests. Nothing is ever downloaded here."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zinv.errors import WeightsError, suggest
from zinv.published import PUBLISHED, Published
from zinv.unpickle import load

Weights = Annotated[str, "weights"]
"""An argument that names a weight file, by its name in the manifest or by its path; it counts by its sha256."""

Content = Annotated[str, "content"]
"""An argument that names a folder of the user's own files; it counts by their content."""

Runs = Annotated[list[str], "runs"]
"""An argument that names run folders; they count by their identities."""

SHIPPED: Final = Path(__file__).parent / "assets"
TRAINED: Final = Path("runs") / "train"
ARRAYS: Final = "*.npy"
UNTRAINED: Final = "untrained/"
"""Before a seed: a network with random weights, for contracts on the toys."""
ENDINGS: Final = ("", ".safetensors", ".pth", ".pt", ".pkl", ".npy", ".npz")
"""What a file may be called in a weight folder after its weight name."""


def untrained_seed(name: str) -> int:
    """The seed of `untrained/SEED`.

    Raises:
        WeightsError: it is not a whole number.
    """
    seed = name.removeprefix(UNTRAINED)
    if not seed.isdecimal():
        raise WeightsError(f"{name}: not {UNTRAINED}SEED with a whole number, such as {UNTRAINED}0.")
    return int(seed)


def folders() -> list[Path]:
    """Where weight files are looked for, in order.

    The folders of `ZINV_WEIGHTS`, what `zinv train` made here, the user's data folder, the package's own.
    """
    return [*given_folders(), TRAINED, user_folder(), SHIPPED]


def given_folders() -> list[Path]:
    """The folders of `ZINV_WEIGHTS`, some of which may be read-only."""
    return [Path(part) for part in os.environ.get("ZINV_WEIGHTS", "").split(os.pathsep) if part]


def user_folder() -> Path:
    """The user's data folder."""
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "zinv"


def is_writable(folder: Path) -> bool:
    """Whether a file can be written into a folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def torch_caches() -> list[Path]:
    """Where torchvision and facenet-pytorch keep what they have downloaded."""
    home = Path(os.environ.get("TORCH_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")).expanduser()
    return [home / "hub" / "checkpoints", home / "checkpoints"]


def find(name: str) -> Path:
    """The file of a weight name (`portraits/generator`, `lpips/vgg16`) or path; a folder of `.npy` arrays is one too.

    Raises:
        WeightsError: there is no such file; says where it was looked for, and the nearest name or where to get it.
            Or it has its publisher's name and not its content.
    """
    path = locate(name)
    if path is None:
        raise WeightsError(_missing(name))
    check_published(name, path)
    return path


def locate(name: str) -> Path | None:
    """The file or folder of a weight name or path, its content unchecked; None if there is none."""
    if name and _is_there(Path(name)):
        return Path(name)
    published = PUBLISHED.get(name)
    if published and published.folder:
        return next((folder / name for folder in folders() if _is_whole(folder / name, published)), None)
    files = [f"{name}{ending}" for ending in ENDINGS] + [file.name for file in (published.files if published else ())]
    looked = folders() + (torch_caches() if published else [])
    return next((folder / file for folder in looked for file in files if _is_there(folder / file)), None)


def _is_there(path: Path) -> bool:
    """Also False, without an error, where a folder may not be entered."""
    return os.path.isfile(path) or (os.path.isdir(path) and any(path.glob(ARRAYS)))


def _is_whole(folder: Path, published: Published) -> bool:
    return all(os.path.isfile(folder / file.name) for file in published.files)


def published_as(name: str) -> str | None:
    """The name in the manifest of a weight file, or of the folder that it is in.

    >>> published_as("interfacegan/stylegan2_ffhq1024/age.pt")
    'interfacegan/stylegan2_ffhq1024'
    """
    return next((entry for entry in (name, name.rpartition("/")[0]) if entry in PUBLISHED), None)


def _missing(name: str) -> str:
    looked, entry = ", ".join(str(folder) for folder in folders()), published_as(name)
    if entry is None:
        if name and os.path.isdir(name):
            return f"{name}: a folder without arrays (.npy), no weight file."
        shown, known = name or "''", {*names(), *PUBLISHED}
        return f"{shown}: no such weight file. Looked in the working folder, {looked}. {suggest(name, known)}"
    published, file = PUBLISHED[entry], PUBLISHED[entry].files[0]
    digest = f"sha256 {file.sha256[:8]}…" if file.sha256 else "sha256 unknown"
    where = f"the folder {entry} of one of" if published.folder else "one of"
    return (
        f"{name}: the weight file {file.name} is missing. Get it from {file.url} ({digest}; {published.licence}) "
        f"and put it into {where}: {looked}. `zinv weights fetch {entry}` helps."
    )


def read_state(name: str) -> dict[str, Tensor]:
    """Tensors of a network by weight name or path: safetensors, or a torch file that holds tensors alone.

    Raises:
        WeightsError: missing, truncated, not what its publisher published, or more than tensors.
    """
    path = find(name)
    if path.suffix == ".safetensors":
        return read(path)[0]
    content = load(path)
    if not isinstance(content, dict) or not all(isinstance(x, Tensor) for x in content.values()):
        raise WeightsError(f"{path}: not a file of named tensors.")
    named = {str(key): x for key, x in content.items() if isinstance(x, Tensor)}
    return {key: x.float() if x.is_floating_point() else x for key, x in named.items()}


def check_published(name: str, path: Path) -> None:
    """A file under its publisher's name must have its publisher's digest, or the one it was fetched with.

    Raises:
        WeightsError: it has not.
    """
    entry = published_as(name)
    for file in PUBLISHED[entry].files if entry else ():
        own = path / file.name if path.is_dir() else path
        expected = file.sha256 or recorded(own)
        if own.name == file.name and expected and sha256(own) != expected:
            raise WeightsError(
                f"{own}: truncated or another file: sha256 {sha256(own)[:8]}…, not {expected[:8]}…; "
                f"get it again from {file.url}."
            )


def recorded(path: Path) -> str | None:
    """The digest in `FILE.sha256`, which `zinv weights fetch` writes where the publisher names none."""
    try:
        return path.with_name(f"{path.name}.sha256").read_text(encoding="utf-8").split()[0]
    except (OSError, UnicodeError, IndexError):
        return None


def is_shipped(name: str) -> bool:
    """Whether a weight name stands for one of the package's own files."""
    path = locate(name)
    return path is not None and SHIPPED in path.parents


def names() -> list[str]:
    """Names of all safetensors files in the weight folders; folders that may not be entered are passed over."""
    return sorted(
        {
            Path(place, file).relative_to(folder).with_suffix("").as_posix()
            for folder in folders()
            for place, _, files in os.walk(folder)
            for file in files
            if file.endswith(".safetensors")
        }
    )


def sha256(path: Path) -> str:
    """Digest of a file, or of a folder of arrays; computed once for each state of the file.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        if path.is_dir():
            digests = [f"{file.name} {sha256(file)}" for file in sorted(path.glob(ARRAYS))]
            return hashlib.sha256("\n".join(digests).encode()).hexdigest()
        status = path.stat()
        return _sha256(str(path), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}).") from error


@lru_cache(maxsize=256)
def _sha256(path: str, modified: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()) if file.is_file())


def content_sha256(name: str) -> str:
    """Digest of a weight file by name or path, or of the files in a folder such as the published P_N arrays.

    Raises:
        WeightsError: there is neither.
    """
    path = Path(name) if Path(name).is_dir() else find(name)
    if path.is_file():
        return sha256(path)
    each = [f"{file.name}:{sha256(file)}" for file in sorted(path.iterdir()) if file.is_file()]
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
    temporary.touch()
    mode = temporary.stat().st_mode
    save_file(stored, str(temporary), metadata=dict(metadata))
    temporary.chmod(mode)  # as the umask has it; safetensors makes files that their owner alone may read
    temporary.replace(path)


def _storable(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor.clone()
