"""Edits: directions, and the moves that they make in each space."""
