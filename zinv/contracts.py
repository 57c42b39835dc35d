"""What a part of each kind promises, as checks that any member can be put to, yours or ours.

A contract is a class; each of its public methods is one promise, worded by its docstring, and raises Broken.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.data.base import DataSource
from zinv.data.folder import safe_id
from zinv.editing.direction import Direction
from zinv.editing.moves import Move
from zinv.generators.base import BaseCode, FeatureEdit, Generator
from zinv.losses.base import LossTerm
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.metrics.base import Metric
from zinv.seeding import image_rngs
from zinv.segmentation.base import Segmentation
from zinv.spaces.base import LatentSpace
from zinv.weights import digest

IDS = ("ada", "ben", "cy")
TOLERANCE = 1e-4  # relative; float32 sums in another order stay far below
FEW_STEPS = 1e-3  # after some steps of descent


class Broken(Exception):
    """A promise that a part does not keep, and how."""


class Contract:
    """The promises of one kind of part."""

    def promises(self) -> dict[str, Callable[[], None]]:
        """Each promise by its words, in the order of the file."""
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        methods = [getattr(self, name) for name in names]
        return {(inspect.getdoc(method) or "").rstrip("."): method for method in methods}


class SpaceContract(Contract):
    """A LatentSpace on one generator, or on a view of one with its base code."""

    def __init__(self, space: LatentSpace, generator: Generator, base: BaseCode | None = None) -> None:
        self._space, self._generator, self._base = space, generator, base
        self._before = _digest(generator)
        self._start = space.initial(generator, image_rngs(0, IDS))
        self._noise = _randn(self._start.shape).to(self._start)
        self._code = space.retract(self._start + 0.3 * self._noise)

    def shapes(self) -> None:
        """Label, coordinates and shapes are told."""
        space, shape = self._space, self._space.code_shape(self._generator)
        _require(bool(space.label), "label is empty")
        _require(space.coordinates in ("z", "w", "s"), f"coordinates is {space.coordinates!r}, not 'z', 'w' or 's'")
        _require_shape("initial", self._start, (len(IDS), *shape))
        _require_shape("retract", space.retract(self._start), (len(IDS), *shape))
        _require_shape("after_step", space.after_step(self._start), (len(IDS), *shape))
        scalars = math.prod(shape) if space.optimised else 0
        _require(space.num_scalars(self._generator) == scalars, f"num_scalars is not {scalars}")

    def styles(self) -> None:
        """A code gives the generator's styles."""
        generator = self._generator
        styles = self._space.to_styles(generator, self._code)
        _require(len(styles) == len(generator.style_dims), f"{len(styles)} styles, not {len(generator.style_dims)}")
        for i, (style, width) in enumerate(zip(styles, generator.style_dims, strict=True)):
            _require_shape(f"style {i}", style, (len(IDS), width))
        ws = self._space.to_ws(generator, self._code)
        _require(ws is not None or self._space.coordinates == "s", "to_ws is None, which is for S alone")
        if ws is not None:
            _require_shape("to_ws", ws, (len(IDS), generator.num_ws, generator.w_dim))

    def per_image(self) -> None:
        """Each image is for itself."""
        styles = torch.cat(self._space.to_styles(self._generator, self._code), 1)
        penalty = self._space.penalty(self._generator, self._code)
        for i, name in enumerate(IDS):
            alone, code = self._space.initial(self._generator, image_rngs(0, [name])), self._code[i : i + 1]
            _require_equal(f"initial of image {i} alone", alone, self._start[i : i + 1])
            one = torch.cat(self._space.to_styles(self._generator, code), 1)
            _require_equal(f"styles of image {i} alone", one, styles[i : i + 1])
            _require_equal(f"penalty of image {i}", self._space.penalty(self._generator, code), penalty[i : i + 1])

    def rows(self) -> None:
        """An encoder's rows become a code of the space."""
        num, generator = self._space.num_rows(self._generator), self._generator
        _require(num in (1, generator.num_ws), f"num_rows is {num}, neither 1 nor {generator.num_ws}")
        width = generator.z_dim if self._space.coordinates == "z" else generator.w_dim
        code = self._space.from_rows(generator, _randn((len(IDS), num, width)).to(generator.w_avg))
        _require_shape("from_rows", code, self._start.shape)
        _require_equal("from_rows, retracted", self._space.retract(code), code)

    def retraction(self) -> None:
        """Starts lie in the space, and retracting twice is retracting once."""
        _require_equal("the start, retracted", self._space.retract(self._start), self._start)
        once = self._space.retract(self._start + self._noise)
        _require_equal("retracted twice", self._space.retract(once), once)

    def move(self) -> None:
        """A move by nothing is a retraction."""
        moved = self._space.move(self._generator, self._start + self._noise, torch.zeros_like(self._start))
        _require_equal("move by 0", moved, self._space.retract(self._start + self._noise))
        moved = self._space.move(self._generator, self._code, self._noise, rows=[self._generator.first_ws])
        _require_shape("move on a row", moved, self._start.shape)

    def interpolation(self) -> None:
        """Interpolation begins and ends at its ends, and stays in the space."""
        other = self._space.retract(self._start - 0.3 * self._noise)
        first, middle, last = (self._space.interpolate(self._code, other, t) for t in (0.0, 0.5, 1.0))
        _require_equal("interpolate at 0", first, self._code)
        _require_equal("interpolate at 1", last, other)
        _require_equal("interpolate at .5, retracted", self._space.retract(middle), middle)

    def spread(self) -> None:
        """Spread is positive and has a code's shape."""
        spread = self._space.spread(self._generator)
        _require_shape("spread", spread, self._space.code_shape(self._generator))
        _require(bool((spread > 0).all()), "spread is not positive everywhere")

    def penalty(self) -> None:
        """The penalty is one number an image."""
        _require_shape("penalty", self._space.penalty(self._generator, self._code), (len(IDS),))

    def gradient(self) -> None:
        """A gradient reaches every image's code."""
        code = self._code.clone().requires_grad_(True)
        image = self._generator.synthesis(self._space.to_styles(self._generator, code), base=self._base)
        (gradient,) = torch.autograd.grad(image.square().sum(), code)
        _require_shape("the gradient", gradient, code.shape)
        _require(bool((gradient.flatten(1).abs().amax(1) > 0).all()), "no gradient reaches some image's code")

    def generator_kept(self) -> None:
        """The generator is left as it was found, and is not held."""
        _require(_digest(self._generator) == self._before, "the generator was changed")
        held = any(isinstance(part, Generator) for part in self._space.modules())
        _require(not held, "the space holds a generator; it is given one at each call")


