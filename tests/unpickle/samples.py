"""Small valid files of every pickled kind, written with the libraries that write them in the wild."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

SOURCE = "import os\nos.system('touch canary')\nraise SystemExit('the embedded source ran')\n" * 4


class Persistent:
    """Pickles as an instance of one of NVIDIA's persistent classes does."""

    def __init__(self, class_name: str, state: dict[str, object]):
        self.class_name, self.state = class_name, state

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name, "state": self.state}
        return _reconstruct_persistent_obj, (meta,)


def _reconstruct_persistent_obj(meta: dict[str, object]) -> object:
    raise AssertionError("the reader called into the file")


class EasyDict(dict):
    """As `dnnlib.util.EasyDict`: items are attributes."""

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Network:
    """As `dnnlib.tflib.network.Network`: everything is in its state."""

    def __init__(self, **state: object):
        self.__dict__.update(state)

    def __setstate__(self, state: object):
        raise AssertionError("the reader called into the file")


HOMES = {
    _reconstruct_persistent_obj: "torch_utils.persistence",
    EasyDict: "dnnlib.util",
    Network: "dnnlib.tflib.network",
}
for _thing, _home in HOMES.items():
    _thing.__module__ = _home


@contextmanager
def importable() -> Iterator[None]:
    """The modules that others' pickles name exist for as long as files are written."""
    for thing, home in HOMES.items():
        parents = [home.rsplit(".", level)[0] for level in range(home.count(".") + 1)]
        for name in parents:
            sys.modules.setdefault(name, types.ModuleType(name))
        setattr(sys.modules[home], thing.__name__, thing)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("torch_utils", "dnnlib")]:
            del sys.modules[name]


def dumps(content: object, protocol: int = 4) -> bytes:
    """A plain pickle."""
    with importable():
        return pickle.dumps(content, protocol=protocol)


def saved(content: object, archive: bool = True) -> bytes:
    """What `torch.save` writes, as a zip archive or as its older stream."""
    file = io.BytesIO()
    with importable():
        torch.save(content, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def tensors() -> dict[str, object]:
    """Tensors of several types, one a view, two that share, one transposed, one empty."""
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, 3, generator=rng)
    return {
        "g_ema": collections.OrderedDict(weight=weight, part=weight[1:3], bias=weight[:, 0, 0].clone().half()),
        "latent_avg": torch.randn(8, generator=rng).expand(2, 8),
        "transposed": torch.randn(3, 6, generator=rng).t(),
        "step": torch.tensor(7),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "wide": torch.randn(2, 2, generator=rng, dtype=torch.float64).bfloat16(),
        "args": argparse.Namespace(size=16, channels=[4, 3], name="ä"),
    }


def persistent() -> dict[str, object]:
    """As a file of stylegan2-ada-pytorch: modules of persistent classes, each with its source."""
    layer = Persistent(
        "FullyConnectedLayer", {"_parameters": {"weight": nn.Parameter(torch.randn(4, 3))}, "_modules": {}}
    )
    buffers = collections.OrderedDict(w_avg=torch.randn(4), resample_filter=torch.ones(2, 2))
    state = {
        "training": False,
        "_parameters": collections.OrderedDict(),
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": collections.OrderedDict(),
        "_modules": collections.OrderedDict(fc0=layer),
        "_init_kwargs": EasyDict(z_dim=4, mapping_kwargs=EasyDict(num_layers=np.int64(2), lr=np.float32(0.5))),
    }
    return {"G": None, "G_ema": Persistent("Generator", state), "training_set_kwargs": EasyDict(path="data.zip")}


def networks() -> tuple[object, ...]:
    """As a file of the TensorFlow release: three networks whose variables are numpy arrays."""
    variables = [("Dense0/weight", np.arange(12, dtype=np.float32).reshape(3, 4)), ("lod", np.float32(0))]
    mapping = Network(version=4, name="mapping", static_kwargs=EasyDict(fmap_max=4), variables=variables)
    main = Network(version=4, name="Gs", components=EasyDict(mapping=mapping), build_module_src=SOURCE, variables=[])
    return None, None, main


def plain() -> dict[str, object]:
    """Everything that is neither a tensor nor an array."""
    return {
        "numbers": [0, 255, 65535, -1, 2**31, 2**70, -(2**40), 1.5, True, False, None],
        "text": ["", "ä\n\\'", "x" * 300, b"", b"\x00\xff\n", bytearray(b"abc")],
        "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1, 2}, frozenset("a"), {}, []],
        3: EasyDict(a=EasyDict(b=1)),
        "dtype": torch.float32,
        "device": torch.device("cuda:0"),
        "size": torch.Size((2, 3)),
        "counted": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
    }


def arrays() -> dict[str, object]:
    """numpy's arrays and numbers."""
    rng = np.random.default_rng(0)
    kinds = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")
    return {
        **{kind: rng.integers(0, 2, (2, 3)).astype(kind) for kind in kinds},
        "fortran": np.asfortranarray(rng.random((3, 2))),
        "scalars": [np.float64(0.1), np.int32(-3), np.bool_(True)],
        "none": np.zeros((0, 2), np.float32),
        "single": np.array(2.5, np.float32),
    }


def samples() -> dict[str, bytes]:
    """A valid file of each kind by name."""
    torch.manual_seed(0)
    return {
        "torch archive": saved(tensors()),
        "torch stream": saved(tensors(), archive=False),
        "torch in a pickle": dumps(tensors(), 3),
        "torch in a pickle of protocol 0": dumps(tensors(), 0),
        "torch in a pickle of protocol 2": dumps(tensors(), 2),
        "torch in a pickle of protocol 5": dumps(tensors(), 5),
        "persistent pickle": dumps(persistent(), 3),
        "persistent archive": saved(persistent()),
        "TensorFlow pickle": dumps(networks(), 4),
        "TensorFlow pickle of protocol 2": dumps(networks(), 2),
        "arrays of protocol 1": dumps(arrays(), 1),
        "arrays of protocol 5": dumps(arrays(), 5),
        "plain of protocol 0": dumps(plain(), 0),
        "plain of protocol 4": dumps(plain(), 4),
    }
