"""Files that have something called, in every way that a pickle knows: refused, the global named, nothing run."""

from __future__ import annotations

import copyreg
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Reading
from .watch import nothing_runs
from .written import Archive, Call, Global, Instance, Raw, Stored, legacy, network, pickled, snapshot

CODE = Call(Global("dill._dill", "_create_code"), (0, 0, 0, 0, 0, b"", (), (), (), "f", "f", 1, b"", (), ()))
FUNCTION = Call(Global("dill._dill", "_create_function"), (CODE, {}, "f", None, None))


def text(value: str) -> bytes:
    """A text as an operation."""
    return pickle.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()


def hostile(canary: Path) -> dict[str, tuple[Any, str]]:
    """Values that run something where a pickle is read as usual, with the global that the error names."""
    line, python = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    popen, system = Global("subprocess", "Popen"), Global("os", "system")
    imported = Call(Global("builtins", "__import__"), ("os",))
    return {
        "os.system": (Call(system, (line,)), "os.system"),
        "posix.system": (Call(Global("posix", "system"), (line,)), "posix.system"),
        "nt.system": (Call(Global("nt", "system"), (line,)), "nt.system"),
        "INST": (Raw(b"(" + text(line) + b"ios\nsystem\n"), "os.system"),
        "INST of nothing": (Raw(b"(ios\ngetcwd\n"), "os.getcwd"),
        "OBJ": (Raw(b"(cos\nsystem\n" + text(line) + b"o"), "os.system"),
        "OBJ of nothing": (Raw(b"(cos\ngetcwd\no"), "os.getcwd"),
        "STACK_GLOBAL": (Raw(text("os") + text("system") + b"\x93" + text(line) + b"\x85R"), "os.system"),
        "STACK_GLOBAL of the memo": (
            Raw(text("os") + text("system") + b"\x93q\x300h\x30" + text(line) + b"\x85R"),
            "os.system",
        ),
        "NEWOBJ": (Instance(popen, ([line],)), "subprocess.Popen"),
        "NEWOBJ_EX": (Raw(b"csubprocess\nPopen\n" + text(line) + b"\x85}\x92"), "subprocess.Popen"),
        "_reconstructor": (Call(Global("copy_reg", "_reconstructor"), (popen, None, None)), "subprocess.Popen"),
        "__newobj__": (Call(Global("copyreg", "__newobj__"), (popen, line)), "subprocess.Popen"),
        "__reduce_ex__": (Call(Global("copyreg", "__reduce_ex__"), (system, 2)), "copyreg.__reduce_ex__"),
        "check_output": (
            Call(Global("subprocess", "check_output"), (["touch", str(canary)],)),
            "subprocess.check_output",
        ),
        "eval": (Call(Global("builtins", "eval"), (python,)), "builtins.eval"),
        "exec": (Call(Global("builtins", "exec"), (python,)), "builtins.exec"),
        "eval of Python 2": (Call(Global("__builtin__", "eval"), (python,)), "builtins.eval"),
        "execfile": (Call(Global("__builtin__", "execfile"), ("x.py",)), "builtins.execfile"),
        "open": (Call(Global("builtins", "open"), (str(canary), "w")), "builtins.open"),
        "io.open": (Call(Global("io", "open"), (str(canary), "w")), "io.open"),
        "compile": (Call(Global("builtins", "compile"), (python, "x", "exec")), "builtins.compile"),
        "__import__": (Call(Call(Global("builtins", "getattr"), (imported, "system")), (line,)), "builtins.__import__"),
        "getattr of a module": (Call(Global("builtins", "getattr"), (Global("os", "path"), "os")), "os.path"),
        "setattr of a module": (Call(Global("builtins", "setattr"), (Global("sys", "modules"), "a", 1)), "sys.modules"),
        "map": (Call(Global("builtins", "list"), (Call(Global("builtins", "map"), (system, [line])),)), "builtins.map"),
        "partial": (Call(Call(Global("functools", "partial"), (system, line))), "functools.partial"),
        "reduce": (Call(Global("functools", "reduce"), (system, [line], line)), "functools.reduce"),
        "attrgetter": (Call(Global("operator", "attrgetter"), ("system",)), "operator.attrgetter"),
        "methodcaller": (Call(Global("operator", "methodcaller"), ("touch",)), "operator.methodcaller"),
        "a dotted name": (Call(Global("os", "system.__call__"), (line,)), "os.system.__call__"),
        "a dotted name of a known module": (
            Call(Global("collections", "OrderedDict.fromkeys.__self__"), ()),
            "collections.OrderedDict.fromkeys.__self__",
        ),
        "a module within torch": (
            Call(Global("torch.serialization", "os.system"), (line,)),
            "torch.serialization.os.system",
        ),
        "import_module": (Call(Global("importlib", "import_module"), ("antigravity",)), "importlib.import_module"),
        "runpy": (Call(Global("runpy", "run_path"), ("x.py",)), "runpy.run_path"),
        "marshal": (Call(Global("marshal", "loads"), (b"\xe3",)), "marshal.loads"),
        "pickle.loads": (Call(Global("pickle", "loads"), (b"cos\ngetcwd\n)R.",)), "pickle.loads"),
        "_pickle.loads": (Call(Global("_pickle", "loads"), (b"cos\ngetcwd\n)R.",)), "_pickle.loads"),
        "torch.load": (Call(Global("torch", "load"), ("other.pth",)), "torch.load"),
        "torch.serialization.load": (Call(Global("torch.serialization", "load"), ("x",)), "torch.serialization.load"),
        "torch.hub": (Call(Global("torch.hub", "load"), ("a/b", "c")), "torch.hub.load"),
        "torch.jit": (Call(Global("torch.jit", "load"), ("x",)), "torch.jit.load"),
        "numpy.load": (Call(Global("numpy", "load"), ("x.npy", None, True)), "numpy.load"),
        "runstring": (Call(Global("numpy.testing", "runstring"), (python, {})), "numpy.testing.runstring"),
        "joblib": (Call(Global("joblib", "load"), ("x",)), "joblib.load"),
        "cloudpickle": (Call(Global("cloudpickle.cloudpickle", "_make_function"), (1,)), "cloudpickle.cloudpickle"),
        "dnnlib": (Call(Global("dnnlib.util", "call_func_by_name"), ("os.system",)), "dnnlib.util.call_func_by_name"),
        "_import_module": (Call(Global("dill._dill", "_import_module"), ("os",)), "dill._dill._import_module"),
        "_eval_repr": (Call(Global("dill._dill", "_eval_repr"), (python,)), "dill._dill._eval_repr"),
        "FunctionType": (Call(Global("types", "FunctionType"), (CODE, {})), "types.FunctionType"),
        "CodeType": (Instance(Global("types", "CodeType"), (0,)), "types.CodeType"),
        "ctypes": (Call(Global("ctypes", "CDLL"), ("libc.so.6",)), "ctypes.CDLL"),
        "socket": (Call(Global("socket", "create_connection"), (("localhost", 9),)), "socket.create_connection"),
        "pty": (Call(Global("pty", "spawn"), (line,)), "pty.spawn"),
        "webbrowser": (Call(Global("webbrowser", "open"), ("http://localhost",)), "webbrowser.open"),
        "timeit": (Call(Global("timeit", "timeit"), (python,)), "timeit.timeit"),
        "shutil": (Call(Global("shutil", "rmtree"), ("nothing",)), "shutil.rmtree"),
        "add_extension": (Call(Global("copyreg", "add_extension"), ("os", "system", 1)), "copyreg.add_extension"),
        "__main__": (Call(Global("__main__", "main"), ()), "__main__.main"),
        "a program's function": (Call(Global("somebody.program", "start"), ()), "somebody.program.start"),
    }


