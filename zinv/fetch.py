"""`zinv weights` and `zinv weights fetch`: which weight files are here, which are not, and how to get those."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zinv import weights
from zinv.config import experiment_names, find_experiment
from zinv.config.files import experiment_weights, preset_users
from zinv.download import download, size_text
from zinv.errors import ConfigError, WeightsError, suggest
from zinv.published import PUBLISHED, Published, PublishedFile


def show_weights(experiment: str | None, overrides: Sequence[str]) -> int:
    """Print where weight files are looked for, which are there, and which are not: all, or those of an experiment."""
    users = preset_users()
    made = needs(experiment, overrides) if experiment else commands()
    names = sorted(made if experiment else {*PUBLISHED, *weights.names(), *users})
    found = {name: path for name in names if (path := weights.locate(name))}
    width = max(map(len, names), default=0)
    print("\n".join(["looked in:", *(f"  {line}" for line in places())]))
    print("\n".join(["found:", *(f"  {name:{width}}  {found_line(name, found[name], users)}" for name in found)]))
    missing = [name for name in names if name not in found]
    print("\n".join(["missing:", *(line for name in missing for line in missing_lines(name, width, users, made))]))
    return 1 if experiment and missing else 0


def needs(experiment: str, overrides: Sequence[str]) -> dict[str, str]:
    """What an experiment reads, by weight name, with the command that makes it, if one does."""
    return experiment_weights(find_experiment(experiment), overrides)


def commands() -> dict[str, str]:
    """The commands that make weight files, as far as experiments say."""
    return {need.file: need.command for name in experiment_names() for need in find_experiment(name).needs}


def places() -> Iterator[str]:
    """Each folder that is looked into, and what is to be said of it."""
    kinds = {
        **{folder: "ZINV_WEIGHTS" for folder in weights.given_folders()},
        weights.TRAINED: "made by zinv train in this folder",
        weights.user_folder(): "yours; fetched files go here unless ZINV_WEIGHTS is set",
        weights.SHIPPED: "shipped",
        **{folder: "torch's cache, for published files" for folder in weights.torch_caches()},
    }
    for folder, kind in kinds.items():
        state = "" if os.path.isdir(folder) else "; not there"
        if not state and folder in weights.given_folders() and not weights.is_writable(folder):
            state = "; read-only"
        yield f"{folder} ({kind}{state})"


def found_line(name: str, path: Path, users: Mapping[str, list[str]]) -> str:
    """Where a weight file is, how large, and who reads it; and whether it has the size of its publisher's."""
    size = weights.size(path)
    known = next((f.size for f in PUBLISHED[name].files if f.name == path.name), None) if name in PUBLISHED else None
    wrong = f", not the {size_text(known)} that it should have" if known not in (None, size) else ""
    return f"{path} ({size_text(size)}{wrong}){_for(name, users)}"


def missing_lines(name: str, width: int, users: Mapping[str, list[str]], made: Mapping[str, str]) -> Iterator[str]:
    """What a missing file is, who would read it, and where it comes from."""
    entry = weights.published_as(name)
    if entry is None:
        command = made.get(name)
        yield f"  {name:{width}}  {f'`zinv {command}` makes it' if command else 'not published'}{_for(name, users)}"
        return
    published = PUBLISHED[entry]
    yield f"  {name:{width}}  {published.what}; {published.licence}{_for(name, users)}"
    yield f"  {'':{width}}    {origin(published)}"


def _for(name: str, users: Mapping[str, list[str]]) -> str:
    return f"; for {', '.join(users[name])}" if name in users else ""


