"""Where directions come from: files of zinv found by name and generator, and files that others publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zinv import weights
from zinv.editing.direction import Coordinates, Direction, describe, load
from zinv.errors import ConfigError, WeightsError, suggest
from zinv.generators.base import Generator
from zinv.side_files import read_boundary, read_components
from zinv.spaces.base import LatentSpace


def find_directions(
    names: Sequence[str],
    file: str,
    space: LatentSpace,
    generator: Generator,
    view: Generator,
    coordinates: Coordinates | None = None,
    rows: Sequence[int] | None = None,
) -> list[Direction]:
    """Directions by name, checked against the codes that they are to move.

    Args:
        names: each of a direction; none: all that the file has.
        file: a weight file of directions; "auto" finds those of the generator that fit the space best.
        space: of the codes.
        generator: whole.
        view: what is left of it above a base code, or itself.
        coordinates: of a published file that does not say.
        rows: move these rows of the whole generator alone.

    Raises:
        ConfigError: there is no such direction, or it does not fit the space; names the spaces that it fits.
        WeightsError: no file has it, or it is of another generator.
    """
    if file == "auto":
        found = [_channel(name, space, generator) or _search(name, space, generator) for name in names]
    else:
        found = _named(names, read_directions(file, generator, coordinates), file)
    chosen = [direction if rows is None else direction.on(rows) for direction in found]
    for direction in chosen:
        direction.check(space, view)
    return chosen


def read_directions(file: str, generator: Generator, coordinates: Coordinates | None = None) -> list[Direction]:
    """The directions of a file: zinv's, GANSpace's components (also PTI's and e4e's), or a boundary of InterfaceGAN.

    Raises:
        WeightsError: it is missing, damaged or something else.
        ConfigError: it is a boundary, and the coordinates are not given.
    """
    path = weights.find(file)
    if path.suffix == ".safetensors":
        return load(path)
    digest = weights.sha256(path)
    try:
        boundary = read_boundary(file, generator.w_dim)
    except WeightsError:
        return [replace(direction, source=digest) for direction in _components(file)]
    if coordinates not in ("z", "w"):
        raise ConfigError(f"direction.coordinates: {path} does not say whether it moves z or w. Give one of z, w.")
    return [Direction(path.stem, coordinates, _alike(boundary), source=digest)]


def _components(file: str) -> Iterator[Direction]:
    """A step is one standard deviation of the prior along its axis."""
    found = read_components(file)
    for i, (axis, deviation) in enumerate(zip(found.axes, found.deviations, strict=True)):
        yield Direction(f"ganspace{i}", found.coordinates, (deviation * axis)[None], mean=found.mean)


def _channel(name: str, space: LatentSpace, generator: Generator) -> Direction | None:
    """A single style such as `b16.conv0:45` (Wu et al. 2021); a step is its standard deviation over the prior."""
    layer, sign, number = name.partition(":")
    if not sign:
        return None
    if space.coordinates != "s":
        raise ConfigError(f"direction {name}: it moves s, not codes of {space.label}. It fits space=s.")
    widths = dict(zip(generator.style_names, generator.style_dims, strict=True))
    if layer not in widths:
        raise ConfigError(f"direction.names={name}: there is no such layer. {suggest(layer, widths)}")
    if not (number.isdecimal() and int(number) < widths[layer]):
        raise ConfigError(f"direction.names={name}: the channels of {layer} are 0 to {widths[layer] - 1}.")
    place = sum(generator.style_dims[: generator.style_names.index(layer)]) + int(number)
    spread = space.spread(generator).cpu()
    step = torch.zeros(1, len(spread))
    step[0, place] = spread[place]
    return Direction(name, "s", step, generator.sha256, source=f"a channel of {generator.sha256}")


def _alike(boundary: Tensor) -> Tensor:
    """One row, where all rows are the same."""
    return boundary[:1] if (boundary == boundary[:1]).all() else boundary


def _named(names: Sequence[str], directions: Sequence[Direction], file: str) -> list[Direction]:
    known = {direction.name: direction for direction in directions}
    for name in names:
        if name not in known:
            raise ConfigError(f"direction.names={name}: {file} has no such direction. {suggest(name, known)}")
    return [known[name] for name in names] if names else list(directions)


def stored_directions() -> Iterator[tuple[str, list[Direction]]]:
    """Files of directions in the weight folders by name, and what they say of their directions."""
    for name in weights.names():
        path = weights.locate(name)
        directions = describe(weights.metadata(path)) if path else []
        if directions:
            yield name, directions


def _search(name: str, space: LatentSpace, generator: Generator) -> Direction:
    """The direction of a name that was made for a generator; where several fit a space, the one made for its shape."""
    own = [(file, d) for file, found in stored_directions() for d in found if d.generator == generator.sha256]
    fitting = _own_first([(file, d) for file, d in own if d.name == name and d.coordinates == space.coordinates])
    if not fitting:
        raise _unknown(name, space, generator, [direction for _, direction in own])
    loaded = [_named([name], load(weights.find(file)), file)[0] for file, _ in fitting]
    asked = len(space.code_shape(generator)) > 1
    best = [i for i, direction in enumerate(loaded) if direction.has_rows == asked] or [*range(len(loaded))]
    if len({loaded[i].source for i in best}) > 1:
        files = ", ".join(fitting[i][0] for i in best)
        raise ConfigError(
            f"direction.names={name}: several files have it. Give one of them as direction.file: {files}."
        )
    return loaded[best[0]]


def _own_first(found: Sequence[tuple[str, Direction]]) -> Sequence[tuple[str, Direction]]:
    """Without the package's own files where others have the shape that is there."""
    others = [(file, d) for file, d in found if not weights.is_shipped(file)]
    return [(file, d) for file, d in found if (file, d) in others or d.has_rows not in {o.has_rows for _, o in others}]


def _unknown(
    name: str, space: LatentSpace, generator: Generator, own: Sequence[Direction]
) -> ConfigError | WeightsError:
    elsewhere = dict.fromkeys(preset for direction in own if direction.name == name for preset in direction.fits)
    if elsewhere:
        fits = ", ".join(elsewhere)
        return ConfigError(f"direction {name}: none moves codes of {space.label}. Those there are fit space={fits}.")
    known = {direction.name for direction in own if direction.coordinates == space.coordinates}
    if known:
        return ConfigError(f"direction.names={name}: there is no such direction. {suggest(name, known)}")
    return WeightsError(
        f"direction.names={name}: no direction was made for generator {generator.sha256[:8]}… in {space.label}. "
        "Make some with `zinv train model=interfacegan`, `ganspace` or `sefa`, or name a file as direction.file."
    )
