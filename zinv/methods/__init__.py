"""Inversion methods, one file each; every one takes any latent space."""
