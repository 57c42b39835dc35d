"""Latent spaces: Z, Z+, W, W+, their P_N variants, S, and a fixed control."""
