"""What an inversion descends on: terms of one number an image, and their weighted sum."""

from zinv.losses.base import Loss, LossTerm, Prepared

__all__ = ["Loss", "LossTerm", "Prepared"]
