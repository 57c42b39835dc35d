"""How many images a method can invert at a time within the memory that is free."""

from __future__ import annotations

from typing import Final

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from zinv.methods.base import Inverter
from zinv.methods.descent import at_most
from zinv.methods.memory import free_memory
from zinv.seeding import image_rngs

LARGEST: Final = 32
SHARE: Final = 2.0  # of what is kept for the backward pass: gradients and passing tensors come on top


def images_that_fit(method: Inverter, target: Tensor) -> int:
    """From 1 to 32, by what one step of one image keeps for its backward pass.

    Args:
        method: on its device.
        target: `(1, 3, R, R)`.
    """
    needed = SHARE * kept_bytes(method, target)
    return max(1, min(LARGEST, int(free_memory(target.device) // max(needed, 1.0))))


def kept_bytes(method: Inverter, target: Tensor) -> int:
    """What a step of these images keeps for its backward pass, without the networks' own tensors."""
    own = {x.untyped_storage().data_ptr() for x in (*method.parameters(), *method.buffers())}
    sizes: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return x

    with saved_tensors_hooks(note, lambda x: x), at_most(1):
        method.invert(target, image_rngs(0, [f"trial {i}" for i in range(len(target))]))
    return sum(size for place, size in sizes.items() if place not in own)
