"""Valid checkpoints of every kind as plain data, against what torch, numpy and pickle make of them."""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.unpickle import samples
from zinv.errors import CheckpointError
from zinv.unpickle import PERSISTENT, Plain, Stub, load
from zinv.unpickle.source import file_source

CHECKOUT = Path(__file__).parents[2]
ALL_CLASSES = {(PERSISTENT, "*"), ("dnnlib.tflib.network", "Network")}


@pytest.fixture
def read(tmp_path: Path):
    """Writes bytes into a file and loads it."""

    def call(content: bytes, *classes: tuple[str, str], **options: object) -> Plain:
        (tmp_path / "file").write_bytes(content)
        return load(tmp_path / "file", classes, **options)

    return call


def same(found: object, true: object) -> bool:
    """Whether plain data is what another library made."""
    if isinstance(true, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == true.dtype and torch.equal(found, true)
    if isinstance(true, np.ndarray):
        return same(found, torch.from_numpy(true))
    if isinstance(true, dict):
        return (
            isinstance(found, dict) and list(found) == list(true) and all(same(found[key], true[key]) for key in true)
        )
    if isinstance(true, list | tuple):
        return type(found) is type(true) and len(found) == len(true) and all(map(same, found, true))
    if isinstance(true, argparse.Namespace):
        return found == Stub("argparse", "Namespace", vars(true))
    return found == true and (isinstance(true, np.generic) or type(found) is type(true))


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "stream"])
def test_what_torch_saves(read, archive: bool):
    assert same(read(samples.saved(samples.tensors(), archive)), samples.tensors())


@pytest.mark.parametrize("protocol", range(6))
def test_tensors_in_pickles_of_every_protocol(read, protocol: int):
    assert same(read(samples.dumps(samples.tensors(), protocol)), samples.tensors())


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_pickles_of_every_protocol(read, protocol: int):
    assert same(read(samples.dumps(samples.arrays(), protocol)), samples.arrays())


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_in_pickles_of_every_protocol(read, protocol: int):
    found, true = read(samples.dumps(samples.plain(), protocol)), samples.plain()
    true["text"][5] = b"abc"
    true["containers"][5:7] = [1, 2], ["a"]
    true |= {"dtype": "torch.float32", "device": "cuda/0", "size": (2, 3)}
    assert same(found, true)


@pytest.mark.parametrize("protocol", range(3))
def test_arrays_that_old_protocols_keep_as_long_text(read, protocol: int):
    content = {"a": np.random.default_rng(0).random((200, 200)), "t": torch.randn(150, 150), "text": "ä" * 100_000}
    assert same(read(samples.dumps(content, protocol)), content)


def test_an_out_of_protocol_5_array_in_fortran_order(read):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    assert same(read(pickle.dumps(array, protocol=5)), array)


def test_state_dicts_of_a_network(read):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for archive in (True, False):
        assert same(read(samples.saved(network.state_dict(), archive)), dict(network.state_dict()))


def test_the_published_networks_that_are_here(real: Path):
    files = sorted(real.glob("*.pt"))
    assert files
    for file in files:
        assert same(load(file), dict(torch.load(file, weights_only=True)))


def test_an_archive_whose_checksums_were_left_out(read):
    torch.serialization.set_crc32_options(False)
    try:
        content = samples.saved(samples.tensors())
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read(content), samples.tensors())


def test_persistent_objects_are_their_state_and_their_source_is_left_alone(read):
    torch.manual_seed(0)
    true = samples.persistent()
    found = read(samples.dumps(true, 3), (PERSISTENT, "Generator"), (PERSISTENT, "FullyConnectedLayer"))
    generator = found["G_ema"]
    assert (generator.module, generator.name, generator.args) == (PERSISTENT, "Generator", ())
    assert generator.state["_init_kwargs"] == {"z_dim": 4, "mapping_kwargs": {"num_layers": 2, "lr": 0.5}}
    layer = generator.state["_modules"]["fc0"]
    weight = true["G_ema"].state["_modules"]["fc0"].state["_parameters"]["weight"]
    assert (layer.name, type(layer.state["_parameters"]["weight"])) == ("FullyConnectedLayer", torch.Tensor)
    assert torch.equal(layer.state["_parameters"]["weight"], weight)


