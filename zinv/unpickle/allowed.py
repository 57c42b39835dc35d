"""The list of names that a checkpoint may give, each with what we make of it. No name is ever looked up in Python."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import torch

from zinv.errors import CheckpointError
from zinv.unpickle import builders
from zinv.unpickle.builders import Args, kind
from zinv.unpickle.records import PERSISTENT, Global, Payload, Storage, Stub
from zinv.unpickle.source import Budget, shown

RENAMED: Final = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "dnnlib": "dnnlib.util",
}

VENDORED: Final = (PERSISTENT, "dnnlib.util")
"""Modules that others keep copies of inside their own packages."""

TENSORS: Final = {
    Global("torch._utils", "_rebuild_tensor"): builders.make_tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): builders.make_tensor,
    Global("torch._utils", "_rebuild_parameter"): builders.make_parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): builders.make_parameter,
}

BUILDERS: Final[dict[Global, Callable[[Budget, Args], object]]] = {
    **TENSORS,
    Global("torch", "Size"): builders.make_tuple,
    Global("torch", "device"): builders.make_text,
    Global("dnnlib.util", "EasyDict"): builders.make_dict,
    Global("easydict", "EasyDict"): builders.make_dict,
    Global("collections", "OrderedDict"): builders.make_dict,
    Global("collections", "defaultdict"): builders.make_dict,
    Global("collections", "Counter"): builders.make_dict,
    Global("builtins", "dict"): builders.make_dict,
    Global("builtins", "list"): builders.make_list,
    Global("builtins", "set"): builders.make_list,
    Global("builtins", "frozenset"): builders.make_list,
    Global("builtins", "tuple"): builders.make_tuple,
    Global("builtins", "bytes"): builders.make_bytes,
    Global("builtins", "bytearray"): builders.make_bytes,
    Global("_codecs", "encode"): builders.make_encoded,
    Global("pathlib", "PosixPath"): builders.make_text,
    Global("pathlib", "WindowsPath"): builders.make_text,
    Global("numpy", "dtype"): builders.make_numpy_dtype,
    Global("numpy.core.multiarray", "_reconstruct"): builders.make_numpy_array,
    Global("numpy.core.multiarray", "scalar"): builders.make_numpy_scalar,
    Global("numpy.core.numeric", "_frombuffer"): builders.make_numpy_buffer,
}

HANDED_OVER: Final = frozenset(
    {
        Global("numpy", "ndarray"),
        Global("torch", "Tensor"),
        Global("torch.nn.parameter", "Parameter"),
        Global("builtins", "object"),
        Global("builtins", "int"),
        Global("builtins", "float"),
    }
)
"""Names that calls are given, and that cannot be called."""

ALWAYS_STUBS: Final = frozenset({Global("argparse", "Namespace")})

STORAGES: Final = {
    Global("torch", "DoubleStorage"): torch.float64,
    Global("torch", "FloatStorage"): torch.float32,
    Global("torch", "HalfStorage"): torch.float16,
    Global("torch", "BFloat16Storage"): torch.bfloat16,
    Global("torch", "LongStorage"): torch.int64,
    Global("torch", "IntStorage"): torch.int32,
    Global("torch", "ShortStorage"): torch.int16,
    Global("torch", "CharStorage"): torch.int8,
    Global("torch", "ByteStorage"): torch.uint8,
    Global("torch", "BoolStorage"): torch.bool,
}

DTYPES: Final = frozenset(str(dtype) for dtype in STORAGES.values())


@dataclass(frozen=True)
class Rules:
    """What one file may name, and what is made of it.

    Attributes:
        classes: (module, name) of the classes whose instances become stubs; the name "*" takes all of a module.
        budget: what may still be spent.
        nested: reads a storage out of the pickle inside a pickle in which torch wraps it; None inside of one.
    """

    classes: Collection[tuple[str, str]]
    budget: Budget
    nested: Callable[[Payload], Storage] | None = None

    def name(self, module: str, name: str) -> Global | str:
        """What a name stands for: a `Global` to be called or handed over, or a dtype as text.

        Raises:
            CheckpointError: it is not on the list.
        """
        known = Global(_known(module), name)
        if str(known) in DTYPES:
            return str(known)
        if known in BUILDERS or known in SPECIAL or known in HANDED_OVER or known in STORAGES or self.takes(known):
            return known
        raise CheckpointError(f"{shown(f'{module}.{name}')} is not on the list of what a checkpoint may name")

    def takes(self, wanted: Global) -> bool:
        """Whether the caller asked for this class."""
        pairs = (wanted.module, wanted.name), (wanted.module, "*")
        return wanted in ALWAYS_STUBS or any(pair in self.classes for pair in pairs)

    def call(self, function: object, args: object) -> object:
        """What our own code makes where the pickle calls a name.

        Raises:
            CheckpointError: it is not a name that can be called, or these are no arguments for it.
        """
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise CheckpointError(f"a call of {kind(function)} with {kind(args)}")
        if special := SPECIAL.get(function):
            return special(self, args)
        if builder := BUILDERS.get(function):
            return builder(self.budget, args)
        if self.takes(function):
            return Stub(function.module, function.name, {}, args)
        raise CheckpointError(f"a call of {kind(function)}")


def _known(module: str) -> str:
    vendored = (known for known in VENDORED if module.endswith(f".{known}"))
    return RENAMED.get(module) or next(vendored, module)


def _reconstructed(rules: Rules, args: Args) -> object:
    """An object of protocol 0 or 1: its class, a built-in base, and that base's content."""
    if len(args) != 3 or not isinstance(args[0], Global):
        raise builders.unfit(args)
    takes_content = BUILDERS.get(args[0]) is builders.make_dict and args[2] is not None
    return rules.call(args[0], args[2:] if takes_content else ())


def _persistent(rules: Rules, args: Args) -> object:
    """An object of NVIDIA's persistent classes: name and state; its source is left where it is."""
    if len(args) != 1 or not isinstance(args[0], dict):
        raise builders.unfit(args)
    name, state = args[0].get("class_name"), args[0].get("state")
    if args[0].get("type") != "class" or not isinstance(name, str):
        raise CheckpointError("a persistent object without the name of a class")
    if not rules.takes(Global(PERSISTENT, name)):
        raise CheckpointError(f"the persistent class {shown(name)} is none of those that are read here")
    return Stub(PERSISTENT, name, builders.state_of(rules.budget, state))


def _typed_tensor(rules: Rules, args: Args) -> object:
    """A tensor with attributes, which are left out."""
    builders.expect(args, Global, Global, tuple, most=4)
    if args[0] not in TENSORS or args[1] not in HANDED_OVER:
        raise CheckpointError(f"a tensor made by {kind(args[0])} of {kind(args[1])}")
    return rules.call(args[0], args[2])


def _nested_storage(rules: Rules, args: Args) -> object:
    if rules.nested is None or len(args) != 1:
        raise CheckpointError("a storage inside a storage")
    return rules.nested(builders.payload(rules.budget, args[0]))


SPECIAL: Final[dict[Global, Callable[[Rules, Args], object]]] = {
    Global("torch._tensor", "_rebuild_from_type_v2"): _typed_tensor,
    Global("torch.storage", "_load_from_bytes"): _nested_storage,
    Global("copyreg", "_reconstructor"): _reconstructed,
    Global(PERSISTENT, "_reconstruct_persistent_obj"): _persistent,
}
