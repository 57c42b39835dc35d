"""BDInvert's base-code encoder (Kang et al. 2021): `encoder` in its training states, or a bare state dict."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Architecture, Found, Tensors, tensors_in
from zinv.networks.base_code import tensor_shapes
from zinv.unpickle import Plain

FORMAT: Final = "BDInvert"
WIDTHS: Final = {"width": "model.0.weight", "max_width": "model.20.weight", "channels": "model.33.weight"}


def find(tree: Plain) -> Found | None:
    """The encoder's state dict."""
    states = (tensors_in(tree.get("encoder")), tensors_in(tree)) if isinstance(tree, dict) else ()
    state = next((state for state in states if all(name in state for name in WIDTHS.values())), None)
    return Found(FORMAT, "base-code encoder", state, _build) if state else None


def _build(tensors: Tensors) -> tuple[Architecture, dict[str, Tensor]]:
    widths = {name: tensors.shape(weight)[0] for name, weight in WIDTHS.items() if tensors.shape(weight)}
    if len(widths) < len(WIDTHS):
        raise CheckpointError("a base-code encoder without widths")
    return widths, tensors.verified(tensor_shapes(widths["channels"], widths["width"], widths["max_width"]))
