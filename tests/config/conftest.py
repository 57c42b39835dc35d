"""A laboratory of stub parts in the working folder, with presets and experiments of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zinv.config import schema

PARTS = '''
from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal

Weights = Annotated[str, "weights"]


class Generator: ...


class LatentSpace(ABC):
    @abstractmethod
    def code_shape(self): ...


class Inverter: ...


class Loss: ...


class LossTerm: ...


class DataSource: ...


class Protocol: ...


class Trainee: ...


class Toy(Generator):
    def __init__(self, seed: int = 0, weights: Weights | None = None):
        self.seed = seed


def make_toy(resolution: int = 16) -> Generator:
    return Toy(resolution)


class Sphere(LatentSpace):
    """A sphere."""

    def __init__(
        self,
        radius: float = 1.0,
        mode: Literal["explicit", "implicit", "none"] = "explicit",
        cutoff: int | None = None,
        statistics: Weights | Literal["auto"] = "auto",
    ):
        if radius <= 0:
            raise ValueError(f"radius={radius}: not positive.")
        self.radius, self.mode, self.cutoff = radius, mode, cutoff

    def code_shape(self): ...


class Descent(Inverter):
    def __init__(
        self,
        generator: Generator,
        space: LatentSpace,
        loss: Loss | None = None,
        lr: float = 0.01,
        num_steps: int = 300,
        sizes: tuple[int, ...] = (4, 8),
        ids: list[str] | None = None,
        keep: bool = False,
        every: int | Literal["all"] = 1,
        file: Path | None = None,
    ):
        self.generator, self.space, self.loss, self.lr, self.sizes = generator, space, loss, lr, sizes
        self.keep, self.file = keep, file


class Terms(Loss):
    def __init__(self, terms: dict[str, float], options: dict[str, dict[str, object]] | None = None):
        self.terms, self.options = terms, options


class Own(Loss):
    """A loss that is not made of terms."""


class Pixel(LossTerm):
    def __init__(self, power: float = 2.0): ...


class Net(LossTerm):
    def __init__(self, weights: Weights = "random/net", size: int | None = None): ...


class Folder(DataSource):
    def __init__(self, path: str, num: int | None = None, resolution: int = 16):
        self.path = path


class Pictures(DataSource):
    def __init__(self, num: int = 4, resolution: int = 16): ...


class Scores(Protocol):
    def __init__(self, name: str = "scores", metrics: tuple[str, ...] = ()): ...


class Fitting(Trainee):
    def __init__(self, generator: Generator, seed: int = 0, num_workers: int = 0):
        self.generator, self.seed = generator, seed


def needs_a_callable(f: Loss) -> LatentSpace: ...


not_a_class = 3
'''

PRESETS = {
    "default": "{generator: toy, space: sphere, method: descent, loss: net, data: folder, protocol: none}",
    "generator/toy": "{_target_: mylab.parts.Toy, _defaults_: {data: pictures, loss: pixel, protocol: scores}}",
    "generator/bare": "{_target_: mylab.parts.make_toy}",
    "space/sphere": "{_target_: mylab.parts.Sphere}",
    "space/ball": "# Half a sphere.\n_target_: mylab.parts.Sphere\nradius: 5.0e-1\nmode: none",
    "space/wrong": "{_target_: mylab.parts.Sphere, radios: 2}",
    "method/descent": "{_target_: mylab.parts.Descent}",
    "loss/pixel": "{_target_: mylab.parts.Terms, terms: {mse: 1.0}}",
    "loss/net": "_target_: mylab.parts.Terms\nterms: {mse: 1, net: 10}\noptions: {net: {size: 64}}",
    "term/mse": "{_target_: mylab.parts.Pixel}",
    "term/net": "{_target_: mylab.parts.Net}",
    "data/pictures": "{_target_: mylab.parts.Pictures}",
    "data/folder": "{_target_: mylab.parts.Folder}",
    "protocol/scores": "{_target_: mylab.parts.Scores}",
    "model/fitting": "{_target_: mylab.parts.Fitting, seed: '${seed}'}",
}
BASES = {
    "generator": "Generator",
    "space": "LatentSpace",
    "method": "Inverter",
    "loss": "Loss",
    "term": "LossTerm",
    "data": "DataSource",
    "protocol": "Protocol",
    "model": "Trainee",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: `mylab/parts.py`, `configs/` and `experiments/`."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").touch()
    (tmp_path / "mylab" / "parts.py").write_text(PARTS)
    for name, text in PRESETS.items():
        path = tmp_path / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        monkeypatch.delitem(sys.modules, name)
    for group, base in BASES.items():
        monkeypatch.setitem(schema.PARTS, group, f"mylab.parts.{base}")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]
