"""The documentation: nothing public is left out, links resolve, marked blocks run, the reference is current."""

from __future__ import annotations

import importlib
import pkgutil
import re
import runpy
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

import preimage.harness
from preimage.harness.errors import PreimageError
from preimage.harness.hooks import Hooks
from preimage.harness.results import Results
from preimage.harness.schema import MIGRATIONS
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file: (?P<file>\S+)|run|query) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def marked(page: Path, kind: str) -> list[re.Match[str]]:
    """The page's code blocks under ``<!-- kind ... -->``."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block for block in found if block[1].startswith(kind)]


RUNNABLE = [page for page in PAGES if marked(page, "run")]


def test_there_is_something_to_run() -> None:
    assert {name_of(page) for page in RUNNABLE} >= {
        "README.md",
        "docs/writing-an-adapter.md",
        "docs/writing-a-benchmark.md",
    }


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_is_marked_as_runnable_runs(shell: Shell, page: Path) -> None:
    for block in marked(page, "file"):
        shell.write(block["file"], block["text"])
    for block in marked(page, "run"):
        commands = [line for line in block["text"].splitlines() if line.startswith("$ ")]
        assert commands
        for command in commands:
            program, *arguments = shlex.split(command.removeprefix("$ "), comments=True)
            assert program == "preimage"
            one = ["--workers", "1"] if arguments[0] == "run" else []
            ended = shell(*arguments, *one)
            assert ended.status == 0, f"{command}\n{ended.out}{ended.err}"


def test_the_first_card_has_ten_lines_and_the_first_plugin_fifteen() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "writing-an-adapter.md"):
        card, plugin = marked(page, "file")[:2]
        assert len(card["text"].splitlines()) <= 10
        assert len([line for line in plugin["text"].splitlines() if line]) <= 15


def test_the_queries_of_the_database_page_answer(shell: Shell) -> None:
    few = ("--limit", "4", "--set", "block=4", "--set", "solver.steps=10", "--workers", "1")
    assert shell("run", "-m", "ppca", "-m", "mean-image", *few).status == 0
    queries = [block["text"] for block in marked(ROOT / "docs" / "database.md", "query")]
    assert len(queries) >= 6
    with Results("preimage.db") as results:
        for query in queries:
            assert results.query(query), query


def tables() -> dict[str, list[str]]:
    """Every table and view of the schema with its columns."""
    with closing(sqlite3.connect(":memory:")) as connection:
        db = Database(connection)
        MIGRATIONS.apply(db)
        names = [*db.table_names(), *db.view_names()]
        return {
            name: [row[1] for row in db.execute(f"PRAGMA table_info({name})").fetchall()]
            for name in names
            if not name.startswith("_")
        }


def test_every_table_and_column_is_documented() -> None:
    text = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    schema = tables()
    assert "score" in schema
    assert sections.keys() == schema.keys()
    for table, columns in schema.items():
        assert not [column for column in columns if f"`{column}`" not in sections[table]], table


def test_every_error_is_documented() -> None:
    for package in ("harness", "adapters", "benchmarks", "leaderboard"):
        home = importlib.import_module(f"preimage.{package}")
        for module in pkgutil.walk_packages(home.__path__, f"preimage.{package}."):
            importlib.import_module(module.name)
    classes, waiting = set(), [PreimageError]
    while waiting:
        for error in waiting.pop().__subclasses__():
            if error.__module__.startswith("preimage."):
                classes.add(error.__name__)
                waiting.append(error)
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert sections.keys() == classes
    assert not [name for name, section in sections.items() if "\n> " not in section], "a typical message each"


def test_every_hook_verb_metric_and_name_is_in_the_reference() -> None:
    from preimage.harness.plugins import installed
    from tests.test_cli import VERBS

    assert not [hook for hook in vars(Hooks) if hook.startswith("register_") and f"`{hook}(" not in REFERENCE]
    assert not [verb for verb in VERBS if f"### preimage {verb}\n" not in REFERENCE]
    assert not [name for name in preimage.harness.__all__ if f"| `{name}` |" not in REFERENCE]
    registry = installed()
    for name, benchmark in registry.benchmarks.items():
        assert f"### {name}\n" in REFERENCE
        assert not [metric for metric in benchmark.metrics if f"| `{metric}` |" not in REFERENCE]
    for catalogue in (registry.solvers, registry.suites):
        assert not [name for name in catalogue if f"### {name}\n" not in REFERENCE]
    assert not [name for name in registry.distances if f"| `{name}` |" not in REFERENCE]


def test_everything_in_the_reference_says_what_it_means() -> None:
    """Options, metrics, hooks: no row of a table without a meaning."""
    head: list[str] = []
    for line in REFERENCE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif "meaning" in head:
            assert cells[head.index("meaning")], line


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_reference_is_current_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    written = runpy.run_path(str(ROOT / "docs" / "reference.py"))["reference"]()
    assert written == REFERENCE, "type `python docs/reference.py`"


def test_a_stale_reference_is_found(tmp_path: Path) -> None:
    script = tmp_path / "reference.py"
    script.write_text((ROOT / "docs" / "reference.py").read_text(encoding="utf-8"), encoding="utf-8")
    main = runpy.run_path(str(script))["main"]
    assert main([]) == 0
    assert main(["--check"]) == 0
    page = tmp_path / "reference.md"
    assert page.read_text(encoding="utf-8") == REFERENCE
    page.write_text(REFERENCE + "more\n", encoding="utf-8")
    assert main(["--check"]) == 1


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose)):
        assert "://" not in target, f"{name_of(page)}: {target} is on a network"
        file, _, anchor = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        assert other.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors(other), f"{name_of(page)}: {target}"
