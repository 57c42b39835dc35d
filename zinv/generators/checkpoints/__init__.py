"""Generators in the files that others published: one reader a format, and safe decoding of pickles."""
