"""Pickled files of others as plain data: nothing of a file is ever imported, called or executed."""

from zinv.unpickle.files import load
from zinv.unpickle.records import PERSISTENT, Key, Plain, Stub
from zinv.unpickle.source import shown

__all__ = ["PERSISTENT", "Key", "Plain", "Stub", "load", "shown"]