NAMES = list(hostile(Path("canary")))


def in_a_pickle(value: Any, path: Path) -> None:
    path.write_bytes(pickled(value))


def in_a_pickle_of_protocol_5(value: Any, path: Path) -> None:
    path.write_bytes(pickled({"a": value}, 5))


def in_a_pickle_of_protocol_1(value: Any, path: Path) -> None:
    path.write_bytes(pickled({"a": [value]}, 1))


def in_a_snapshot(value: Any, path: Path) -> None:
    path.write_bytes(pickled(snapshot(D=value)))


def in_the_generator(value: Any, path: Path) -> None:
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, activation=value)}))


def in_an_archive(value: Any, path: Path) -> None:
    Archive({"weight": value}).write(path)


def in_an_older_file(value: Any, path: Path) -> None:
    path.write_bytes(legacy({"weight": value}))


def in_a_storage(value: Any, path: Path) -> None:
    path.write_bytes(pickled(snapshot(D=Call(Global("torch.storage", "_load_from_bytes"), (legacy(value),)))))


def in_a_bare_storage(value: Any, path: Path) -> None:
    path.write_bytes(pickled(Call(Global("torch.storage", "_load_from_bytes"), (pickled(value, 2),))))


PLACES = [
    *(in_a_pickle, in_a_pickle_of_protocol_5, in_a_pickle_of_protocol_1, in_a_snapshot, in_the_generator),
    *(in_an_archive, in_an_older_file, in_a_storage),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_calls_are_refused_and_named(
    name: str, place: Callable[[Any, Path], None], tmp_path: Path, canary: Path, refused: Reading
) -> None:
    value, said = hostile(canary)[name]
    path = tmp_path / "hostile.pkl"
    place(value, path)
    assert re.search(rf"no code of a checkpoint is run: it calls .*{re.escape(said)}", refused(path))


def test_a_storage_without_its_head_is_refused(tmp_path: Path, canary: Path, refused: Reading) -> None:
    in_a_bare_storage(hostile(canary)["os.system"][0], tmp_path / "hostile.pkl")
    assert "it calls os.system" in refused(tmp_path / "hostile.pkl")


@pytest.mark.parametrize("name", ["os.system", "posix.system", "INST", "OBJ", "STACK_GLOBAL", "eval", "partial"])
def test_the_canary_sings_where_pickles_are_read_as_usual(name: str, canary: Path) -> None:
    pickle.loads(pickled({"a": hostile(canary)[name][0]}))
    assert canary.exists()
    canary.unlink()
    with pytest.raises(AssertionError), nothing_runs(canary):
        pickle.loads(pickled({"a": hostile(canary)[name][0]}))


@pytest.mark.parametrize(("operation", "width"), [("EXT1", 1), ("EXT2", 2), ("EXT4", 4)])
def test_extension_codes_are_refused(operation: str, width: int, canary: Path, refused: Reading) -> None:
    copyreg.add_extension("os", "system", 241)
    try:
        code = {1: pickle.EXT1, 2: pickle.EXT2, 4: pickle.EXT4}[width] + (241).to_bytes(width, "little")
        content = b"\x80\x02" + code + text(f"touch {canary}") + b"\x85R."
        assert operation in refused(content)
        pickle.loads(content)
        assert canary.exists()
    finally:
        copyreg.remove_extension("os", "system", 241)


@pytest.mark.parametrize("content", [b"\x80\x05\x97.", b"\x80\x05\x97\x98."])
def test_buffers_given_beside_a_pickle_are_refused(content: bytes, refused: Reading) -> None:
    assert "which no checkpoint needs" in refused(content)


@pytest.mark.parametrize("content", [b"Pos\n.", b"\x80\x02X\x02\x00\x00\x00osQ."])
def test_persistent_ids_are_refused_where_there_are_none(content: bytes, refused: Reading) -> None:
    assert "by a persistent id" in refused(content)


def test_persistent_ids_of_other_kinds_are_refused(tmp_path: Path, refused: Reading) -> None:
    module = Stored(("module", Global("os", "system"), "x.py", "import os"))
    assert "a whole module with the text of its class" in refused(Archive([module]).write(tmp_path / "a.pth"))
    for identity in ("os", ("storage", Global("os", "system"), "0", "cpu", 1), ("storage",), 3):
        assert "by a persistent id" in refused(Archive([Stored(identity)]).write(tmp_path / "a.pth"))
