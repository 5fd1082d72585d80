"""Small files that ask for much: refused before memory is taken."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from preimage.harness.checkpoints import held_in, network_in
from preimage.harness.errors import WeightsError
from preimage.harness.reading.bounds import ReadingLimits

from .conftest import Reading
from .watch import nothing_runs
from .written import (
    PERSISTENT,
    Archive,
    Built,
    Call,
    Global,
    Raw,
    legacy,
    network,
    pickled,
    snapshot,
    storage_id,
    tensor,
)

MIB = 1 << 20
DTYPE, RECONSTRUCT = Global("numpy", "dtype"), Global("numpy._core.multiarray", "_reconstruct")
SCALAR, NDARRAY = Global("numpy.core.multiarray", "scalar"), Global("numpy", "ndarray")
FLOAT64 = Built(Call(DTYPE, ("f8", False, True)), (3, "<", None, None, None, -1, -1, 0))
LOAD = Global("torch.storage", "_load_from_bytes")


def array(shape: Any, raw: Any, kind: Any = FLOAT64) -> Built:
    """An array as numpy pickles it."""
    return Built(Call(RECONSTRUCT, (NDARRAY, (0,), b"b")), (1, shape, kind, False, raw))


def layers(count: int, inner: bytes) -> bytes:
    """Operations that put what the memo holds twice into a tuple, again and again: 2^count values in a few bytes."""
    return inner + b"q\x010" + b"h\x01h\x01\x86q\x010" * count + b"h\x01"


DECLARED: dict[str, tuple[bytes, str]] = {
    "memo bomb": (b"\x80\x02]r\xff\xff\xff\x7f.", "numbers more values than it has bytes"),
    "memo bomb in text": (b"]p99999999999999999999\n.", "numbers more values than it has bytes"),
    "memo below nothing": (b"]p-1\n.", "numbers more values than it has bytes"),
    "memo that was never kept": (b"\x80\x02h\x07.", "recalls a value that it never kept"),
    "bytes": (b"\x80\x04B\xff\xff\xff\x7fab.", "it is truncated"),
    "bytes of 64 bits": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"ab.", "it is truncated"),
    "bytes of all bits": (b"\x80\x04\x8e" + b"\xff" * 8 + b"ab.", "it is (truncated|damaged)"),
    "text": (b"\x80\x02X\xff\xff\xff\x7fab.", "it is truncated"),
    "text of 64 bits": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"ab.", "it is truncated"),
    "bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"ab.", "it is truncated"),
    "integer": (b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"ab.", "it is truncated"),
    "integer below nothing": (b"\x80\x02\x8b" + struct.pack("<i", -5) + b"ab.", "it is damaged"),
    "integer of many digits": (b"\x80\x02L" + b"9" * 100_000 + b"L\n.", "it is damaged"),
    "frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.", "it is truncated"),
    "no end": (b"\x80\x02]q\x00K\x01", "it is truncated"),
    "nothing": (b"\x80\x02.", "takes what it never put down"),
    "no mark": (b"\x80\x02K\x01e.", "takes what it never put down"),
    "a key alone": (b"\x80\x02}(K\x01u.", "a key without a value"),
    "unknown operation": (b"\x80\x02\xff.", "it is damaged"),
    "a list as a key": (b"\x80\x02}]K\x01s.", "a list as a key"),
    "a tuple of tuples as a key": (b"\x80\x02}" + layers(60, b"K\x01") + b"K\x01s.", "a tuple as a key"),
    "a tuple of tuples in a set": (b"\x80\x04\x8f(" + layers(60, b"K\x01") + b"\x90.", "a tuple as a key"),
    "a tuple of tuples in a frozenset": (b"\x80\x04(" + layers(60, b"K\x01") + b"\x91.", "a tuple as a key"),
    "an integer that collides": (b"\x80\x02}\x8a\x09" + b"\xff" * 8 + b"\x00K\x01s.", "more than 60 bits as a key"),
    "items of a number": (b"\x80\x02K\x01K\x02a.", "appends to a int"),
    "entries of a number": (b"\x80\x02K\x01K\x02K\x02s.", "puts items into a int"),
    "a call of a number": (b"\x80\x02K\x01)R.", "calls a int"),
    "a call without a tuple": (b"\x80\x02cos\nsystem\nK\x01R.", "arguments that are no tuple"),
    "an instance of a number": (b"\x80\x02K\x01)\x81.", "an instance of a int"),
    "an instance without a tuple": (b"\x80\x02cos\nsystem\nK\x01\x81.", "arguments that are no tuple"),
    "names that are none": (b"\x80\x04K\x01K\x02\x93.", "a name that is no text"),
}


@contextmanager
def little_memory(most: int = 8 * MIB) -> Iterator[None]:
    """Fails where Python or numpy allocate more at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DECLARED)
