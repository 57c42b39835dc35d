"""Segmentations: which pixels of a picture belong together."""
