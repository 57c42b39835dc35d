"""What a part of each kind promises, as checks that any member can be put to, yours or ours.

A contract is a class; each of its public methods is one promise, worded by its docstring, and raises Broken.
"""

from zinv.contracts.base import IDS, Broken, Contract
from zinv.contracts.distances import MetricContract, TermContract
from zinv.contracts.generators import GeneratorContract
from zinv.contracts.images import DataContract, SegmentationContract
from zinv.contracts.methods import MethodContract
from zinv.contracts.spaces import SpaceContract

__all__ = [
    "IDS",
    "Broken",
    "Contract",
    "DataContract",
    "GeneratorContract",
    "MethodContract",
    "MetricContract",
    "SegmentationContract",
    "SpaceContract",
    "TermContract",
]