def test_declared_sizes_and_broken_stacks(name: str, refused: Reading) -> None:
    content, said = DECLARED[name]
    with little_memory():
        words = refused(content)
    assert re.search(said, words)


SHAPED: dict[str, tuple[Any, str]] = {
    "objects": (Call(DTYPE, ("O8", False, True)), "numpy.dtype 'O8', not plain numbers"),
    "an object scalar": (Call(SCALAR, (Call(DTYPE, ("O8", 0, 1)), b"12345678")), "numpy.dtype 'O8'"),
    "an object array": (array((1,), [Global("os", "system")], Call(DTYPE, ("|O", 0, 1))), "numpy.dtype '|O'"),
    "a list of objects as numbers": (array((1,), [Global("os", "system")]), "holds objects"),
    "texts": (Call(DTYPE, ("U9", False, True)), "numpy.dtype 'U9'"),
    "a dtype of no name": (Call(DTYPE, ()), "not plain numbers"),
    "a dtype of a list": (Call(DTYPE, ([("a", "O")],)), "not plain numbers"),
    "fields": (Built(Call(DTYPE, ("f8", 0, 1)), (3, "<", None, ("a",), {"a": 1}, 8, 1, 0)), "has fields"),
    "a subarray": (Built(Call(DTYPE, ("f8", 0, 1)), (3, "<", (DTYPE, (1 << 30,)), None, None, 8, 1, 0)), "has fields"),
    "a scalar of other bytes": (Call(SCALAR, (FLOAT64, b"1234")), "other bytes than its dtype"),
    "a scalar of nothing": (Call(SCALAR, ()), "other bytes than its dtype"),
    "a billion numbers": (array((1 << 30,), b"12345678"), r"shape \[1073741824\] and 8 bytes"),
    "a product that overflows": (array((1 << 32, 1 << 32), b""), r"shape \[4294967296, 4294967296\] and 0 bytes"),
    "a shape below nothing": (array((-1, -1), b"12345678"), r"shape \[-1, -1\]"),
    "a shape of no numbers": (array(("1",), b"12345678"), "the shape a tuple"),
    "nothing of much": (array((0, 1 << 62, 1 << 62), b""), "and 0 bytes"),
    "too many axes": (array((1,) * 100, b"12345678"), "and 8 bytes"),
    "an array of no state": (Built(Call(RECONSTRUCT, (NDARRAY, (0,), b"b")), {"a": 1}), "a state that is none"),
    "an array of dill by a call": (
        Call(Global("dill._dill", "_create_array"), (Global("os", "system"), ("x",), None, None)),
        "made by something that makes no arrays",
    ),
    "a buffer": (
        Call(Global("numpy._core.numeric", "_frombuffer"), (b"12345678", FLOAT64, (1 << 40,), "C")),
        r"and 8 bytes",
    ),
    "a buffer of a name": (Call(Global("numpy._core.numeric", "_frombuffer"), ("x", FLOAT64, (1,), "C")), "a buffer"),
    "another encoding": (Call(Global("_codecs", "encode"), ("x", "rot13")), "something else than bytes"),
    "an encoding of no letters": (Call(Global("_codecs", "encode"), ("\u1234", "latin1")), "it is damaged"),
    "bytes by their number": (Call(Global("builtins", "bytearray"), (1 << 40,)), "something that is no bytes"),
    "a list of a number": (Call(Global("builtins", "list"), (1 << 40,)), "something that is no items"),
    "a set of lists": (Call(Global("builtins", "set"), ([[1]],)), "a list as a key"),
    "a table of numbers": (Call(Global("collections", "OrderedDict"), ([1, 2],)), "something that is no items"),
    "a table of lists": (Call(Global("collections", "OrderedDict"), ([[[1], 2]],)), "a list as a key"),
    "a number of a text": (Call(Global("builtins", "int"), ("9" * 5000,)), "something that is none"),
    "a type of dill by a number": (Call(Global("dill._dill", "_load_type"), (3,)), "something that is no text"),
    "a network of nothing": (Call(PERSISTENT, ()), "without name and state"),
    "a network without a state": (Call(PERSISTENT, ({"class_name": "G"},)), "without name and state"),
    "a storage of a text": (Call(LOAD, ("x",)), "something else than bytes"),
    "a storage of a pickle": (Call(LOAD, (pickled([1], 2),)), "begins like a file of torch"),
    "a storage of a tensor": (
        Call(LOAD, (legacy(tensor("0", 1, (1,), (1,)), {"0": (1, b"1234")}),)),
        "hold a Tensor instead",
    ),
    "a storage in a storage": (Call(LOAD, (legacy(Call(LOAD, (b"",))),)), "it calls torch.storage._load_from_bytes"),
    "a storage that is cut": (Call(LOAD, (legacy(storage_id("0", 4), {"0": (4, b"1234")}),)), "it is truncated"),
    "a storage of another size": (Call(LOAD, (legacy(storage_id("0", 1), {"0": (9, b"1234")}),)), "another size"),
    "a storage of no list": (Call(LOAD, (legacy(storage_id("0", 1), {"1": (1, b"1234")}),)), "list of its storages"),
}


