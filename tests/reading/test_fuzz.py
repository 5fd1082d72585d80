"""Files of the official layouts with bytes changed at random: read as data or refused, soon, with nothing run."""

from __future__ import annotations

import pickletools
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preimage.harness.checkpoints import held_in, network_in
from preimage.harness.errors import PreimageError

from .watch import nothing_runs
from .written import Archive, legacy, pickled, snapshot, tensor

SLOWEST = 10.0  # seconds of a processor
MIB = 1 << 20
FRAGMENTS = [
    *(b"cos\nsystem\n", b"(S'touch canary'\nios\nsystem\n", b"R", b"\x85R", b"\x81", b"b", b"o", b"\x93", b"\x92"),
    *(b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"Q", b"P1\n", b"\x97", b"\x98", b"h\x00", b"q\x00"),
    *(b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"B\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7, b"\x95" + b"\xff" * 8),
    *(b"(", b"t", b"l", b"d", b"}", b"]", b")", b"0", b"1", b"2", b".", b"e", b"u", b"s", b"a", b"N", b"K\xff"),
    *(b"J\xff\xff\xff\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"cnumpy\ndtype\n", b"ctorch\nload\n"),
    *(b"cbuiltins\ngetattr\n", b"cbuiltins\nset\n", b"cdill._dill\n_create_function\n", b"X\x02\x00\x00\x00os"),
]
SMALL = {
    "snapshot": lambda: pickled(snapshot()),
    "snapshot of protocol 5": lambda: pickled(snapshot(), 5),
    "older file": lambda: legacy({"a": tensor("0", 4, (2, 2), (2, 1))}, {"0": (4, bytes(16))}),
    "numbers": lambda: pickled([np.arange(6.0).reshape(2, 3), np.float32(2), torch.ones(3, 3)], 2),
}


def operations(content: bytes) -> list[int]:
    """Where the operations of a pickle begin: what changes there changes the most."""
    found = []
    try:
        for _, _, place in pickletools.genops(content):
            found.append(place or 0)
    except ValueError:
        pass
    return found


def mutate(content: bytes, places: list[int], draw: Callable[[st.SearchStrategy[int]], int]) -> bytes:
    """Some changes at once: bytes replaced, parts cut, doubled or moved, operations put in between."""
    held = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        kind, place = draw(st.integers(0, 5)), places[draw(st.integers(0, len(places) - 1))] + draw(st.integers(0, 3))
        length, other = draw(st.integers(0, 40)), places[draw(st.integers(0, len(places) - 1))]
        if kind == 0:
            held[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 1:
            del held[place : place + length]
        elif kind == 2:
            held[place:place] = FRAGMENTS[draw(st.integers(0, len(FRAGMENTS) - 1))]
        elif kind == 3:
            held[place:place] = held[other : other + length] * draw(st.integers(1, 50))
        elif kind == 4:
            held[place : place + length] = held[other : other + length]
        else:
            held[place : place + 4] = draw(st.integers(0, (1 << 32) - 1)).to_bytes(4, "little")
    return bytes(held)


def survive(content: bytes, path: Path) -> None:
    """Read the file wholly. Only a PreimageError may come of it."""
    path.write_bytes(content)
    start = time.process_time()
    with nothing_runs(path.parent / "canary"):
        for read in (whole, generator):
            try:
                read(path)
            except PreimageError as error:
                assert len(str(error)) < 2000
    assert time.process_time() - start < SLOWEST


def whole(path: Path) -> None:
    """All that a file holds."""
    held_in(path)


def generator(path: Path) -> None:
    """All that is asked of a snapshot."""
    record = network_in(path)
    assert record.tensors() is not None and record.attributes is not None
    assert record.init_args is not None and record.init_kwargs is not None


def survive_with_little(content: bytes, path: Path) -> None:
    """Read the file wholly, which may take little memory."""
    tracemalloc.start()
    try:
        survive(content, path)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_small_files_of_the_official_layouts(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = SMALL[name]()
    places = operations(content) if name != "older file" else list(range(len(content)))
    survive_with_little(mutate(content, places, data.draw), tmp_path_factory.getbasetemp() / "fuzzed.pkl")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_archives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pth"
    content = Archive({"a": tensor("0", 4, (2, 2), (2, 1))}, {"archive/data/0": bytes(16)}).write(path).read_bytes()
    survive_with_little(mutate(content, list(range(len(content))), data.draw), path)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["stylegan2ada-cond", "styleganxl-sr"])
def test_official_snapshots(
    name: str, data: st.DataObject, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = (shared / "golden" / name / "snapshot_nosrc.pkl").read_bytes()
    path = tmp_path_factory.getbasetemp() / "fuzzed.pkl"
    survive(mutate(content, PLACES.setdefault(name, operations(content)), data.draw), path)


PLACES: dict[str, list[int]] = {}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(min_size=1, max_size=3)), max_size=40))
def test_programs_of_random_operations(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    survive_with_little(b"\x80\x04" + b"".join(parts) + b".", tmp_path_factory.getbasetemp() / "fuzzed.pkl")
