"""What a Generator promises."""

from __future__ import annotations

import torch

from zinv.contracts.base import IDS, Contract, normal, require, require_equal, require_shape, state_of
from zinv.generators.base import FeatureEdit, Generator


class GeneratorContract(Contract):
    """A Generator, whole."""

    def __init__(self, generator: Generator) -> None:
        self._generator, like = generator, generator.w_avg
        self._z = normal((len(IDS), generator.z_dim)).to(like)
        self._rows = normal((len(IDS), generator.num_ws, generator.z_dim), seed=1).to(like)
        with torch.no_grad():
            self._styles = generator.affine(generator.map_rows(self._rows))
            self._image = generator.synthesis(self._styles)
            self._features = generator.features(self._styles, generator.points)

    def shapes(self) -> None:
        """Shapes are as told."""
        generator = self._generator
        require_shape("w_avg", generator.w_avg, (generator.w_dim,))
        w = generator.mapping(self._z)
        require_shape("mapping", w, (len(IDS), *generator.w_shape))
        for i, (style, width) in enumerate(zip(self._styles, generator.style_dims, strict=True)):
            require_shape(f"style {i}", style, (len(IDS), width))
        require_shape("an image", self._image, (len(IDS), 3, generator.resolution, generator.resolution))

    def mapped_rows(self) -> None:
        """Row i of z goes to row i of w."""
        ws = self._generator.map_rows(self._rows)
        for i in range(self._generator.num_ws):
            w = self._generator.mapping(self._rows[:, i])
            require_equal(f"row {i}", ws[:, i], w if w.dim() == 2 else w[:, i])

    def per_image(self) -> None:
        """Each image is for itself."""
        alone = self._generator.synthesis(tuple(style[1:2] for style in self._styles))
        require_equal("an image alone", alone, self._image[1:2])

    def edits(self) -> None:
        """At every point, a feature edited into itself changes nothing."""
        for point, feature in self._features.items():
            for edit in (FeatureEdit(feature), FeatureEdit(torch.zeros_like(feature), keep=1.0)):
                image = self._generator.synthesis(self._styles, edits={point: edit})
                require_equal(f"{point}, keep {edit.keep}", image, self._image, 0.0)

    def base_codes(self) -> None:
        """A base code of a point's own features renders the same image, or not, as base_is_exact says."""
        for point in (point for point in self._generator.points if point.endswith(".conv0")):
            image = self._generator.synthesis(self._styles, base=(point, self._features[point]))
            exact = torch.equal(image, self._image)
            require(exact == self._generator.base_is_exact, f"{point}: base_is_exact is {not exact}")

    def views(self) -> None:
        """A view above a base code renders what the whole generator renders from it."""
        for point in (point for point in self._generator.points if point.endswith(".conv0")):
            view, base = self._generator.above(point), (point, self._features[point])
            rows = view.first_ws + view.num_ws, self._generator.first_ws + self._generator.num_ws
            require(rows[0] == rows[1], f"{point}: its rows end at {rows[0]}, not at {rows[1]}")
            styles = self._styles[len(self._styles) - len(view.style_dims) :]
            whole = self._generator.synthesis(self._styles, base=base)
            require_equal(f"above {point}", view.synthesis(styles, base=base), whole, 0.0)

    def noise(self) -> None:
        """Noise is const, none, or a map a layer."""
        maps = [torch.zeros(len(IDS), 1, *shape).to(self._image) for shape in self._generator.noise_shapes]
        silent = self._generator.synthesis(self._styles, noise="none")
        require_equal("maps of zeros", self._generator.synthesis(self._styles, noise=maps), silent)

    def pure(self) -> None:
        """Rendering draws nothing and keeps no state, and the networks are frozen."""
        before = state_of(self._generator)
        require_equal("a second rendering", self._generator.synthesis(self._styles), self._image, 0.0)
        require(state_of(self._generator) == before, "rendering changed the generator")
        trainable = [name for name, parameter in self._generator.named_parameters() if parameter.requires_grad]
        require(not trainable and not self._generator.training, f"not frozen: {trainable[:1] or 'training mode'}")
