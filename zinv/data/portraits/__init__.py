"""Portraits: a procedural domain of faces with known identity and known attributes."""
