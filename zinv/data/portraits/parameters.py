"""What is drawn: the parameters of a portrait, and how they are sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IDENTITY: tuple[str, ...] = (
    # head
    "head_width", "head_height", "forehead", "cheekbones", "jaw_width", "chin_width", "chin_length", "ear_size",
    # skin
    "melanin", "redness", "blush", "freckles", "mole_x", "mole_y", "mole_size",
    # eyes and brows
    "eye_distance", "eye_size", "eye_height", "eye_tilt", "iris_colour", "iris_depth",
    "brow_thickness", "brow_height", "brow_angle", "brow_shade",
    # nose and mouth
    "nose_length", "nose_width", "nose_bridge", "mouth_width", "mouth_height", "upper_lip", "lower_lip", "lip_colour",
    # hair
    "hair_length", "hair_volume", "hairline", "fringe", "parting", "waviness", "curl",
    "hair_darkness", "hair_redness", "dye_amount", "dye_hue",
    # jewellery
    "earrings",
)  # fmt: skip
ATTRIBUTES: tuple[str, ...] = (
    "smile",
    "age",
    "yaw",
    "pitch",
    "eye_opening",
    "glasses",
    "beard",
    "light",
    "background",
)
BINARY: tuple[str, ...] = ("glasses",)
DETAIL: tuple[str, ...] = (
    "ground_kind", "ground_hue", "ground_tint", "ground_second", "ground_angle", "ground_scale", "ground_x", "ground_y",
    "ground_contrast", "ground_fade",
    "cloth_kind", "cloth_hue", "cloth_tint", "cloth_value", "cloth_second", "cloth_angle", "cloth_scale", "cloth_x",
    "cloth_y", "cloth_contrast", "neckline", "shoulders",
    "strand_x", "strand_y", "wave", "frame_hue", "frame_shape", "frame_size", "frame_shade", "gaze", "spots_x",
    "spots_y",
)  # fmt: skip
LATTICE = 16
"""Side of the square of random values that strands, freckles and clutter are interpolated from."""

GLASSES_RATE = 0.35


@dataclass(frozen=True)
class Portraits:
    """Parameters of ``N`` portraits.

    Attributes:
        identity: ``(N, len(IDENTITY))`` float32, who it is; each number is uniform in [-1, 1].
        attributes: ``(N, len(ATTRIBUTES))`` float32, how the person looks in this picture. Glasses are 0 or 1. The
            others lie in [-1, 1]: from sad to smiling, young to old, turned left to right (as seen), up to down, narrow
            to wide eyes, no beard to a full one, key light from the left to the right, dark to bright background.
            All are uniform, except that a beard is the denser the nearer it is to none.
        detail: ``(N, len(DETAIL) + LATTICE**2)`` float32 in [0, 1): clothes, patterns and the phases of fine texture.
    """

    identity: Tensor
    attributes: Tensor
    detail: Tensor

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, index: slice) -> "Portraits":
        """The portraits of a slice."""
        return Portraits(self.identity[index], self.attributes[index], self.detail[index])


def sample_portraits(seeds: Sequence[int], identity_seeds: Sequence[int] | None = None) -> Portraits:
    """Draw one portrait a seed, each from generators of its own on the CPU.

    Args:
        seeds: ``N`` seeds of the pictures, at least 0.
        identity_seeds: ``N`` seeds of the persons; ``seeds`` if it is not given. Pictures that share an identity seed
            show one person.

    Returns:
        The parameters of ``N`` portraits.

    Example:
        >>> twice = sample_portraits([3, 4], identity_seeds=[7, 7])
        >>> bool((twice.identity[0] == twice.identity[1]).all())
        True
        >>> bool((twice.attributes[0] == twice.attributes[1]).all())
        False
    """
    persons = seeds if identity_seeds is None else identity_seeds
    if len(persons) != len(seeds):
        raise ValueError(f"identity_seeds: {len(persons)} seeds for {len(seeds)} portraits.")
    identity = [_uniform(2 * seed, len(IDENTITY)) * 2 - 1 for seed in persons]
    picture = [_uniform(2 * seed + 1, len(ATTRIBUTES) + len(DETAIL) + LATTICE**2) for seed in seeds]
    count = len(ATTRIBUTES)
    attributes = [_attributes(draw[:count]) for draw in picture]
    return Portraits(
        _stack(identity, len(IDENTITY)),
        _stack(attributes, count),
        _stack([draw[count:] for draw in picture], len(DETAIL) + LATTICE**2),
    )


def _uniform(seed: int, count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


def _attributes(uniform: Tensor) -> Tensor:
    values = uniform * 2 - 1
    beard, glasses = ATTRIBUTES.index("beard"), ATTRIBUTES.index("glasses")
    values[beard] = 2 * uniform[beard] ** 1.6 - 1
    values[glasses] = float(uniform[glasses] < GLASSES_RATE)
    return values


def _stack(rows: list[Tensor], width: int) -> Tensor:
    return torch.stack(rows) if rows else torch.empty(0, width)
