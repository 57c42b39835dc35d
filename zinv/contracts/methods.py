"""What an Inverter promises."""

from __future__ import annotations

import torch

from zinv.contracts.base import (
    FEW_STEPS,
    IDS,
    Contract,
    normal,
    pictures,
    require,
    require_equal,
    require_shape,
    state_of,
)
from zinv.editing.direction import Direction
from zinv.editing.moves import Move
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.seeding import image_rngs


class MethodContract(Contract):
    """An Inverter in the space that it has; a few steps suffice."""

    def __init__(self, method: Inverter) -> None:
        self._method, self._before = method, state_of(method.generator)
        self._target = pictures(method.generator.resolution)
        self._found = method.invert(self._target, image_rngs(0, IDS))
        self._image = method.reconstruct(self._found).detach()

    def results(self) -> None:
        """Each image has an inversion, a reconstruction and losses."""
        found = self._found
        require(bool(self._method.label), "label is empty")
        require(len(found) == len(IDS), f"{len(found)} inversions of {len(IDS)} images")
        require(not found.code.requires_grad, "the code still has its graph")
        require_shape("a reconstruction", self._image, self._target.shape)
        require("total" in found.losses, "losses has no 'total'")
        for name, value in found.losses.items():
            require_shape(f"losses[{name!r}]", value, (len(IDS),))

    def per_image(self) -> None:
        """Each image is for itself."""
        torch.manual_seed(7)  # a draw from the global state would show
        alone = self._method.invert(self._target[1:2], image_rngs(0, IDS[1:2]))
        require_equal("an image alone", self._method.reconstruct(alone).detach(), self._image[1:2], FEW_STEPS)

    def edit_by_nothing(self) -> None:
        """An edit by nothing is the reconstruction."""
        with torch.no_grad():
            edited = self._method.reconstruct(self._method.moved(self._found, self._found.code))
        require_equal("the code as it is", edited, self._image, 0.0)

    def stored(self) -> None:
        """What is stored renders the same picture."""
        again = Inversion.join([self._found.image(i) for i in range(len(IDS))])
        require_equal("the stored reconstruction", self._method.reconstruct(again).detach(), self._image)

    def edits(self) -> None:
        """An edit moves the code, and by nothing it moves nothing."""
        method, view = self._method, self._method.view(self._found)
        width = method.space.code_shape(view)[-1]
        direction = Direction("any", method.space.coordinates, normal((1, width)))
        still = method.edit(self._found, Move.along(direction, [0.0] * len(IDS)))
        require_equal("the picture of an edit by 0", method.reconstruct(still).detach(), self._image, 0.0)
        moved = method.edit(self._found, Move.along(direction, [3.0] * len(IDS)))
        changed = (method.reconstruct(moved).detach() - self._image).flatten(1).abs().amax(1)
        require(bool((changed > 0).all()), "an edit leaves some picture as it was")

    def generator_kept(self) -> None:
        """The generator is left as it was."""
        require(state_of(self._method.generator) == self._before, "the generator was changed")