class TermContract(Contract):
    """A LossTerm, on pictures of a size, and codes of 8 numbers or of the space that it was given."""

    def __init__(self, term: LossTerm, size: int = 64, code: Tensor | None = None) -> None:
        self._term, self._code = term, _randn((len(IDS), 8)) if code is None else code
        self._target, self._image = _pictures(size), _pictures(size, seed=1)
        self._given = self._image.clone(), self._target.clone()

    def values(self) -> None:
        """One number an image."""
        _require(bool(self._term.label), "label is empty")
        _require_shape("its value", self._value(self._image), (len(IDS),))

    def per_image(self) -> None:
        """Each image is for itself."""
        together = self._value(self._image)
        for i in range(len(IDS)):
            _require_equal(f"the value of image {i} alone", self._value(self._image, i), together[i : i + 1])

    def gradient(self) -> None:
        """Its gradient is finite, also where image and target are equal."""
        for start in (self._image, self._target):
            image, code = start.clone().requires_grad_(True), self._code.clone().requires_grad_(True)
            value = self._term(image, code, self._term.prepare(self._target)).sum()
            _require(value.requires_grad, "no gradient reaches image or code")
            gradients = torch.autograd.grad(value, (image, code), allow_unused=True)
            finite = all(bool(torch.isfinite(x).all()) for x in gradients if x is not None)
            where = "where image and target are equal" if start is self._target else "somewhere"
            _require(finite, f"its gradient is not finite {where}")

    def pure(self) -> None:
        """The same input gives the same value, and is left as it was."""
        state = digest(self._term.state_dict())
        _require_equal("the value of a second call", self._value(self._image), self._value(self._image), 0.0)
        _require(digest(self._term.state_dict()) == state, "a call changed the term's state")
        kept = torch.equal(self._image, self._given[0]) and torch.equal(self._target, self._given[1])
        _require(kept, "a call changed its input")

    def _value(self, image: Tensor, index: int | None = None) -> Tensor:
        part = slice(None) if index is None else slice(index, index + 1)
        with torch.no_grad():
            value: Tensor = self._term(image[part], self._code[part], self._term.prepare(self._target[part]))
        return value


