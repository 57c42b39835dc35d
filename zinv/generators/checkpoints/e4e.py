"""e4e's encoder (Tov et al. 2021), and pSp's of the same build: IR-SE-50 with a head for each row of w."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from zinv.errors import CheckpointError
from zinv.generators.checkpoints.base import Architecture, Found, Tensors, batch_norm, count, inside
from zinv.unpickle import Plain

FORMAT: Final = "e4e"
MARK, MEAN = "styles.0.linear.weight", "latent_avg"
STAGES: Final = ((64, 3), (128, 4), (256, 14), (512, 3))
REDUCTION: Final = 16
MIDDLE_FROM, FINE_FROM = 3, 7
Shapes = dict[str, tuple[int, ...]]


def find(tree: Plain) -> Found | None:
    """The encoder of a checkpoint, which also holds the decoder that it was trained for, and the mean w."""
    state = inside(tree.get("state_dict"), "encoder.") if isinstance(tree, dict) else {}
    if not isinstance(tree, dict) or MARK not in state or "body.0.res_layer.1.weight" not in state:
        return None
    mean = tree.get(MEAN)
    state |= {MEAN: mean} if isinstance(mean, Tensor) else {}
    return Found(FORMAT, "e4e encoder", state, _build)


def _build(tensors: Tensors) -> tuple[Architecture, dict[str, Tensor]]:
    num_ws, head = count(tensors, "styles.{}.linear.weight"), tensors.shape(MARK)
    if len(head) != 2:
        raise CheckpointError(f"{MARK}: shape {head} does not fit the architecture")
    arch = {"num_ws": num_ws, "w_dim": head[0]}
    shapes = _shapes(num_ws, head[0])
    if MEAN in tensors:
        shapes[MEAN] = tensors.shape(MEAN) if len(tensors.shape(MEAN)) == 1 else (num_ws, head[0])
    return arch, tensors.verified(shapes)


def _shapes(num_ws: int, width: int) -> Shapes:
    shapes: Shapes = {"input_layer.0.weight": (64, 3, 3, 3), **batch_norm("input_layer.1", 64)}
    shapes["input_layer.2.weight"] = (64,)
    units = [depth for depth, num in STAGES for _ in range(num)]
    for i, (before, depth) in enumerate(zip([64, *units], units, strict=False)):
        shapes |= _unit(f"body.{i}", before, depth)
    for i in range(num_ws):
        shapes |= _head(f"styles.{i}", 4 if i < MIDDLE_FROM else 5 if i < FINE_FROM else 6, width)
    for name, before in {"latlayer1": 256, "latlayer2": 128}.items():
        shapes |= {f"{name}.weight": (512, before, 1, 1), f"{name}.bias": (512,)}
    return shapes


def _unit(name: str, before: int, depth: int) -> Shapes:
    """Batch norm, convolution, PReLU, convolution, batch norm, excitation; and a shortcut where widths change."""
    shapes: Shapes = {
        f"{name}.res_layer.1.weight": (depth, before, 3, 3),
        f"{name}.res_layer.2.weight": (depth,),
        f"{name}.res_layer.3.weight": (depth, depth, 3, 3),
        f"{name}.res_layer.5.fc1.weight": (depth // REDUCTION, depth, 1, 1),
        f"{name}.res_layer.5.fc2.weight": (depth, depth // REDUCTION, 1, 1),
    }
    shapes |= batch_norm(f"{name}.res_layer.0", before) | batch_norm(f"{name}.res_layer.4", depth)
    if before != depth:
        shapes |= {f"{name}.shortcut_layer.0.weight": (depth, before, 1, 1)}
        shapes |= batch_norm(f"{name}.shortcut_layer.1", depth)
    return shapes


def _head(name: str, num_convs: int, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.linear.weight": (width, width), f"{name}.linear.bias": (width,)}
    for i in range(num_convs):
        before = 512 if i == 0 else width
        shapes |= {f"{name}.convs.{2 * i}.weight": (width, before, 3, 3), f"{name}.convs.{2 * i}.bias": (width,)}
    return shapes