@pytest.mark.parametrize("name", SHAPED)
def test_values_of_impossible_shapes(name: str, refused: Reading) -> None:
    value, said = SHAPED[name]
    for protocol in (2, 5):
        with little_memory():
            words = refused(pickled(snapshot(D=[value]), protocol))
        assert re.search(said.replace("'|O'", r"'\|O'"), words)


VIEWS = {
    "a billion by strides of nothing": ((1 << 15, 1 << 15), (0, 0), 0),
    "a billion": ((1 << 30,), (1,), 0),
    "more than there is": ((5,), (1,), 0),
    "behind the end": ((2,), (1,), 3),
    "far behind the end": ((1,), (1,), 1 << 40),
    "by strides": ((2, 2), (3, 1), 0),
    "repeated": ((4, 2), (1, 0), 0),
    "strides below nothing": ((2,), (-1,), 2),
    "an offset below nothing": ((1,), (1,), -1),
    "sizes below nothing": ((-1,), (1,), 0),
    "an offset of many bits": ((1,), (1,), 1 << 5000),
    "sizes of many bits": ((1 << 5000,), (1,), 0),
    "strides of another number": ((2, 2), (1,), 0),
    "nothing of much": ((0, 1 << 62), (1, 1), 0),
    "too many axes": ((1,) * 65, (1,) * 65, 0),
    "sizes of no numbers": (("1",), (1,), 0),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("rebuild", ["_rebuild_tensor_v2", "_rebuild_tensor_v3"])
def test_tensors_stay_within_their_storage(name: str, rebuild: str, tmp_path: Path, refused: Reading) -> None:
    sizes, strides, offset = VIEWS[name]
    more = (Global("torch", "float32"),) if rebuild.endswith("3") else ()
    for content in (legacy, None):
        view = Call(Global("torch._utils", rebuild), (storage_id("0", 4), offset, sizes, strides, False, {}, *more))
        path = tmp_path / "a.pth"
        if content is None:
            Archive({"a": view}, {"archive/data/0": bytes(16)}).write(path)
        else:
            path.write_bytes(legacy({"a": view}, {"0": (4, bytes(16))}))
        assert "a tensor of it has the shape" in refused(path)


@pytest.mark.parametrize("count", [500, 1 << 30, 1 << 62, 1 << 63, -1])
def test_storages_are_not_allocated_before_their_bytes_are_there(
    count: int, tmp_path: Path, refused: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("memory was taken")

    monkeypatch.setattr("preimage.harness.reading.tensors.torch.empty", never)
    said = "declares|by a persistent id"
    assert re.search(said, refused(legacy({"a": storage_id("0", count)}, {"0": (4, bytes(16))})))
    archive = Archive({"a": storage_id("0", count)}, {"archive/data/0": bytes(16)})
    assert re.search(said, refused(archive.write(tmp_path / "a.pth")))


@pytest.mark.parametrize("value", [Call(Global("torch._utils", "_rebuild_tensor_v2"), (1, 2)), (1,)])
def test_tensors_of_other_things_are_refused(value: Any, refused: Reading) -> None:
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (value, True, {}))
    assert re.search("a tensor of it is built|a parameter of it is no tensor", refused(pickled([parameter])))
    typed = Call(Global("torch._tensor", "_rebuild_from_type_v2"), (Global("os", "system"), None, ("x",), {}))
    assert "built by something that builds no tensors" in refused(pickled([typed]))
    assert "torch.Size of it is none" in refused(pickled([Call(Global("torch", "Size"), (3,))]))
    third = Call(Global("torch._utils", "_rebuild_tensor_v3"), (1, 2))
    assert "a dtype" in refused(pickled([third]))


def test_what_unfolds_is_refused(refused: Reading) -> None:
    """One long text, encoded again and again; one storage, read again and again: each time by three bytes."""
    long = b"X" + struct.pack("<I", MIB) + b"a" * MIB + b"X\x06\x00\x00\x00latin1\x86q\x01"
    content = b"\x80\x02(c_codecs\nencode\nq\x00" + long + b"R" + b"h\x00h\x01R" * 200 + b"l."
    with little_memory(64 * MIB):
        assert "unfolds into more than" in refused(content)
    payload = legacy(storage_id("0", MIB // 4), {"0": (MIB // 4, bytes(MIB))})
    head = b"\x80\x02(ctorch.storage\n_load_from_bytes\nq\x00B" + struct.pack("<I", len(payload)) + payload
    assert "unfolds into more than" in refused(head + b"\x85q\x01R" + b"h\x00h\x01R" * 200 + b"l.")


def test_limits_are_the_callers(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02(" + b"N" * 5000 + b"l.")
    held_in(path)
    with nothing_runs(canary), pytest.raises(WeightsError, match="it has 5005B, and files of at most 5000B are read"):
        held_in(path, ReadingLimits(file=5000))
    with nothing_runs(canary), pytest.raises(WeightsError, match="more operations than any checkpoint needs"):
        network_in(path, ReadingLimits(operations=5000))


def test_depth_is_no_matter(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".")
    with nothing_runs(canary):
        held = held_in(path)
    depth = 1
    while isinstance(held, list) and held:
        held, depth = held[0], depth + 1
    assert depth == 50_000


def test_networks_without_end_are_refused(tmp_path: Path, canary: Path) -> None:
    """A network within itself, and one of a few bytes that stands for 2^40."""
    path = tmp_path / "a.pkl"
    modules: dict[str, Any] = {}
    modules["within"] = network("Layer", {}, {}, _modules=modules)
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, _modules=modules)}))
    with nothing_runs(canary), pytest.raises(WeightsError, match="contain one another without end"):
        network_in(path).tensors()
    inner = network("Layer", {"w": torch.ones(1)})
    for _ in range(40):
        inner = network("Layer", {}, {"a": inner, "b": inner})
    path.write_bytes(pickled({"G_ema": inner}))
    with nothing_runs(canary), pytest.raises(WeightsError, match="contain one another without end"):
        network_in(path).tensors()


def test_a_value_of_two_to_the_sixty_parts_is_looked_at_once(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, bomb=Raw(layers(60, b"K\x01")))}))
    with nothing_runs(canary):
        assert list(network_in(path).attributes) == ["training", "bomb"]