class MetricContract(Contract):
    """A Metric, on pictures that are large enough for it."""

    def __init__(self, metric: Metric, size: int = 64) -> None:
        size = max(size, metric.min_size)
        self._metric, self._target, self._image = metric, _pictures(size), _pictures(size, seed=1)

    def values(self) -> None:
        """One float32 number an image."""
        _require(bool(self._metric.label and self._metric.name), "label or name is empty")
        value = self._metric(self._image, self._target)
        _require(tuple(value.shape) == (len(IDS),), f"its value has shape {tuple(value.shape)}, not {(len(IDS),)}")
        _require(value.dtype == torch.float32, f"its value is {value.dtype}, not float32")

    def per_image(self) -> None:
        """Each image is for itself."""
        together = self._metric(self._image, self._target)
        for i in range(len(IDS)):
            alone = self._metric(self._image[i : i + 1], self._target[i : i + 1])
            _require_equal(f"the value of image {i} alone", alone, together[i : i + 1])

    def direction(self) -> None:
        """A picture is nearer to itself than to another, as higher_is_better says."""
        same, other = self._metric(self._target, self._target), self._metric(self._image, self._target)
        nearer = same > other if self._metric.higher_is_better else same < other
        _require(bool((nearer | other.isnan()).all()), "another picture is as near as the same one")


