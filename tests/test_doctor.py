"""What a machine lacks: every kind of finding, seen on machines that are made for it."""

from __future__ import annotations

import importlib
import json
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preimage.harness import doctor
from preimage.harness.cards import ImageSpec, ModelCard, Weights
from preimage.harness.doctor import EXTRAS, LOW, Finding
from preimage.harness.plugins import Registry, Sources
from preimage.harness.store import Store
from tests.tiny_world import DATA, TINY, Shell
from tests.tiny_world import shell as shell

ROOT = Path(__file__).resolve().parents[1]


def by_name(findings: Any) -> dict[str, Finding]:
    found = list(findings)
    assert len({finding.name for finding in found}) == len(found)
    for finding in found:
        assert finding.seen
        assert (finding.advice == "") == (finding.state == "ok"), "what is not well says what to type"
    return {finding.name: finding for finding in found}


def of_metadata(tmp_path: Path, text: str) -> PackageMetadata:
    folder = tmp_path / "x.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: x\nVersion: 1\n{text}\n")
    return Distribution.at(folder).metadata


def versions(**installed: str) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    return version


REQUIRES = """\
Requires-Python: >=3.11
Requires-Dist: torch>=2.13
Requires-Dist: numpy>=2.0
Requires-Dist: rich>=13.7
Requires-Dist: tomli>=2; python_version < "3.0"
Requires-Dist: pytest>=8.2; extra == "test"
Requires-Dist: ruff>=0.9; extra == "test"
"""


def test_packages_are_held_against_their_bounds(tmp_path: Path) -> None:
    metadata = of_metadata(tmp_path, REQUIRES)
    found = by_name(doctor.packages(metadata, versions(torch="2.13.0+cpu", numpy="1.26.4", pytest="8.2")))
    assert found.keys() == {"python", "torch", "numpy", "rich", "extra [test]"}
    assert (found["python"].state, found["torch"].state) == ("ok", "ok")
    assert found["torch"].seen == "2.13.0+cpu (>=2.13)"
    assert found["numpy"] == Finding("numpy", "broken", "numpy is 1.26.4; >=2.0 is needed", "pip install 'numpy>=2.0'")
    assert found["rich"] == Finding("rich", "broken", "rich is not installed", "pip install 'rich>=13.7'")
    assert found["extra [test]"].state == "missing"
    assert found["extra [test]"].seen == "ruff is not installed"
    assert "pip install 'preimage[test]'" in found["extra [test]"].advice


def test_what_is_installed_is_ok(tmp_path: Path) -> None:
    installed = versions(torch="3.0", numpy="2.0", rich="14", pytest="9", ruff="1")
    found = by_name(doctor.packages(of_metadata(tmp_path, REQUIRES), installed))
    assert {finding.state for finding in found.values()} == {"ok"}


def test_an_old_python_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.10.2")
    python = by_name(doctor.packages(of_metadata(tmp_path, "Requires-Python: >=3.11"), versions()))["python"]
    assert (python.state, python.seen) == ("broken", "3.10.2; >=3.11 is needed")


def test_every_extra_is_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"].keys() == EXTRAS.keys()


def fake_torch(built: str | None, devices: list[str]) -> SimpleNamespace:
    cuda = SimpleNamespace(
        is_available=lambda: bool(devices), device_count=lambda: len(devices), get_device_name=devices.__getitem__
    )
    capability = SimpleNamespace(get_cpu_capability=lambda: "AVX2")
    return SimpleNamespace(__version__="9.9", version=SimpleNamespace(cuda=built), cuda=cuda,
                           backends=SimpleNamespace(cpu=capability), get_num_threads=lambda: 3)  # fmt: skip


