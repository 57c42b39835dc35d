"""A corpus of hostile checkpoints, by kind. What each would do if it were obeyed is to make a file named `canary`."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import torch

from tests.unpickle import hostile_sizes
from tests.unpickle.assembler import (
    COMMAND,
    MODULE,
    Case,
    archive,
    array,
    glob,
    nested,
    persistent_id,
    pickled,
    pickles_of,
    stack_global,
    storage,
    tensor,
    text,
)
from tests.unpickle.samples import SOURCE, dumps, saved

NAMES = [
    *("os.system", "posix.system", "nt.system", "os.popen", "os.execv", "os.remove", "shutil.rmtree", "pty.spawn"),
    *("subprocess.Popen", "subprocess.check_output", "subprocess.run", "commands.getoutput", "socket.socket"),
    *("builtins.eval", "builtins.exec", "builtins.compile", "builtins.getattr", "builtins.__import__", "builtins.open"),
    *("__builtin__.eval", "__builtin__.execfile", "builtins.apply", "builtins.type", "builtins.globals"),
    *("functools.partial", "functools.reduce", "operator.attrgetter", "operator.methodcaller", "itertools.starmap"),
    *("importlib.import_module", "runpy.run_path", "runpy._run_code", "types.CodeType", "types.FunctionType"),
    *("pickle.loads", "_pickle.loads", "marshal.loads", "copyreg.add_extension", "copyreg.__newobj__"),
    *("codecs.open", "codecs.lookup", "_codecs.lookup", "_codecs.decode", "ctypes.CDLL", "code.InteractiveInterpreter"),
    *("timeit.timeit", "cProfile.run", "pdb.run", "doctest.debug_script", "webbrowser.open", "asyncio.run"),
    *("torch.load", "torch.hub.load", "torch.jit.load", "torch.serialization.load", "torch.utils.collect_env.run"),
    *("torch.storage.UntypedStorage.from_file", "torch.ops.load_library", "torch._dynamo.guards.CLOSURE_VARS"),
    *("numpy.load", "numpy.fromfile", "numpy.core.multiarray.fromfile", "numpy.f2py.compile"),
    *("pandas.read_pickle", "joblib.load", "yaml.unsafe_load", "site.main", "pip.main", "pydoc.pipepager"),
    *("collections.namedtuple", "collections.OrderedDict.fromkeys", "torch_utils.persistence.import_hook"),
    *(f"{MODULE}.run", "logging.config.dictConfig", "numpy.distutils.exec_command.exec_command"),
]  # fmt: skip


def calls(name: str) -> dict[str, bytes]:
    """Every way in which a pickle calls a global."""
    module, _, attribute = name.rpartition(".")
    argument = text(COMMAND)
    return {
        "REDUCE": glob(name) + argument + b"\x85R",
        "REDUCE by STACK_GLOBAL": stack_global(module, attribute) + argument + b"\x85R",
        "REDUCE by the memo": glob(name) + b"\x94" + b"0" + b"h\x00" + argument + b"\x85R",
        "INST": b"(" + argument + f"i{module}\n{attribute}\n".encode(),
        "OBJ": b"(" + glob(name) + argument + b"o",
        "NEWOBJ": glob(name) + argument + b"\x85\x81",
        "NEWOBJ_EX": glob(name) + argument + b"\x85}\x92",
        "BUILD": glob(name) + b")\x81" + b"}" + text("__setstate__") + glob(name) + b"sb" + argument + b"b",
        "REDUCE and forgotten": glob(name) + argument + b"\x85R0N",
    }


def containers(body: bytes) -> dict[str, bytes]:
    """A pickle's body in every place where a checkpoint keeps a pickle."""
    stream = saved(torch.arange(3.0), archive=False)
    parts = pickles_of(stream)
    hostile = pickled(body)
    streams = [b"".join([*parts[:i], hostile, *parts[i + 1 :]]) for i in range(len(parts) - 1)]
    return {
        "plain pickle": hostile,
        "archive": archive({"a/data.pkl": hostile}),
        **{f"stream, pickle {i}": stream for i, stream in enumerate(streams)},
        **{f"nested storage, pickle {i}": nested(stream) for i, stream in enumerate(streams)},
    }