class GeneratorContract(Contract):
    """A Generator, whole."""

    def __init__(self, generator: Generator) -> None:
        self._generator, like = generator, generator.w_avg
        self._z = _randn((len(IDS), generator.z_dim)).to(like)
        self._rows = _randn((len(IDS), generator.num_ws, generator.z_dim), seed=1).to(like)
        with torch.no_grad():
            self._styles = generator.affine(generator.map_rows(self._rows))
            self._image = generator.synthesis(self._styles)
            self._features = generator.features(self._styles, generator.points)

    def shapes(self) -> None:
        """Shapes are as told."""
        generator = self._generator
        _require_shape("w_avg", generator.w_avg, (generator.w_dim,))
        w = generator.mapping(self._z)
        _require_shape("mapping", w, (len(IDS), *generator.w_shape))
        for i, (style, width) in enumerate(zip(self._styles, generator.style_dims, strict=True)):
            _require_shape(f"style {i}", style, (len(IDS), width))
        _require_shape("an image", self._image, (len(IDS), 3, generator.resolution, generator.resolution))

    def mapped_rows(self) -> None:
        """Row i of z goes to row i of w."""
        ws = self._generator.map_rows(self._rows)
        for i in range(self._generator.num_ws):
            w = self._generator.mapping(self._rows[:, i])
            _require_equal(f"row {i}", ws[:, i], w if w.dim() == 2 else w[:, i])

    def per_image(self) -> None:
        """Each image is for itself."""
        alone = self._generator.synthesis(tuple(style[1:2] for style in self._styles))
        _require_equal("an image alone", alone, self._image[1:2])

    def edits(self) -> None:
        """At every point, a feature edited into itself changes nothing."""
        for point, feature in self._features.items():
            for edit in (FeatureEdit(feature), FeatureEdit(torch.zeros_like(feature), keep=1.0)):
                image = self._generator.synthesis(self._styles, edits={point: edit})
                _require_equal(f"{point}, keep {edit.keep}", image, self._image, 0.0)

    def base_codes(self) -> None:
        """A base code of a point's own features renders the same image, or not, as base_is_exact says."""
        for point in (point for point in self._generator.points if point.endswith(".conv0")):
            image = self._generator.synthesis(self._styles, base=(point, self._features[point]))
            exact = torch.equal(image, self._image)
            _require(exact == self._generator.base_is_exact, f"{point}: base_is_exact is {not exact}")

    def views(self) -> None:
        """A view above a base code renders what the whole generator renders from it."""
        for point in (point for point in self._generator.points if point.endswith(".conv0")):
            view, base = self._generator.above(point), (point, self._features[point])
            rows = view.first_ws + view.num_ws, self._generator.first_ws + self._generator.num_ws
            _require(rows[0] == rows[1], f"{point}: its rows end at {rows[0]}, not at {rows[1]}")
            styles = self._styles[len(self._styles) - len(view.style_dims) :]
            whole = self._generator.synthesis(self._styles, base=base)
            _require_equal(f"above {point}", view.synthesis(styles, base=base), whole, 0.0)

    def noise(self) -> None:
        """Noise is const, none, or a map a layer."""
        maps = [torch.zeros(len(IDS), 1, *shape).to(self._image) for shape in self._generator.noise_shapes]
        silent = self._generator.synthesis(self._styles, noise="none")
        _require_equal("maps of zeros", self._generator.synthesis(self._styles, noise=maps), silent)

    def pure(self) -> None:
        """Rendering draws nothing and keeps no state, and the networks are frozen."""
        before = _digest(self._generator)
        _require_equal("a second rendering", self._generator.synthesis(self._styles), self._image, 0.0)
        _require(_digest(self._generator) == before, "rendering changed the generator")
        trainable = [name for name, parameter in self._generator.named_parameters() if parameter.requires_grad]
        _require(not trainable and not self._generator.training, f"not frozen: {trainable[:1] or 'training mode'}")


class MethodContract(Contract):
    """An Inverter in the space that it has; a few steps suffice."""

    def __init__(self, method: Inverter) -> None:
        self._method, self._before = method, _digest(method.generator)
        self._target = _pictures(method.generator.resolution)
        self._found = method.invert(self._target, image_rngs(0, IDS))
        self._image = method.reconstruct(self._found).detach()

    def results(self) -> None:
        """Each image has an inversion, a reconstruction and losses."""
        found = self._found
        _require(bool(self._method.label), "label is empty")
        _require(len(found) == len(IDS), f"{len(found)} inversions of {len(IDS)} images")
        _require(not found.code.requires_grad, "the code still has its graph")
        _require_shape("a reconstruction", self._image, self._target.shape)
        _require("total" in found.losses, "losses has no 'total'")
        for name, value in found.losses.items():
            _require_shape(f"losses[{name!r}]", value, (len(IDS),))

    def per_image(self) -> None:
        """Each image is for itself."""
        torch.manual_seed(7)  # a draw from the global state would show
        alone = self._method.invert(self._target[1:2], image_rngs(0, IDS[1:2]))
        _require_equal("an image alone", self._method.reconstruct(alone).detach(), self._image[1:2], FEW_STEPS)

    def edit_by_nothing(self) -> None:
        """An edit by nothing is the reconstruction."""
        with torch.no_grad():
            edited = self._method.reconstruct(self._method.moved(self._found, self._found.code))
        _require_equal("the code as it is", edited, self._image)

    def stored(self) -> None:
        """What is stored renders the same picture."""
        again = Inversion.join([self._found.image(i) for i in range(len(IDS))])
        _require_equal("the stored reconstruction", self._method.reconstruct(again).detach(), self._image)

    def edits(self) -> None:
        """An edit moves the code, and by nothing it moves nothing."""
        method, view = self._method, self._method.view(self._found)
        width = method.space.code_shape(view)[-1]
        direction = Direction("any", method.space.coordinates, _randn((1, width)))
        still = method.edit(self._found, Move.along(direction, [0.0] * len(IDS)))
        _require_equal("the picture of an edit by 0", method.reconstruct(still).detach(), self._image)
        moved = method.edit(self._found, Move.along(direction, [3.0] * len(IDS)))
        changed = (method.reconstruct(moved).detach() - self._image).flatten(1).abs().amax(1)
        _require(bool((changed > 0).all()), "an edit leaves some picture as it was")

    def generator_kept(self) -> None:
        """The generator is left as it was."""
        _require(_digest(self._method.generator) == self._before, "the generator was changed")