def test_torch_and_its_devices() -> None:
    real = by_name(doctor.processors(importlib.import_module))
    assert real["torch runs"].state == real["cores"].state == "ok"
    good = by_name(doctor.processors(lambda name: fake_torch("13.0", ["A", "B"])))
    assert good["accelerator"] == Finding("accelerator", "ok", "CUDA 13.0: A, B; use it with --device cuda")
    assert good["torch runs"].seen == "9.9, AVX2, 3 threads outside runs"
    none = by_name(doctor.processors(lambda name: fake_torch("13.0", [])))["accelerator"]
    assert (none.state, none.seen) == ("missing", "torch is built for CUDA 13.0 and finds no device")
    cpu = by_name(doctor.processors(lambda name: fake_torch(None, [])))["accelerator"]
    assert (cpu.state, cpu.seen) == ("missing", "this torch is built without CUDA")


def test_a_torch_that_cannot_be_imported_is_broken() -> None:
    def load(name: str) -> Any:
        raise OSError("libcudart.so.13: cannot open shared object file")

    found = by_name(doctor.processors(load))
    assert found["torch runs"].state == "broken"
    assert "OSError: libcudart.so.13" in found["torch runs"].seen
    assert "accelerator" not in found


def test_sqlite_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.sqlite().state == "ok"

    class Old:
        def execute(self, statement: str) -> None:
            if "STRICT" in statement:
                raise sqlite3.OperationalError('near "STRICT": syntax error')

        def close(self) -> None: ...

    monkeypatch.setattr("sqlite3.connect", lambda path: Old())
    found = doctor.sqlite()
    assert found.state == "broken"
    assert "STRICT" in found.seen


def test_the_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert "is not there yet" in doctor.of_database(path).seen
    Store(path).close()
    before = path.read_bytes()
    assert "schema version" in doctor.of_database(path).seen
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    assert "is brought to version" in doctor.of_database(path).seen
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,), "only read"
        db.execute("PRAGMA user_version = 99")
    newer = doctor.of_database(path)
    assert newer.state == "broken"
    assert "schema version 99" in newer.seen
    path.write_bytes(before[:4096] + b"\xff" * (len(before) - 4096))
    damaged = doctor.of_database(path)
    assert damaged.state == "broken"
    assert "damaged" in damaged.seen
    path.write_text("no database at all, but a longer text than a header\n" * 4)
    assert doctor.of_database(path).state == "broken"