def cases() -> Iterator[Case]:
    """The whole corpus."""
    for name in NAMES:
        for way, body in calls(name).items():
            yield Case("call", f"{name} by {way}", pickled(body), "is not on the list of what a checkpoint may name")
    for name in ("os.system", "builtins.eval", "functools.partial", f"{MODULE}.run"):
        for place, content in containers(calls(name)["REDUCE"]).items():
            yield Case("call in a container", f"{name} in a {place}", content, "is not on the list of what a check")
    yield from _paths()
    yield from _misused()
    yield from _persistent_ids()
    yield from _nested()
    yield from hostile_sizes.cases()
    yield from _malformed()


def _paths() -> Iterator[Case]:
    pairs = [
        ("torch.serialization", "os.system"),
        ("torch", "serialization.os.system"),
        ("collections", "abc.sys.modules"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("collections", "OrderedDict.fromkeys"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "FloatStorage.from_buffer"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "dtype.__class__"),
        ("_codecs", "encode.__self__.lookup"),
        ("argparse", "Namespace.__init__"),
        ("builtins", "set.__class__.__base__.__subclasses__"),
        ("torch_utils.persistence", "_reconstruct_persistent_obj.__globals__"),
        ("", "os.system"),
        ("os\nsystem", ""),
        ("os", "sys\x00tem"),
        ("ＯＳ", "system"),
        ("collections ", "OrderedDict"),
        ("Collections", "OrderedDict"),
    ]
    for module, name in pairs:
        body = stack_global(module, name) + text(COMMAND) + b"\x85R"
        yield Case("name by another path", f"{module!r} {name!r}", pickled(body), "is not on the list of what a checkp")
    for what, module in {"number": b"K\x01", "list": b"]", "bytes": b"C\x02os", "global": glob("torch.Size")}.items():
        content = pickled(module + text("system") + b"\x93")
        yield Case("name by another path", f"a {what} as module", content, "in the place of a module and a name")
    long = stack_global("o" * 300, "system")
    yield Case("name by another path", "a module of 300 letters", pickled(long), "in the place of a module and a name")
    for code, number in ((b"\x82", b"\x01"), (b"\x83", b"\1\0"), (b"\x84", b"\1\0\0\0")):
        content = pickled(code + number + b")R")
        yield Case("extension registry", f"EXT{len(number)}", content, "EXT.: a code of Python's extension registry")
    for code in (b"\x97", b"\x97\x98", b"N\x98"):
        yield Case("buffer outside", repr(code), pickled(code, 5), "a buffer outside of the file")


def _misused() -> Iterator[Case]:
    """Names that are on the list, called in ways that nobody writes."""
    known, typed = "collections.OrderedDict", glob("torch._tensor._rebuild_from_type_v2")
    bodies = {
        "the result of a call is called": (glob("torch.Size") + b")R)R", "a call of a tuple"),
        "a dict is called": (b"})R", "a call of a dict"),
        "text is called": (text("os.system") + text(COMMAND) + b"\x85R", "a call of a str"),
        "a storage type is called": (glob("torch.FloatStorage") + b"(K\x05tR", r"a call of 'torch\.FloatStorage'"),
        "a class that is handed over is called": (glob("torch.Tensor") + b")R", r"a call of 'torch\.Tensor'"),
        "a list as arguments": (glob("torch.Size") + b"]R", "a call of 'torch.Size' with a list"),
        "keywords": (glob(known) + b")}" + text("os") + text(COMMAND) + b"s\x92", "made with keyword arguments"),
        "items for a name": (glob(known) + b"(" + text("a") + b"Nu", "2 keys and values for 'collections.OrderedDict'"),
        "a state for a name": (glob(known) + b"}" + text("fromkeys") + b"Nsb", "a state for 'collections.OrderedDict'"),
        "a state for a list": (b"]}b", "a state for a list"),
        "a name as data": (glob(known), "'collections.OrderedDict' where data should be"),
        "a name deep in data": (b"]" + glob("torch.FloatStorage") + b"a", "'torch.FloatStorage' where data should be"),
        "a storage as data": (storage(), "a storage where data should be"),
        "a codec that runs": (glob("_codecs.encode") + text("a") + text("zlib") + b"\x86R", "arguments"),
        "text that is no latin1": (glob("_codecs.encode") + text("ł") + text("latin1") + b"\x86R", "not latin1"),
        "an array of another class": (
            glob("numpy.core.multiarray._reconstruct") + glob("builtins.object") + b"N\x86R",
            "another class than numpy.ndarray",
        ),
        "an array without a state": (
            glob("numpy.core.multiarray._reconstruct") + glob("numpy.ndarray") + b"N\x86R",
            "a numpy array without content",
        ),
        "an array's state twice": (array() + b"(NNNNNtb", "an array's state that is not version"),
        "an array of objects": (array(dtype="O8"), "the numpy dtype 'O8', which is none of b1, u1"),
        "an array of records": (array(dtype="V8"), "the numpy dtype 'V8'"),
        "an array of text": (array(dtype="U2"), "the numpy dtype 'U2'"),
        "an array in another byte order": (array(order=">"), "the numpy dtype f4 in another byte order"),
        "an array with fields": (array(fields=("a",)), "a numpy dtype with fields"),
        "an array of pickles": (array(content=[b"cos\nsystem\n"]), "a list in the place of bytes"),
        "a typed tensor of another class": (
            typed + b"(" + glob("torch._utils._rebuild_tensor_v2") + glob(known) + b")NtR",
            "a tensor made by 'torch._utils._rebuild_tensor_v2' of 'coll",
        ),
        "a typed tensor made by a dict": (
            typed + b"(" + glob(known) + glob("torch.Tensor") + b")NtR",
            "a tensor made by 'collections.OrderedDict'",
        ),
        "a tensor of no storage": (tensor(b"N"), r"arguments \(a nonetype, a int, a tuple"),
        "a parameter of no tensor": (glob("torch._utils._rebuild_parameter") + b"(N\x89NtR", r"arguments \(a nonetype"),
        "a dict of no pairs": (glob(known) + b"]K\x01a\x85R", r"arguments \(a list\)"),
        "a set of a dict": (glob("builtins.set") + b"}\x85R", r"arguments \(a dict\)"),
        "a device of a list": (glob("torch.device") + b"]\x85R", r"arguments \(a list\)"),
        "a persistent object of nothing": (
            glob("torch_utils.persistence._reconstruct_persistent_obj") + b"}\x85R",
            "a persistent object without the name of a class",
        ),
        "a persistent object with other arguments": (
            glob("torch_utils.persistence._reconstruct_persistent_obj") + text(SOURCE) + b"\x85R",
            r"arguments \(a str\)",
        ),
        "a class behind protocol 0": (
            glob("copyreg._reconstructor") + b"(" + glob("os.system") + glob("builtins.object") + b"NtR",
            "is not on the list",
        ),
        "a function behind protocol 0": (
            glob("copyreg._reconstructor") + b"(" + glob("builtins.object") + glob("builtins.object") + b"NtR",
            "a call of 'builtins.object'",
        ),
        "a namespace with a state of a list": (glob("argparse.Namespace") + b")\x81]b", "instance's attributes"),
        "a namespace with numbers as names": (glob("argparse.Namespace") + b")\x81}K\x01Nsb", "an instance's attrib"),
        "an unhashable key": (b"}]Ns", "a list as a key"),
        "a tuple as a key": (b"})Ns", "a tuple as a key"),
        "a number as a key that collides": (b"}" + b"\x8a\x09" + b"\xff" * 8 + b"\x7f" + b"Ns", "a int as a key"),
        "a float as a key": (b"}G" + b"\0" * 8 + b"Ns", "a float as a key"),
    }  # fmt: skip
    for name, (body, message) in bodies.items():
        yield Case("misuse of a listed name", name, pickled(body), message)
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": "Generator", "state": {}}
    body = glob("torch_utils.persistence._reconstruct_persistent_obj") + dumps(meta, 2)[2:-1] + b"\x85R"
    yield Case(
        "misuse of a listed name", "a persistent source", pickled(body), "the persistent class 'Generator' is non"
    )
    attributes = b"}" + text("__class__") + text("os") + b"sb"
    yield Case("misuse of a listed name", "attributes of a dict", pickled(glob(known) + b")R" + attributes), None)
    yield Case("misuse of a listed name", "attributes of a plain dict", pickled(b"}" + attributes), None)
    names = glob("argparse.Namespace") + b")\x81}" + text("__class__") + text("os") + b"sb"
    yield Case("misuse of a listed name", "attributes of a namespace", pickled(names), None)


def _persistent_ids() -> Iterator[Case]:
    good = ("storage", "!torch.FloatStorage", "0", "cpu", 2)
    ids = {
        "no tuple": (b"K\x01Q", "a persistent id that is not that of a torch storage"),
        "a name": (glob("torch.Size") + b"Q", "a persistent id that is not that of a torch storage"),
        "too short": (persistent_id(*good[:4]), "a persistent id that is not"),
        "another word": (persistent_id("module", *good[1:]), "a persistent id that is not"),
        "a view": (persistent_id(*good, ("0", 0, 1)), "a persistent id that is not"),
        "a type that is none": (
            persistent_id("storage", "!collections.OrderedDict", "0", "cpu", 2),
            "a storage of 'coll",
        ),
        "a type as text": (persistent_id("storage", "FloatStorage", "0", "cpu", 2), "a storage of a str under a str"),
        "a hostile type": (persistent_id("storage", "!os.system", "0", "cpu", 2), "is not on the list"),
        "a key that is none": (persistent_id(*good[:2], 0, "cpu", 2), "a storage of 'torch.FloatStorage' under a int"),
        "a path as key": (persistent_id(*good[:2], "../../etc/passwd", "cpu", 2), "is not in the archive"),
        "less than nothing": (persistent_id(*good[:4], -1), "a storage whose size is not a number"),
        "a truth as size": (persistent_id(*good[:4], True), "a storage whose size is not a number"),
        "2^62 numbers": (persistent_id(*good[:4], 2**62), "a storage whose size is not a number"),
        "2^39 numbers": (persistent_id(*good[:4], 2**39), r"'a/data/0' has 8 bytes, not 2,199,023,255,552"),
        "one number more": (persistent_id(*good[:4], 3), r"'a/data/0' has 8 bytes, not 12"),
        "two types": (
            b"(" + persistent_id(*good) + persistent_id("storage", "!torch.IntStorage", "0", "cpu", 2) + b"t",
            "'a/data/0' with two types",
        ),
    }
    for name, (body, message) in ids.items():
        yield Case("persistent id", name, archive({"a/data.pkl": pickled(body), "a/data/0": b"\0" * 8}), message)
    for name, body in {"binary": b"K\x01Q", "text": b"P0\n"}.items():
        yield Case("persistent id", f"{name} in a plain pickle", pickled(body), "which no pickle of this kind has")
    module = pickled(b"(" + text("module") + glob("os.system") + text("f.py") + text(SOURCE) + b"tQ")
    parts = pickles_of(saved(torch.arange(3.0), archive=False))
    stream = b"".join([*parts[:3], module, dumps([], 2)])
    yield Case("persistent id", "a module with its source", stream, "is not on the list")


def _nested() -> Iterator[Case]:
    parts = pickles_of(saved(torch.arange(3.0), archive=False))
    inner = {
        "empty": (b"", "it is 1 bytes long, but 0 are left"),
        "no pickle": (b"hello", "the memo has no entry 101"),
        "another object": (dumps({"a": 1}, 2), "a dict inside of it, not a storage"),
        "a tensor": (saved(torch.zeros(1)), "a zip archive, which|a persistent id"),
        "inside itself": (nested(b"".join(parts))[:-1] + b".", "a storage inside a storage"),
        "more behind it": (b"".join(parts) + b"cos\nsystem\n", "11 bytes after its end"),
        "cut short": (b"".join(parts)[:-1], "a storage: it is 12 bytes long, but 11 are left"),
        "another version": (b"".join([parts[0], dumps(7, 2), *parts[2:]]), "a torch stream of another version"),
        "another byte order": (
            b"".join([*parts[:2], dumps({"little_endian": False}, 2), *parts[3:]]),
            "a torch stream of another version or byte order",
        ),
        "no list of storages": (b"".join([*parts[:4], dumps({}, 2), parts[5]]), "no list of storages"),
        "a storage twice in the list": (b"".join([*parts[:4], dumps(["a", "a"], 2), parts[5]]), "no list of storages"),
        "two types of one storage": (
            b"".join(
                [
                    *parts[:3],
                    pickled(
                        b"("
                        + persistent_id("storage", "!torch.FloatStorage", "0", "cpu", 2, None)
                        + persistent_id("storage", "!torch.IntStorage", "0", "cpu", 2, None)
                        + b"t"
                    ),
                    *parts[4:],
                ]
            ),
            "two storages of one name",
        ),
        "another number in front of the storage": (
            b"".join([*parts[:5], struct.pack("<Q", 4), parts[5][8:]]),
            "a storage: it has 4 numbers, not 3",
        ),
        "another storage in the list": (
            b"".join([*parts[:4], dumps(["a"], 2), parts[5]]),
            "1 storages, but 1 are asked",
        ),
    }
    for name, (content, message) in inner.items():
        yield Case("nested storage", name, nested(content), message)
    for name, bad in {"text": text("ł"), "a list": b"]", "a name": glob("os.system")}.items():
        content = pickled(glob("torch.storage._load_from_bytes") + bad + b"\x85R")
        yield Case(
            "nested storage", f"{name} in the place of bytes", content, "not latin1|place of bytes|is not on the"
        )
    yield Case("nested storage", "2^39 numbers", pickled(tensor(storage(2**39))), "bytes long, but 8 are left")
    yield Case("nested storage", "of objects", pickled(storage(kind="!builtins.list")), "a storage of 'builtins.list'")


def _malformed() -> Iterator[Case]:
    bodies = {
        "nothing": (b"", "nothing|0 values"),
        "two values": (b"NN", "2 values are left on the stack"),
        "an open mark": (b"(N", "1 values are left on the stack"),
        "REDUCE of nothing": (b"R", "nothing is on the stack"),
        "BUILD of nothing": (b"b", "nothing is on the stack"),
        "SETITEM of nothing": (b"s", "nothing is on the stack"),
        "SETITEMS without a mark": (b"}u", "nothing was marked"),
        "APPENDS to nothing": (b"(e", "nothing is on the stack"),
        "APPEND to a dict": (b"}Na", "items for a dict"),
        "APPEND to a tuple": (b")Na", "items for a tuple"),
        "items of odd number": (b"}(Nu", "1 keys and values for a dict"),
        "DICT of odd number": (b"(Nd", "1 keys and values for a dict"),
        "POP of nothing": (b"0", "nothing was marked"),
        "DUP of nothing": (b"2", "nothing is on the stack"),
        "TUPLE3 of two": (b"NN\x87", "nothing is on the stack"),
        "OBJ of nothing": (b"(o", "a call of a nonetype"),
        "MEMOIZE of nothing": (b"\x94", "nothing is on the stack"),
        "text that is none": (b"X\2\0\0\0\xff\xfe", "text that cannot be decoded"),
        "half a surrogate": (b"X\3\0\0\0\xed\xa0\x80", "text that cannot be decoded"),
        "a float that is none": (b"Fos.system\n", "'os.system' is not a number"),
        "an INT that is none": (b"I__import__('os')\n", "is not a whole number"),
        "a STRING without quotes": (b"Sos\n", "is not a quoted string"),
        "a STRING with escapes": (b"S'\\x41'\n", "is not a quoted string without escapes"),
        "an unknown opcode": (b"\xff", "byte 2: not an opcode of a pickle"),
        "a UNICODE of half an escape": (b"V\\u00\n", "text that cannot be decoded"),
    }
    for name, (body, message) in bodies.items():
        yield Case("malformed", name, pickled(body), message)
    yield Case("malformed", "a pickle behind the pickle", dumps(1, 2) + dumps(2, 2), "5 bytes after its end")