class SegmentationContract(Contract):
    """A Segmentation, on pictures of a size."""

    def __init__(self, segmentation: Segmentation, size: int = 64) -> None:
        self._segmentation, self._picture = segmentation, _pictures(size)[0]
        self._given = self._picture.clone()

    def labels(self) -> None:
        """Labels are int64 numbers from 0 on, one a pixel, none left out."""
        labels = self._segmentation(self._picture, IDS[0])
        _require(bool(self._segmentation.label), "label is empty")
        _require_shape("labels", labels, tuple(self._picture.shape[-2:]))
        _require(labels.dtype == torch.int64, f"labels are {labels.dtype}, not int64")
        found = labels.unique().tolist()
        _require(found == list(range(len(found))), f"labels are {found[:8]}, not the numbers from 0 on")

    def pure(self) -> None:
        """The same picture has the same labels, and is left as it was."""
        first, second = (self._segmentation(self._picture, IDS[0]) for _ in range(2))
        _require(torch.equal(first, second), "a second call gives other labels")
        _require(torch.equal(self._picture, self._given), "a call changed its picture")


class DataContract(Contract):
    """A DataSource."""

    def __init__(self, source: DataSource) -> None:
        self._source = source

    def ids(self) -> None:
        """Ids are unique and safe as file names."""
        ids = self._source.ids
        _require(len(self._source) == len(ids) > 0, "there are no ids")
        _require(len(set(ids)) == len(ids), "an id comes twice")
        unsafe = [name for name in ids if safe_id(name) != name]
        _require(not unsafe, f"not safe as a file name: {unsafe[:1]}")

    def pictures(self) -> None:
        """Pictures are (3, R, R) float32 in [-1, 1], the same at each call."""
        for i in {0, len(self._source) - 1}:
            name, picture = self._source.ids[i], self._source.image(i)
            side = self._source.resolution or picture.shape[-1]
            _require_shape(name, picture, (3, side, side))
            _require(picture.dtype == torch.float32, f"{name}: it is {picture.dtype}, not float32")
            _require(bool((picture.abs() <= 1).all()), f"{name}: it leaves [-1, 1]")
            _require(torch.equal(picture, self._source.image(i)), f"{name}: another picture at the second call")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise Broken(message)


def _require_shape(name: str, value: object, shape: Sequence[int]) -> None:
    if not isinstance(value, Tensor):
        raise Broken(f"{name}: it is {type(value).__name__}, not a tensor")
    _require(tuple(value.shape) == tuple(shape), f"{name}: its shape is {tuple(value.shape)}, not {tuple(shape)}")
    _require(bool(torch.isfinite(value).all()), f"{name}: it is not finite everywhere")


def _require_equal(name: str, value: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    _require(value.shape == expected.shape, f"{name}: its shape is {tuple(value.shape)}, not {tuple(expected.shape)}")
    same = torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    _require(same, f"{name}: it differs by up to {float((value - expected).detach().abs().max()):.2g}")


def _digest(generator: Generator) -> str:
    trainable = [name for name, parameter in generator.named_parameters() if parameter.requires_grad]
    return digest(generator.state_dict()) + ",".join(trainable)


def _randn(shape: Sequence[int], seed: int = 0) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def _pictures(size: int, seed: int = 0) -> Tensor:
    return F.interpolate(_randn((len(IDS), 3, 4, 4), seed), (size, size), mode="bicubic").tanh()
