"""Generators: StyleGANs read from files, and toys."""

from zinv.generators.base import BaseCode, FeatureEdit, Generator, Noise, Styles
from zinv.generators.load import load_generator

__all__ = ["BaseCode", "FeatureEdit", "Generator", "Noise", "Styles", "load_generator"]
