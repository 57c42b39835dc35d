"""`zinv weights bundle` and `unbundle`: the weight files of an experiment, for a cluster without internet."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Final

from zinv import weights
from zinv.download import CHUNK, size_text
from zinv.errors import WeightsError
from zinv.fetch import needs, target_folder

SUMS: Final = "SHA256SUMS"
SUMS_LIMIT: Final = 1 << 20


def bundle(experiment: str, overrides: Sequence[str], out: str | None) -> int:
    """Write one tar of the weight files that an experiment reads and zinv does not ship.

    Its first member, `SHA256SUMS`, names the digest of each of the others, which lie in it as in a weight folder.
    Networks and statistics that were made for one of its generators come along.

    Raises:
        WeightsError: a file is missing, or named by a path that another machine does not have.
    """
    names = needs(experiment, overrides)
    missing = [name for name in names if weights.locate(name) is None]
    if missing:
        command = f"zinv weights fetch --for {experiment}"
        raise WeightsError(f"{', '.join(missing)}: missing. `{command}` gets them or says how.")
    members = dict(sorted(member for name in names for member in _members(name)))
    members |= dict(_made_for({weights.sha256(path) for path in members.values()} | _shipped(names)))
    if not members:
        print(f"{experiment} needs no file but those that zinv ships.")
        return 0
    target = Path(out or f"{Path(experiment).name}-weights.tar")
    _write(target, members)
    size = size_text(weights.size(target))
    print(f"{target}: {len(members)} files, {size}. There: zinv weights unbundle {target.name}")
    return 0


def _members(name: str) -> Iterator[tuple[str, Path]]:
    """A weight name's files by their place in a weight folder; none for what zinv ships."""
    path = weights.find(name)
    if path.is_relative_to(weights.SHIPPED):
        return
    place = _place(name, path)
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        inside = f"{place}/{file.name}" if path.is_dir() else place
        yield inside, file
        digest = file.with_name(f"{file.name}.sha256")
        if digest.is_file():
            yield f"{inside}.sha256", digest


def _place(name: str, path: Path) -> str:
    """Where `name` finds the file again below any weight folder."""
    if path == Path(name):
        if path.is_absolute() or ".." in path.parts:
            raise WeightsError(f"{name}: a path that other machines do not have; name a file of a weight folder.")
        return path.as_posix()
    looked = [*weights.folders(), *weights.torch_caches()]
    return next(path.relative_to(folder).as_posix() for folder in looked if path.is_relative_to(folder))


def _made_for(generators: set[str]) -> Iterator[tuple[str, Path]]:
    """Encoders, statistics and the like in the weight folders that belong to one of the generators."""
    for name in weights.names():
        path = weights.find(name)
        if not path.is_relative_to(weights.SHIPPED) and weights.metadata(path).get("generator") in generators:
            yield _place(name, path), path


def _shipped(names: Iterable[str]) -> set[str]:
    paths = [weights.find(name) for name in names]
    return {weights.sha256(path) for path in paths if path.is_relative_to(weights.SHIPPED)}


def _write(target: Path, members: dict[str, Path]) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}")
    sums = "".join(f"{weights.sha256(path)}  {name}\n" for name, path in members.items()).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_header(SUMS, len(sums)), io.BytesIO(sums))
            for name, path in members.items():
                with path.open("rb") as file:
                    tar.addfile(_header(name, path.stat().st_size), file)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{target}: cannot be written ({error.strerror or error}).") from error


def _header(name: str, size: int) -> tarfile.TarInfo:
    """A member without time or owner, so that the same files make the same tar."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    return header


def unbundle(file: str, to: str | None) -> int:
    """Unpack a bundle into a weight folder, each file checked against its digest before it gets its name.

    Raises:
        WeightsError: not a bundle, truncated, a member of another kind or outside the folder, another digest, or
            another file of that name is there.
    """
    folder = target_folder(to)
    try:
        with tarfile.open(file, "r:") as tar:
            written = sum(_unpack(tar, folder, file))
    except (tarfile.TarError, EOFError) as error:
        raise WeightsError(f"{file}: not a whole bundle of zinv weights bundle ({error}).") from error
    except OSError as error:
        raise WeightsError(f"{error.filename or file}: {error.strerror or error}.") from error
    print(f"{folder}: {written} files written, all digests right.")
    if folder.absolute() not in [path.absolute() for path in weights.folders()]:
        print(f"zinv finds them once ZINV_WEIGHTS has it: export ZINV_WEIGHTS={folder.absolute()}")
    return 0


def _unpack(tar: tarfile.TarFile, folder: Path, file: str) -> Iterator[bool]:
    """For each member whether it was written; False for one that was there."""
    left = _sums(tar, file)
    for member in tar:
        if member.name == SUMS:
            continue
        digest = left.pop(member.name, None)
        if digest is None or not member.isreg() or member.issparse() or not _is_inside(member.name):
            raise WeightsError(f"{file}: {member.name}: not a file that its {SUMS} names inside the folder.")
        content = tar.extractfile(member)
        assert content is not None
        yield _place_file(content, folder / member.name, digest, f"{file}: {member.name}")
    if left:
        raise WeightsError(f"{file}: truncated: {', '.join(left)} is not in it.")


def _sums(tar: tarfile.TarFile, file: str) -> dict[str, str]:
    first = tar.next()
    content = tar.extractfile(first) if first and first.isreg() and first.name == SUMS else None
    if first is None or content is None or first.size > SUMS_LIMIT:
        raise WeightsError(f"{file}: not a bundle of zinv weights bundle: it does not begin with {SUMS}.")
    lines = content.read().decode("utf-8", "replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _is_inside(name: str) -> bool:
    """Whether a member's name stays below the folder.

    >>> _is_inside("stylegan2/ffhq.pkl"), _is_inside("../ffhq.pkl"), _is_inside("/ffhq.pkl")
    (True, False, False)
    """
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and "\0" not in name


def _place_file(content: IO[bytes], target: Path, digest: str, what: str) -> bool:
    if target.exists():
        if target.is_file() and weights.sha256(target) == digest:
            return False
        raise WeightsError(f"{target}: another file of this name is there; move it away first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    total = hashlib.sha256()
    try:
        with part.open("wb") as file:
            while chunk := content.read(CHUNK):
                total.update(chunk)
                file.write(chunk)
        if total.hexdigest() != digest:
            raise WeightsError(f"{what}: sha256 {total.hexdigest()[:8]}…, not {digest[:8]}… as its {SUMS} says.")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return True