def test_persistent_objects_of_a_package_that_vendors_nvidias(read):
    content = samples.dumps(samples.persistent(), 3)
    for module in (b"torch_utils.persistence", b"dnnlib.util"):
        content = content.replace(b"c" + module, b"cmylab.models." + module)
    assert read(content, (PERSISTENT, "*"))["G_ema"].name == "Generator"


def test_a_whole_module_that_torch_saved(read):
    found = read(samples.saved(samples.persistent()), (PERSISTENT, "*"))
    assert found["G_ema"].state["_buffers"]["w_avg"].shape == (4,)


def test_networks_of_the_tensorflow_release(read):
    *_, main = read(samples.dumps(samples.networks()), ("dnnlib.tflib.network", "Network"))
    mapping = main.state["components"]["mapping"]
    assert (main.name, main.state["name"], mapping.state["static_kwargs"]) == ("Network", "Gs", {"fmap_max": 4})
    assert same(mapping.state["variables"], samples.networks()[2].components["mapping"].variables)


@pytest.mark.parametrize(
    "classes, refused",
    [((), "Network"), ({("dnnlib.tflib.network", "Other")}, "Network"), ({("dnnlib.tflib", "*")}, "Network")],
)
def test_a_class_that_was_not_asked_for_is_refused_by_name(read, classes, refused: str):
    with pytest.raises(CheckpointError, match=rf"dnnlib\.tflib\.network\.{refused}' is not on the list"):
        read(samples.dumps(samples.networks()), *classes)


def test_a_persistent_class_that_was_not_asked_for_is_refused_by_name(read):
    with pytest.raises(
        CheckpointError, match=r"byte \d+: REDUCE: the persistent class 'FullyConnectedLayer' is none of"
    ):
        read(samples.dumps(samples.persistent()), (PERSISTENT, "Generator"))


def test_memory_is_shared_where_the_file_shares_it(read):
    for content in (samples.saved(samples.tensors()), samples.saved(samples.tensors(), archive=False)):
        state = read(content)["g_ema"]
        state["weight"][1] = 3
        assert torch.equal(state["part"][0], torch.full((4, 3), 3.0))


def test_select_sees_shapes_and_decides_what_is_read(read):
    content = samples.saved({"big": torch.randn(100, 100), "small": torch.arange(5.0)})
    seen = {}

    def small(tree: Plain) -> Plain:
        seen.update(tree)
        return tree["small"]

    damaged = bytearray(content)
    at = content.index(b"data/0FB") + 200
    damaged[at] ^= 1
    assert torch.equal(read(bytes(damaged), select=small), torch.arange(5.0))
    assert (seen["big"].shape, seen["big"].device.type) == ((100, 100), "meta")
    with pytest.raises(CheckpointError, match=r"40,000 bytes are not those that were written \(CRC-32\)"):
        read(bytes(damaged))


def test_any_byte_but_zero_is_true(read):
    content = samples.dumps(torch.tensor([False, True]), 3)
    assert read(content.replace(b"\x00\x01\x94", b"\x00\x07\x94")).tolist() == [False, True]


def test_what_comes_out_can_be_written_to_and_outlives_the_file(read, tmp_path: Path):
    for name, content in samples.samples().items():
        found = read(content, *ALL_CLASSES)
        (tmp_path / "file").write_bytes(b"")
        for tensor in tensors_of(found):
            if 0 not in tensor.stride():
                tensor.zero_()
            assert not tensor.any() or 0 in tensor.stride(), name


