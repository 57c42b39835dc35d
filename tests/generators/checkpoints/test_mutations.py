"""Trees of valid files with parts exchanged for others: a network, or one clean line, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.generators.checkpoints import layouts
from tests.generators.checkpoints.conftest import stylegan1, stylegan2
from tests.generators.checkpoints.test_encoders import in_domain
from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import GeneratorArchitecture, Tensors
from zinv.generators.checkpoints.formats import CLASSES, recognise
from zinv.generators.stylegan1 import stylegan1_from_tensors
from zinv.generators.stylegan2 import stylegan2_from_tensors
from zinv.networks.base_code import BaseCodeEncoder
from zinv.networks.stylegan1 import StyleGAN1Architecture
from zinv.unpickle import Plain, Stub, load

SMALL = {"resolution": 8, "channels": (4, 3), "mapping_layers": 2}


def save(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


OLD = layouts.STYLEGAN1
FILES: dict[str, Callable[[Path], object]] = {
    **{name: lambda path, write=write: write(path, stylegan2(**SMALL)) for name, write in layouts.STYLEGAN2.items()},
    **{
        f"{name} 1": lambda path, write=write: write(path, stylegan1(**SMALL))
        for name, write in layouts.STYLEGAN1.items()
    },
    "in-domain encoder": lambda path: torch.save(in_domain([3, 4], 5).state_dict(), path),
    "base code": lambda path: torch.save({"encoder": BaseCodeEncoder(8, 4, 2, 4).state_dict()}, path),
}
ODD: tuple[Plain, ...] = (
    None, True, -1, 3, 10**5000, 1e308, float("nan"), "", "a\nb" * 99, b"x", [], {}, (), [{}], {"a": {None: 1}},
    Stub("torch_utils.persistence", "Generator", {}), Stub("dnnlib.tflib.network", "Network", {"variables": [1]}),
)  # fmt: skip
SHAPES = ((), (0,), (1,), (3,), (2, 2), (1, 1, 1, 1), (3, 3, 3, 3), (1, 4, 4, 4, 4))


def places(tree: Plain) -> list[tuple[dict | list, object]]:
    """Every entry of every dict and list; tuples are entered too."""
    inside = tree.state if isinstance(tree, Stub) else tree
    children = inside.values() if isinstance(inside, dict) else inside if isinstance(inside, list | tuple) else ()
    keys = inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
    found = [(inside, key) for key in keys]
    return found + [place for child in children for place in places(child)]


def mutate(tree: Plain, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        holder, key = rng.choice(places(tree))
        action = rng.randrange(4)
        value = holder[key]
        if action == 0:
            del holder[key]
        elif isinstance(value, tuple) and len(value) == 2:  # a variable of TensorFlow's
            holder[key] = rng.choice(((f"{value[0]}x", value[1]), (value[0], torch.zeros(rng.choice(SHAPES))), (1, 2)))
        elif action == 1 and isinstance(value, Tensor):
            holder[key] = rng.choice((torch.zeros(rng.choice(SHAPES)), value[None], value.half(), value.long()))
        elif action == 2 and isinstance(key, str):
            holder[rng.choice((f"{key}.x", key[:-1], "b4", "c_dim", "label_size"))] = holder.pop(key)
        else:
            holder[key] = rng.choice(ODD)
        if not places(tree):
            return


def build(tree: Plain) -> None:
    found = recognise(tree)
    arch, tensors = found.build(Tensors(found.tensors))
    if isinstance(arch, GeneratorArchitecture):
        make = stylegan1_from_tensors if isinstance(arch, StyleGAN1Architecture) else stylegan2_from_tensors
        generator = make(arch, {"mapping.w_avg": torch.zeros(arch.w_dim), **tensors}, "")
        generator.synthesis(generator.affine(generator.as_ws(generator.mapping(torch.zeros(1, arch.z_dim)))))


def outcomes(path: Path, num: int) -> dict[str, int]:
    done = {"read": 0, "refused": 0}
    for seed in range(num):
        tree = load(path, CLASSES)
        mutate(tree, random.Random(seed))
        try:
            build(tree)
            done["read"] += 1
        except CheckpointError as error:
            assert len(str(error)) < 400 and str(error).isprintable(), (seed, str(error)[:400])
            done["refused"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    return done


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_tree_is_a_network_or_one_clean_line(tmp_path: Path, name: str):
    FILES[name](tmp_path / "file")
    done = outcomes(tmp_path / "file", 60)
    assert done["refused"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_mutated_trees(tmp_path: Path, name: str):
    FILES[name](tmp_path / "file")
    outcomes(tmp_path / "file", 2000)
