"""Light: a key from one side and above, a fill and an ambient part, on normals."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zinv.data.portraits.planes import rgb
from zinv.data.portraits.subject import Subject


@dataclass(frozen=True)
class Light:
    """Direction towards the key light ``(n, 1, 1)`` each, and the colours ``(n, 3, 1, 1)`` of key and ambient."""

    x: Tensor
    y: Tensor
    z: Tensor
    key: Tensor
    ambient: Tensor

    @classmethod
    def of(cls, s: Subject) -> "Light":
        """The key light goes 65 degrees to either side, 30 degrees above."""
        azimuth = 1.13 * s.attributes["light"]
        one = torch.ones_like(azimuth)
        return cls(
            0.87 * azimuth.sin(),
            -0.5 * one,
            0.87 * azimuth.cos(),
            rgb(0.86, 0.82, 0.76, azimuth),
            rgb(0.43, 0.44, 0.46, azimuth),
        )

    def shade(self, x: Tensor, y: Tensor, z: Tensor, shadow: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Diffuse light ``(n, 3, H, W)`` and specular highlight ``(n, H, W)`` on the normals (any length)."""
        cosine = (x * self.x + y * self.y + z * self.z) * (x * x + y * y + z * z).rsqrt()
        diffuse = (0.8 * cosine + 0.2).clamp(min=0)
        if shadow is not None:
            diffuse = diffuse * (1 - shadow)
        glossy = diffuse.pow(8) * 0.9
        return torch.addcmul(self.ambient, self.key, diffuse.unsqueeze(1)), glossy
