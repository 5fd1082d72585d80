"""Objects in a file are records of names and data: no class hears of them, whatever states and items they are given."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.checkpoints import held_in, network_in
from preimage.harness.errors import WeightsError
from preimage.harness.reading.inert import InertObject

from .conftest import Reading
from .test_hostile_calls import CODE
from .watch import nothing_runs
from .written import Built, Call, Global, Instance, Raw, legacy, network, pickled, snapshot

FUNCTION = Call(Global("dill._dill", "_create_function"), (CODE, {}, "f", None, None))


class Sings:
    """A class that exists, and would run something."""

    made = 0

    def __new__(cls, *_: object) -> Sings:
        Sings.made += 1
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        Sings.made += 1

    def __setattr__(self, name: str, value: object) -> None:
        Sings.made += 1

    def append(self, *_: object) -> None:
        Sings.made += 1

    extend = add = __setitem__ = append


SINGS = Global(__name__, "Sings")


@pytest.mark.parametrize(
    "value",
    [
        Instance(SINGS, (1,), {"a": 1}),
        Instance(SINGS, (), ({"__class__": 1}, {"__dict__": {}})),
        Built(Instance(SINGS), {"__setstate__": Global("os", "system")}),
        Raw(b"c" + __name__.encode() + b"\nSings\n)\x81K\x01a(K\x01K\x02e"),
        Raw(b"c" + __name__.encode() + b"\nSings\n)\x81K\x01K\x02s(K\x01K\x02u(K\x03\x90"),
    ],
)
def test_objects_are_records_and_their_classes_never_hear_of_it(value: Any, tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled({"a": value, "b": 1}))
    Sings.made = 0
    with nothing_runs(canary):
        held = held_in(path)
    assert isinstance(held, dict) and held["b"] == 1 and Sings.made == 0
    found = held["a"]
    assert type(found) is InertObject and str(found.of) == f"{__name__}.Sings"
    assert found.state is not None or found.items
    pickle.loads(path.read_bytes())
    assert Sings.made > 0


def test_a_file_that_is_one_such_object_is_refused(tmp_path: Path, refused: Reading) -> None:
    assert "Sings" in refused(pickled(Instance(SINGS, (), {"a": 1})))
    assert "os.system" in refused(pickled(Global("os", "system")))


@pytest.mark.parametrize(
    "target",
    [
        Global("collections", "OrderedDict"),
        Global("torch_utils.persistence", "_reconstruct_persistent_obj"),
        Global("os", "system"),
        Global("torch", "float32"),
        Global("torch", "FloatStorage"),
        network("Generator", {}),
        [1],
        3,
        "a",
    ],
    ids=str,
)
def test_states_of_what_has_none_are_refused(target: Any, canary: Path, refused: Reading) -> None:
    state = {"__dict__": {}, "__call__": Global("os", "system"), "__class__": SINGS}
    said = refused(pickled({"G_ema": snapshot()["G_ema"], "D": Built(target, state)}))
    assert "sets the state of a" in said


def test_states_of_tables_are_dropped(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "a.pkl"
    ordered = Call(Global("collections", "OrderedDict"), ())
    path.write_bytes(pickled({"a": Built(ordered, {"__class__": SINGS, "keys": Global("os", "system"), "x": 1})}))
    with nothing_runs(canary):
        held = held_in(path)
    assert isinstance(held, dict) and not vars(held["a"]) and not held["a"].keys()


@pytest.mark.parametrize(
    "value", [FUNCTION, CODE, Call(FUNCTION, (1,)), Call(Global("builtins", "getattr"), (SINGS, "a"))]
)
def test_functions_of_dill_are_inert_beside_a_generator_and_refused_elsewhere(
    value: Any, tmp_path: Path, canary: Path, refused: Reading
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled(snapshot(D=network("Discriminator", {}, {}, features=value))))
    with nothing_runs(canary):
        assert list(network_in(path).tensors()) == ["w", "w_avg", "affine.weight", "embed.weight"]
    for content in (pickled({"a": value}), legacy({"a": value})):
        assert re.search(r"it calls (dill._dill._create_|builtins.getattr).* no network", refused(content))
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, activation=[{"a": (value,)}])}))
    with nothing_runs(canary), pytest.raises(WeightsError, match=r"it holds what a call of .* gave, and no code"):
        network_in(path)


def test_the_text_of_a_class_is_never_run(tmp_path: Path, canary: Path) -> None:
    source = f"import os; os.system('touch {canary}')"
    meta = {"type": "class", "version": 6, "module_src": source, "class_name": "G", "state": {"_modules": {}}}
    path = tmp_path / "a.pkl"
    path.write_bytes(
        pickled({"G_ema": Call(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))})
    )
    with nothing_runs(canary):
        record = network_in(path)
    assert record.class_name == "G" and source not in str(record.state)
