"""Edits of stored inversions: pictures, what is measured of them, and steps that reach a given change."""
