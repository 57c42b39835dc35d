"""The named numbers of a batch of portraits and the colours that follow from them."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zinv.data.portraits.parameters import ATTRIBUTES, DETAIL, IDENTITY, LATTICE, Portraits
from zinv.data.portraits.planes import hue, luminance, ramp, rgb


@dataclass(frozen=True)
class Subject:
    """Parameters by name, each ``(n, 1, 1)``, and the lattice of random values ``(n, 1, LATTICE, LATTICE)``."""

    identity: dict[str, Tensor]
    attributes: dict[str, Tensor]
    detail: dict[str, Tensor]
    lattice: Tensor

    @classmethod
    def of(cls, portraits: Portraits, device: str) -> "Subject":
        """Unpack portraits onto a device."""
        lattice = portraits.detail[:, len(DETAIL) :].reshape(-1, 1, LATTICE, LATTICE)
        return cls(
            _named(IDENTITY, portraits.identity, device),
            _named(ATTRIBUTES, portraits.attributes, device),
            _named(DETAIL, portraits.detail, device),
            lattice.to(device),
        )

    @cached_property
    def age(self) -> Tensor:
        """Age from 0 to 1."""
        return (self.attributes["age"] + 1) / 2

    @cached_property
    def turn(self) -> tuple[Tensor, Tensor]:
        """Yaw (to 32 degrees) and pitch (to 16 degrees) in radians."""
        return self.attributes["yaw"] * 0.56, self.attributes["pitch"] * 0.28

    @cached_property
    def skin(self) -> Tensor:
        """Skin colour ``(n, 3, 1, 1)``: pigment absorbs exponentially, blue the most."""
        melanin, redness = (self.identity["melanin"] + 1) / 2, self.identity["redness"]
        red = 0.89 * (-0.84 * melanin).exp()
        green = (0.70 - 0.05 * redness) * (-1.02 * melanin).exp()
        blue = (0.60 - 0.06 * redness) * (-1.20 * melanin).exp()
        return rgb(red, green, blue, melanin)

    @cached_property
    def young_hair(self) -> Tensor:
        """Hair colour before it greys: blond to black, ash to red, for some people dyed."""
        dark, red = (self.identity["hair_darkness"] + 1) / 2, self.identity["hair_redness"]
        natural = rgb(
            (0.86 + 0.10 * red) * (-(2.3 - 0.5 * red) * dark).exp(),
            (0.68 - 0.10 * red) * (-2.4 * dark).exp(),
            (0.42 - 0.20 * red) * (-2.0 * dark).exp(),
            dark,
        )
        dyed = hue(self.identity["dye_hue"] / 2, 0.48, 0.46)
        return torch.lerp(natural, dyed, 0.85 * ramp(self.identity["dye_amount"], 0.76, 0.86).unsqueeze(1))

    @cached_property
    def hair(self) -> Tensor:
        """Hair colour, greying with age."""
        grey = rgb(0.68, 0.68, 0.69, self.age)
        return torch.lerp(self.young_hair, grey, (self.age * (0.30 + 0.62 * self.age)).unsqueeze(1))

    @cached_property
    def beard(self) -> Tensor:
        """Beard colour: of the hair's kind, but always well darker than the skin."""
        limit = 0.33 * luminance(self.skin)
        scale = (limit / luminance(self.hair)).clamp(max=1)
        return self.hair * scale.unsqueeze(1)


def _named(names: tuple[str, ...], table: Tensor, device: str) -> dict[str, Tensor]:
    columns = table[:, : len(names)].to(device).reshape(len(table), len(names), 1, 1)
    return {name: columns[:, i] for i, name in enumerate(names)}
