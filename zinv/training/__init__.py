"""What `zinv train` fits: the networks that methods, metrics and demos load."""
