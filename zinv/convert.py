"""`zinv convert`: a generator from one format into another, read back to prove it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from zinv.errors import CheckpointError, ConfigError, suggest
from zinv.generators.base import Generator
from zinv.generators.checkpoints.write import SUFFIXES, WRITERS, remarks
from zinv.generators.load import load_generator
from zinv.generators.stylegan1 import StyleGAN1
from zinv.generators.stylegan2 import StyleGAN2
from zinv.weights import find

TOLERANCE: Final = 1e-5
IMAGES: Final = 2


def convert(source: str, target: str, format: str | None = None) -> int:
    """Write the generator of `source`, a file or weight name, to `target`, in a format by its suffix if none is named.

    Returns:
        The exit status.

    Raises:
        ConfigError: there is no such format.
        WeightsError: the source is missing or damaged.
        CheckpointError: it holds no generator, or the format cannot hold this one.
    """
    path, format = Path(target), format or _format_of(target)
    if path.exists() and path.samefile(find(source)):
        raise ConfigError(f"OUT={target}: it is the file that is read.")
    generator = load_generator(source)
    assert isinstance(generator, StyleGAN1 | StyleGAN2)
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        WRITERS[format](generator, unfinished)
        _compare(generator, load_generator(str(unfinished), check=False), format)
        unfinished.replace(path)
    except CheckpointError as error:
        raise CheckpointError(f"{target}: {str(error).rstrip('.')}.") from None
    except OSError as error:
        raise ConfigError(f"OUT={target}: it cannot be written ({error.strerror}).") from error
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{path}: in {format}'s format; read back, it renders the same.")
    for remark in remarks(generator, format):
        print(f"note: {remark}.")
    return 0


def _format_of(target: str) -> str:
    suffix = Path(target).suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"OUT={target}: no format has the suffix '{suffix}'. {suggest(suffix, SUFFIXES)}")
    return SUFFIXES[suffix]


@torch.no_grad()
def _compare(generator: Generator, again: Generator, format: str) -> None:
    """Raise CheckpointError if a generator that was read back renders other images."""
    z = torch.randn(IMAGES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    for one in z.split(1):
        image, other = (g.synthesis(g.affine(g.as_ws(g.mapping(one)))) for g in (generator, again))
        difference = float((image - other).abs().max() / image.abs().max().clamp(min=1))
        if not difference <= TOLERANCE:
            raise CheckpointError(f"{format}'s format cannot hold it: read back, images differ by {difference:.2g}")
