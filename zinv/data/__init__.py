"""Data sources: where target images come from."""
