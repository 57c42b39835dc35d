"""The commands of `zinv`, by what they are about."""