def test_folders_that_are_full_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = tmp_path / "not" / "yet"
    fine = doctor.of_folder("cache", absent, required=False, free=lambda path: LOW)
    assert (fine.state, fine.seen) == ("ok", f"'{absent}': 2.0 GB free")
    assert not absent.exists()
    full = doctor.of_folder("cache", absent, required=True, free=lambda path: LOW - 1)
    assert (full.state, "only 2.0 GB free" in full.seen) == ("missing", True)

    def closed(**given: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", closed)
    for required, state in ((True, "broken"), (False, "missing")):
        found = doctor.of_folder("cache", tmp_path, required=required, free=lambda path: LOW)
        assert (found.state, found.seen) == (state, f"'{tmp_path}' cannot be written: Permission denied")


def test_a_token_is_told_of_and_never_shown(tmp_path: Path) -> None:
    secret = "hf_" + "s" * 30
    file = tmp_path / "token"
    assert by_name(doctor.hub({}, file))["Hub token"].state == "missing"
    file.write_text(secret)
    by_file = by_name(doctor.hub({}, file))["Hub token"]
    by_variable = by_name(doctor.hub({"HF_TOKEN": secret}, file))["Hub token"]
    assert (by_file.seen, by_variable.seen) == (f"there is one, by {file}", "there is one, by HF_TOKEN")
    assert secret not in repr((by_file, by_variable))


@pytest.mark.parametrize(("value", "told"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_variables(tmp_path: Path, value: str, told: bool) -> None:
    found = by_name(doctor.hub({"HF_HUB_OFFLINE": value}, tmp_path / "token"))
    assert ("HF_HUB_OFFLINE" in found) == told
    if told:
        assert found["HF_HUB_OFFLINE"].advice.endswith("unset HF_HUB_OFFLINE")


def card(name: str, uri: str, sha256: str | None = None) -> ModelCard:
    return ModelCard(name, "f", "d", ImageSpec(1, 8, 8), 0, weights=Weights(uri, sha256))


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"abc")
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    cards = [card("good", str(file), right), card("changed", str(file), "0" * 64), card("gone", f"{file}.gone"),
             card("package", "package://preimage.adapters/nothing"), card("hub", "hf://nobody/nothing@main/w.pt"),
             ModelCard("code", "f", "d", ImageSpec(1, 8, 8), 0)]  # fmt: skip
    found = by_name(doctor.weights(cards, verify=False))
    assert found["weights"].seen.startswith("2 in place")
    states = {name: finding.state for name, finding in found.items()}
    assert states == {"weights": "ok", "weights of gone": "broken", "weights of package": "broken",
                      "weights of hub": "missing"}  # fmt: skip
    assert "hf://nobody/nothing@main/w.pt is not in the cache" in found["weights of hub"].seen
    assert found["weights of hub"].advice.endswith("now: preimage fetch hub")
    verified = by_name(doctor.weights(cards, verify=True))
    assert verified["weights of changed"].state == "broken"
    assert right in verified["weights of changed"].seen
    assert verified["weights"].seen == "1 in place, 1 as their cards' sha256 says"


def test_data_sets_plugins_and_names_that_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "sets.py"
    file.write_text(
        TINY
        + DATA.replace(
            "register(tiny())", "register(tiny())\n    for name in ('far', 'bad', 'hand'): register(sets(name))"
        )
        + """
from preimage.harness.errors import DatasetError

def sets(name):
    def open_(**given):
        assert given == ({} if name == "hand" else {"offline": True})
        raise ZeroDivisionError("oh") if name == "bad" else DatasetError("put it here by hand")
    return DatasetCard(name, IMAGE, 2, ("test",), open_, downloads=name != "hand")
"""
    )
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    registry = Registry(Sources(plugins=(str(file), str(broken)), entry_points=False))
    sets = by_name(doctor.datasets(registry))
    assert sets["data sets"].seen == "1 at hand: tiny"
    assert (sets["data set far"].state, sets["data set bad"].state) == ("missing", "broken")
    assert "downloaded" in sets["data set far"].advice
    assert (sets["data set hand"].state, sets["data set hand"].advice) == (
        "missing",
        "`preimage run -d hand` says what to do",
    )
    plugins = by_name(doctor.plugins(registry))
    assert plugins["plug-ins"].seen == "1 loaded, 0 models"
    (problem,) = [finding for name, finding in plugins.items() if name != "plug-ins"]
    assert (problem.state, problem.seen) == ("broken", "ZeroDivisionError: division by zero")

    other = tmp_path / "other.py"
    other.write_text(TINY + DATA)
    twice = Sources(plugins=(str(file), str(other)), entry_points=False)
    *_, last = found = list(doctor.examine(tmp_path / "a.db", twice, {"PREIMAGE_DATA": str(tmp_path / "data")}))
    assert str(tmp_path / "data") in by_name(found)["data folder"].seen
    assert (last.name, last.state) == ("plug-ins", "broken")
    assert "both register a dataset named 'tiny'" in last.seen


def test_the_verb_says_the_same_in_both_forms(shell: Shell) -> None:
    ended = shell("doctor", "--json")
    listed = json.loads(ended.out)
    assert [list(thing) for thing in listed] == [["name", "state", "seen", "advice"]] * len(listed)
    assert ended.status == (1 if any(thing["state"] == "broken" for thing in listed) else 0)
    table = shell("doctor").said
    assert not [thing["name"] for thing in listed if thing["name"] not in table]
    assert not list(shell.folder.glob("preimage.db*"))


def test_what_is_required_and_broken_is_exit_status_1(shell: Shell) -> None:
    shell.write("broken.py", "import nothing_of_that_name\n")
    ended = shell("doctor", "--plugin", "broken.py", "--json")
    assert ended.status == 1
    (found,) = [thing for thing in json.loads(ended.out) if thing["state"] == "broken"]
    assert "nothing_of_that_name" in found["seen"]
    assert "preimage plugins --traceback" in found["advice"]
