"""The example plug-in, installed for real: it is found, holds the contract, is scored, and passes its own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "example-plugin"
MODEL = "shapes-coordinate-net"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in installed beside it, in ``site``: its code, weights and entry point."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    ended = subprocess.run(
        [sys.executable, "-m", "pip", *pip, "--target", str(folder / "site"), str(source)],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def typed(home: Path, *command: str) -> str:
    """What a command prints, where the plug-in is installed."""
    path = os.pathsep.join([str(home / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=home,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def preimage(home: Path, *arguments: str) -> str:
    return typed(home, "preimage.harness.cli", *arguments)


def test_it_is_installed_with_all_that_it_needs(home: Path) -> None:
    package = home / "site" / "preimage_shapes"
    assert (package / f"{MODEL}.yaml").is_file()
    assert (package / f"{MODEL}.safetensors").is_file()
    assert (package / "py.typed").is_file()


def test_it_is_found_and_listed(home: Path) -> None:
    (line,) = [line for line in preimage(home, "plugins").splitlines() if line.startswith("shapes ")]
    assert "loaded" in line
    assert "preimage-shapes (preimage_shapes)" in line
    listed = {thing["name"]: thing for thing in json.loads(preimage(home, "list", "models", "--json"))}
    assert listed[MODEL]["dataset"] == "shapes"


def test_it_holds_the_contract(home: Path) -> None:
    said = preimage(home, "check", MODEL)
    assert said.count("held") >= 8
    assert "broken" not in said


def test_it_is_scored(home: Path) -> None:
    preimage(home, "run", "-b", "recovery", "-m", MODEL, "--limit", "8", "--workers", "1")
    scores = {row["metric"]: row for row in json.loads(preimage(home, "scores", "--json"))}
    assert scores["mse"]["n"] == 8
    assert scores["mse"]["dataset"] == "shapes"
    assert 0 <= scores["mse"]["value"] < 0.05
    assert 0 <= scores["floor_mse"]["value"] < 0.05


def test_its_own_tests_pass(home: Path) -> None:
    said = typed(home, "pytest", "-q", "-p", "no:cacheprovider", "source/tests")
    assert "3 passed" in said
