"""A site of many models: what it costs grows with the models alone, and no page gets large."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from synthetic_results import write_large_database

from preimage.leaderboard import site

MOST = 300_000  # bytes of a page with its style and scripts, without its images


def statements(path: Path, folder: Path) -> tuple[int, dict[str, int]]:
    """How many statements building the site executes, and the size of each of its files."""
    count = 0

    def counted(statement: str) -> None:
        nonlocal count
        count += 1

    opened = sqlite3.connect

    def connect(*given: object, **named: object) -> sqlite3.Connection:
        connection = opened(*given, **named)  # type: ignore[call-overload]  # handed through
        connection.set_trace_callback(counted)
        return connection  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        files = site.site_files(path, folder)
    return count, {name: len(content) for name, content in files.items() if isinstance(content, bytes)}


def test_the_cost_of_a_site_is_linear_in_its_models(tmp_path: Path) -> None:
    found = []
    for models in (6, 12):
        folder = tmp_path / str(models)
        folder.mkdir()
        found.append(statements(write_large_database(folder / "preimage.db", models, 32), folder))
    (few, small), (many, large) = found
    assert many <= 2 * few, (few, many)
    assert len([name for name in large if name.startswith("compare/")]) == 12
    per_model = [
        sum(size for name, size in sizes.items() if name.startswith("compare/")) / models
        for sizes, models in ((small, 6), (large, 12))
    ]
    assert per_model[1] == pytest.approx(per_model[0], rel=0.1)


def test_no_page_of_a_hundred_models_is_large(tmp_path: Path) -> None:
    _, sizes = statements(write_large_database(tmp_path / "preimage.db", 100, 2), tmp_path)
    assert len([name for name in sizes if name.startswith("model/")]) == 100
    shared = sum(size for name, size in sizes.items() if name.startswith("static/") and name.endswith(".css"))
    scripts = {name: sizes[f"static/{name}.js"] for name in ("board", "compare")}
    for name, size in sizes.items():
        if name.endswith(".html") and name != "compare.html":
            assert size + shared + scripts["board"] < MOST, name
    two = sorted((size for name, size in sizes.items() if name.startswith("compare/")), reverse=True)[:2]
    assert len(two) == 2 and sizes["compare.html"] + sum(two) + shared + scripts["compare"] < MOST