def tensors_of(value: object) -> list[torch.Tensor]:
    if isinstance(value, Stub):
        return tensors_of(value.state)
    if isinstance(value, dict | list | tuple):
        return [
            tensor for part in (value.values() if isinstance(value, dict) else value) for tensor in tensors_of(part)
        ]
    return [value] if isinstance(value, torch.Tensor) else []


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "an empty file"),
        (b"\x00" * 1000, "an empty file"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\": 1}", "a safetensors file"),
        (b"\x93NUMPY\x01\x00", r"a numpy array \(.npy\)"),
        (b"<!DOCTYPE html><html>Quota exceeded", "a web page, as a failed download leaves it"),
        (b"\n  <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of git-lfs"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"a" * 257 + b"ustar" + b"a" * 300, "a tar archive, as torch wrote before any StyleGAN"),
        (b"hello there\n", "a text file; as a pickle of protocol 0: byte 0: BINGET: the memo has no entry 101"),
        (b"\xfe\xfe", "byte 0: not an opcode of a pickle"),
    ],
)  # fmt: skip
def test_other_files_are_named(read, content: bytes, what: str):
    with pytest.raises(CheckpointError, match=f"file: {what}"):
        read(content)


def test_a_file_of_numpy_arrays_is_named(read, tmp_path: Path):
    np.savez(tmp_path / "w.npz", w=np.zeros(3))
    with pytest.raises(CheckpointError, match=r"an archive of numpy arrays \(.npz\)"):
        load(tmp_path / "w.npz")


def test_torchscript_is_named(tmp_path: Path):
    torch.jit.script(nn.ReLU()).save(tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="m.pt: a TorchScript archive, which holds code"):
        load(tmp_path / "m.pt")


def test_what_is_no_file_is_an_error(tmp_path: Path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match=rf"{path}: it is not a file"):
            load(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    with open(path, "r+b", buffering=0) as file:
        span = file_source(file).all()
        file.truncate(3)
        with pytest.raises(CheckpointError, match="^the file ended at byte 3 while it was read$"):
            span.read()


MEMORY = """
import json, re, sys, time, torch
from zinv.unpickle import PERSISTENT, load
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) << 10
classes = {(PERSISTENT, "*"), ("dnnlib.tflib.network", "Network")}
load(sys.argv[1], classes)
before, start = peak(), time.process_time()
tree = load(sys.argv[2], classes)
print(json.dumps([peak() - before, time.process_time() - start]))
"""


def large(kind: str) -> bytes:
    """A file as large as a generator of 1024 pixels: 14 convolutions of 512 channels, 132 MB."""
    rows = torch.randn(14 + 511, 512, 3, 3)
    weights = {f"w{i}": rows[i : i + 512].clone() for i in range(14)}
    parameters = {name: nn.Parameter(weight) for name, weight in weights.items()}
    variables = [(name, weight.numpy()) for name, weight in weights.items()]
    module = samples.Persistent("G", {"_parameters": parameters})
    return {
        "torch archive": lambda: samples.saved(weights),
        "torch stream": lambda: samples.saved(weights, archive=False),
        "persistent pickle": lambda: samples.dumps(module, 3),
        "persistent pickle of protocol 2": lambda: samples.dumps(module, 2),
        "TensorFlow pickle": lambda: samples.dumps(samples.Network(variables=variables), 4),
        "arrays of protocol 2": lambda: samples.dumps(variables, 2),
        "arrays of protocol 0": lambda: samples.dumps(variables, 0),
    }[kind]()  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "kind",
    [
        *("torch archive", "torch stream", "persistent pickle", "persistent pickle of protocol 2"),
        *("TensorFlow pickle", "arrays of protocol 2", "arrays of protocol 0"),
    ],
)
def test_a_large_file_takes_at_most_one_and_a_half_times_its_size(tmp_path: Path, kind: str):
    for name, content in {"small": samples.dumps(samples.tensors(), 0), "large": large(kind)}.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", MEMORY, tmp_path / "small", tmp_path / "large"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    peak, seconds = json.loads(done.stdout)
    size = (tmp_path / "large").stat().st_size
    print(f"{kind}: {size / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB ({peak / size:.2f}), {seconds:.2f} s")
    assert 0.5 * size < peak <= 1.5 * size
