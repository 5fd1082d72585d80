"""The layout: which package may import which, what a wheel holds, and that nothing is importable bare."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "adapters", "benchmarks", "leaderboard")
MAY_IMPORT = {
    "harness": {"harness"},
    "adapters": {"adapters", "harness"},
    "benchmarks": {"benchmarks", "harness"},
    "leaderboard": {"leaderboard", "harness"},
}
RESULTS_ONLY = {
    "results",
    "errors",
    "rows",
    "hooks",
    "statistics",
    "score_files",
    "pairing",
    "metric_names",
    "likelihood_scores",
}
"""What the leaderboard may use of the harness."""


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        if "speed" in file.parts:
            continue  # scripts, not part of the package
        for module in imports(file):
            parts = module.split(".")
            if parts[0] == "preimage":
                assert parts[1] in MAY_IMPORT[package], f"{file.name} imports {module}"
            assert parts[0] not in PACKAGES, f"{file.name} imports {module} bare"


def test_the_leaderboard_reads_results_and_nothing_else() -> None:
    for file in (ROOT / "leaderboard").rglob("*.py"):
        for module in imports(file):
            assert not module.startswith(("torch", "numpy.random")), f"{file.name} imports {module}"
            if module.startswith("preimage.harness."):
                assert module.split(".")[2] in RESULTS_ONLY, f"{file.name} imports {module}"


def test_every_package_is_listed_and_typed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")}
    assert listed == {"preimage." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("preimage.adapters.fashion_mnist", "fashion-mnist.npz"),
        ("preimage.adapters.fashion_mnist", "LICENSE-fashion-mnist.txt"),
        ("preimage.adapters.backbones", "alexnet.safetensors"),
        ("preimage.adapters.backbones", "LICENSE-alexnet.txt"),
        ("preimage.adapters.embedded", "fashion-dcgan.safetensors"),
        ("preimage.benchmarks", "suites/quick.yaml"),
        ("preimage.leaderboard", "templates/index.html"),
        ("preimage.leaderboard", "static/board.css"),
    ],
)
def test_data_is_installed_with_the_packages(package: str, file: str) -> None:
    assert resources.files(package).joinpath(file).is_file()


def test_shipped_data_and_weights_stay_small() -> None:
    assert (ROOT / "adapters/fashion_mnist/fashion-mnist.npz").stat().st_size < 6_000_000
    backbone = ROOT / "adapters/backbones/alexnet.safetensors"
    zoo = [file for file in (ROOT / "adapters").rglob("*.safetensors") if file != backbone]
    assert sum(file.stat().st_size for file in zoo) < 12_000_000, "of all models together"
    assert backbone.stat().st_size < 10_000_000, "which LPIPS looks through out of the box"


def test_nothing_is_importable_bare(tmp_path: Path) -> None:
    lines = [f"import importlib.util as u; assert u.find_spec({name!r}) is None, {name!r}" for name in PACKAGES]
    lines.append("import preimage.adapters, preimage.benchmarks, preimage.harness, preimage.leaderboard")
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, check=True, env={"PATH": ""})


def test_the_checkout_holds_what_the_layout_says() -> None:
    allowed = {"pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md", "docs", "tests", *PACKAGES}
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in found.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == allowed