def origin(published: Published) -> str:
    """In a line: the file to fetch, its size, digest and origin; of a folder, how many there are."""
    files = wanted(published)
    sizes = [file.size for file in files if file.size is not None]
    size = size_text(sum(sizes) if len(sizes) == len(files) else None)
    known = "known" if all(file.sha256 for file in files) else "unknown"
    digest = f"sha256 {files[0].sha256[:12]}…" if files[0].sha256 else "sha256 unknown"
    facts = f"{files[0].name}, {size}, {digest}" if len(files) == 1 else f"{len(files)} files, {size}, sha256 {known}"
    url = files[0].url if len(files) == 1 else files[0].url.rpartition("/")[0]
    return f"{facts}, {url}{' (by hand)' if files[0].by_hand else ''}"


def form(file: PublishedFile) -> str:
    """One form of a published file, with all of its digest."""
    digest = f"sha256 {file.sha256}" if file.sha256 else "sha256 unknown"
    return f"{file.name} ({size_text(file.size)}, {digest}) from {file.url}"


def wanted(published: Published) -> tuple[PublishedFile, ...]:
    """The files to fetch: all of a folder, else the first form that needs no browser, else the first."""
    if published.folder:
        return published.files
    return (next((file for file in published.files if not file.by_hand), published.files[0]),)


def fetch(names: Sequence[str], experiment: str | None, overrides: Sequence[str], to: str | None) -> int:
    """Fetch published files by weight name, or all that an experiment reads.

    Returns:
        0 if all of them are there now, 1 if some have to be got by hand, made, or could not be fetched.
    """
    if bool(names) == bool(experiment):
        raise ConfigError("zinv weights fetch: give weight names, or --for EXPERIMENT.")
    made = needs(experiment, overrides) if experiment else {}
    entries = [known_name(name, made) for name in names or made]
    folder = target_folder(to)
    return 1 if sum(not _fetch(name, made.get(name, ""), folder) for name in dict.fromkeys(entries)) else 0


def known_name(name: str, made: Mapping[str, str]) -> str:
    """The name in the manifest under which a file is fetched.

    Raises:
        ConfigError: it is neither there nor of an experiment; names the nearest.
    """
    entry = weights.published_as(name)
    if entry is None and name not in made:
        raise ConfigError(f"{name}: nobody publishes a weight file of this name. {suggest(name, PUBLISHED)}")
    return entry or name


def target_folder(to: str | None) -> Path:
    """Where files are written: the given folder, or the first of `ZINV_WEIGHTS` and the user's that can be written to.

    Raises:
        WeightsError: none can be.
    """
    folders = [Path(to)] if to else [*weights.given_folders(), weights.user_folder()]
    found = next((folder for folder in folders if weights.is_writable(folder)), None)
    if found is None:
        looked = ", ".join(map(str, folders))
        raise WeightsError(f"{looked}: cannot be written to; name a folder with --to, and add it to ZINV_WEIGHTS.")
    return found


def _fetch(name: str, command: str, folder: Path) -> bool:
    """Whether the file is there afterwards; says what came, or how to get it."""
    if path := weights.locate(name):
        return _checked(name, path)
    if name not in PUBLISHED:
        return _say(f"{name}: missing; {f'`zinv {command}` makes it' if command else 'nobody publishes it'}.")
    published = PUBLISHED[name]
    inside = folder / name if published.folder else folder
    if wanted(published)[0].by_hand:
        note = f"; {published.note}" if published.note else ""
        forms = ", or ".join(form(file) for file in published.files)
        where = f"Put it into {inside}. Licence: {published.licence}."
        return _say(f"{name}: get it by hand, with a browser: {forms}{note}. {where}")
    try:
        for file in wanted(published):
            if not os.path.isfile(inside / file.name):
                print(f"{name}: {download(file, inside)} ({published.licence})")
    except WeightsError as error:
        return _say(f"error: {error}")
    return True


def _checked(name: str, path: Path) -> bool:
    try:
        weights.check_published(name, path)
    except WeightsError as error:
        return _say(f"error: {error} Delete it first.")
    print(f"{name}: already there, {path}")
    return True


def _say(line: str) -> bool:
    print(line, file=sys.stderr)
    return False
