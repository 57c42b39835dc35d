"""`zinv check`: put a part, such as one of your own, to the contract of its kind, on the toy generator."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch

from zinv.config import Config, build, compose, preset_names
from zinv.config.schema import PARTS, is_a
from zinv.contracts import (
    IDS,
    Broken,
    Contract,
    DataContract,
    GeneratorContract,
    MethodContract,
    MetricContract,
    SegmentationContract,
    SpaceContract,
    TermContract,
)
from zinv.errors import ConfigError, ZinvError, suggest
from zinv.generators.base import Generator, base_point
from zinv.generators.toy import toy_stylegan2
from zinv.losses.base import Loss
from zinv.metrics.base import Metric
from zinv.presets import locate, make
from zinv.seeding import image_rngs
from zinv.segmentation.base import Segmentation
from zinv.spaces.z import ZPlus

TOY = {"generator": "toy", "space": "zplus", "data": "toy", "loss": "pixel", "protocol": "pixel", "trainer": "cpu"}
TOYS = {"toy": "the toy StyleGAN2", "toy_stylegan1": "the toy StyleGAN1"}
FEW_STEPS = 3
Start = Callable[[], Contract]


def check(part: str) -> int:
    """Print each promise of a part's kind, and whether the part keeps it.

    Args:
        part: an import path, or a preset such as `space=zplus`.

    Returns:
        0, or 1 if a promise is broken.

    Raises:
        ConfigError: there is no such part, its kind has no contract, or its defaults do not build it.
    """
    group, name = _split(part)
    reasons = [reason for title, start in CONTRACTS[group](name) for reason in _put_to(title, start)]
    num_broken = sum(map(bool, reasons))
    print(f"{name}: {f'{num_broken} promises are broken' if num_broken else 'every promise is kept'}.")
    return 1 if num_broken else 0


def _put_to(title: str, start: Start) -> Iterator[str]:
    """Print each promise of a contract and yield how it is broken."""
    print(f"{title}:")
    try:
        promises = start().promises()
    except ZinvError:
        raise
    except Exception as error:  # whatever somebody's part raises
        promises = {"It can be used at all": partial(_raise, error)}
    for words, promise in promises.items():
        reason = broken(promise)
        print(f"  {'BROKEN' if reason else 'ok':6}  {words}{f' ({reason})' if reason else ''}")
        yield reason


def _raise(error: Exception) -> None:
    raise error


def broken(promise: Callable[[], None]) -> str:
    """How a promise is broken; empty if it is kept."""
    try:
        promise()
    except Broken as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _split(part: str) -> tuple[str, str]:
    """The group and name of a part."""
    group, sign, name = part.partition("=")
    if not sign:
        group, name = _kind(part), part
    if group not in CONTRACTS:
        raise ConfigError(f"zinv check {part}: there is no contract of this kind. {suggest(group, CONTRACTS)}")
    return group, name


def _kind(dotted: str) -> str:
    target = locate(dotted)
    made = inspect.signature(target, eval_str=True).return_annotation if inspect.isfunction(target) else target
    found = next((group for group in CONTRACTS if is_a(made, group)), None)
    if found is None:
        bases = ", ".join(PARTS[group].rpartition(".")[2] for group in CONTRACTS)
        raise ConfigError(f"{dotted}: it is none of {bases}.")
    return found


def _config(group: str, name: str, **others: str) -> Config:
    return compose([f"{key}={value}" for key, value in {**TOY, **others, group: name}.items()])


def space_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A space on the toy generators, and above base codes of them."""
    for toy, words in TOYS.items():
        config = _config("space", name, generator=toy)
        generator: Generator = build(config, "generator")
        yield f"{name} on {words}", partial(SpaceContract, build(config, "space"), generator)
        point = base_point(generator)
        with torch.no_grad():
            ws = generator.w_avg.expand(len(IDS), generator.num_ws, -1)
            base = (point, generator.features(generator.affine(ws), [point])[point])
        above = f"{name} above its base code"
        yield above, partial(SpaceContract, build(config, "space"), generator.above(point), base)


def method_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A method in every space, on the toy generators."""
    for (toy, words), space in itertools.product(TOYS.items(), preset_names("space")):
        config = _config("method", name, space=space, generator=toy)
        config["method"] |= {key: FEW_STEPS for key in config["method"] if key.endswith("_steps")}
        parts = {group: build(config, group) for group in ("generator", "space", "loss")}
        yield f"{name} in {space} on {words}", partial(MethodContract, build(config, "method", **parts))


def generator_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A generator."""
    yield name, partial(GeneratorContract, build(_config("generator", name), "generator"))


def segmentation_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A segmentation."""
    segmentation = make("segmentation", name, Segmentation, {}, "segmentation")  # type: ignore[type-abstract]
    yield name, partial(SegmentationContract, segmentation)


def data_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A data source."""
    yield name, partial(DataContract, build(_config("data", name), "data"))


def term_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A loss term; one that asks for parts gets the toy generator and Z+."""
    loss, space, generator = Loss({name: 1.0}), ZPlus(), toy_stylegan2()
    (term,) = loss.over(generator, space).parts().values()
    if any(loss.asked.values()):
        yield name, partial(TermContract, term, generator.resolution, space.initial(generator, image_rngs(0, IDS)))
    else:
        yield name, partial(TermContract, term)


def metric_contracts(name: str) -> Iterator[tuple[str, Start]]:
    """A metric."""
    metric = make("metric", name, Metric, {}, f"protocol.options.{name}")  # type: ignore[type-abstract]
    yield name, partial(MetricContract, metric)


CONTRACTS: dict[str, Callable[[str], Iterator[tuple[str, Start]]]] = {
    "space": space_contracts,
    "method": method_contracts,
    "term": term_contracts,
    "metric": metric_contracts,
    "generator": generator_contracts,
    "data": data_contracts,
    "segmentation": segmentation_contracts,
}
