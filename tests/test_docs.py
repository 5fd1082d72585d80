"""The documentation: nothing public is left out, links resolve, marked blocks run, the reference is current."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from sqlite_utils import Database

import preimage.harness
from preimage.harness.cards import ModelCard
from preimage.harness.cli import cli
from preimage.harness.errors import PreimageError
from preimage.harness.hooks import Hooks
from preimage.harness.operators import OPERATORS
from preimage.harness.options import RecoveryOptions, described, options_from, parse_settings
from preimage.harness.plugins import expand, installed
from preimage.harness.results import Results
from preimage.harness.schema import MIGRATIONS
from tests.test_cli import VERBS
from tests.tiny_world import Ended, Shell
from tests.tiny_world import shell as shell

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file: (?P<file>\S+)|run|query) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)


def text_of(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def sections_of(name: str, heading: str = r"\w+") -> dict[str, str]:
    """The page's sections of second level whose headings match, by heading."""
    return dict(re.findall(rf"^## ({heading})\n(.*?)(?=^## |\Z)", text_of(name), re.DOTALL | re.MULTILINE))


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of every table, heads and rules left out."""
    tables = re.findall(r"^(?:\|.*\n)+", text, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def quoted(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


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
        "docs/comparing-models.md",
        "docs/several-machines.md",
        "docs/writing-a-benchmark.md",
        "docs/writing-a-card.md",
        "docs/writing-a-family.md",
        "docs/writing-an-adapter.md",
    }


def typed(shell: Shell, program: str, *arguments: str) -> Ended:
    """How a page's command ends: ``preimage`` in this process, the page's own script or test in one of its own."""
    if program == "preimage":
        return shell(*arguments, *(["--workers", "1"] if arguments[0] == "run" else []))
    assert program in ("python", "pytest")
    own = [sys.executable, *(["-m", "pytest"] if program == "pytest" else []), *arguments]
    ended = subprocess.run(own, cwd=shell.folder, capture_output=True, text=True, timeout=300)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_is_marked_as_runnable_runs(shell: Shell, page: Path) -> None:
    for block in marked(page, "file"):
        shell.write(block["file"], block["text"])
    for block in marked(page, "run"):
        commands = [line for line in block["text"].splitlines() if line.startswith("$ ")]
        assert commands
        for command in commands:
            ended = typed(shell, *shlex.split(command.removeprefix("$ "), comments=True))
            assert ended.status == 0, f"{command}\n{ended.out}{ended.err}"


def test_the_first_card_has_ten_lines_and_the_first_plugin_fifteen() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "writing-an-adapter.md"):
        card, plugin = marked(page, "file")[:2]
        assert len(card["text"].splitlines()) <= 10
        assert len([line for line in plugin["text"].splitlines() if line]) <= 15


@pytest.mark.slow
def test_the_queries_of_the_database_page_answer(shell: Shell) -> None:
    few = ("--limit", "4", "--set", "block=4", "--set", "solver.steps=10", "--workers", "1")
    assert shell("run", "-m", "ppca", "-m", "mean-image", *few).status == 0
    queries = [block["text"] for block in marked(ROOT / "docs" / "database.md", "query")]
    assert len(queries) >= 6
    with Results("preimage.db") as results:
        for query in queries:
            assert results.query(query), query


def test_the_paired_difference_of_the_database_page_is_that_of_compare(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--limit", "4", "--set", "block=4", "--set", "solver.steps=10", "--workers", "1")
    assert shell("run", "-b", "recovery", "-m", "ppca", "-m", "mean-image", *few).status == 0
    (script,) = marked(ROOT / "docs" / "database.md", "file")
    runpy.run_path(str(shell.write(script["file"], script["text"])))
    printed = capsys.readouterr().out.split()
    compared = json.loads(shell("compare", "ppca", "mean-image", "--json").out)
    (row,) = [row for row in compared if row["metric"] == "mse"]
    assert printed == [f"{row['difference']:.4g}", f"[{row['low']:.4g},", f"{row['high']:.4g}]"]


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
    sections, schema = sections_of("database.md"), tables()
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
    sections = sections_of("errors.md")
    assert sections.keys() == classes
    assert not [name for name, section in sections.items() if "\n> " not in section], "a typical message each"


def test_the_failures_of_every_verb_are_explained() -> None:
    (text,) = sections_of("errors.md", "By verb[^\n]*").values()
    rows = rows_of(text)
    assert {row[0] for row in rows} == {f"`preimage {verb}`" for verb in VERBS}
    assert {row[2] for row in rows} <= {"0", "1", "2", "130"}


def test_every_field_of_a_card_is_documented() -> None:
    rows = rows_of(sections_of("writing-a-card.md")["Fields"])
    documented = [name for row in rows for name in quoted(row[0])]
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(ModelCard) if field.name != "load")
    required = [name for row in rows if row[1] == "required" for name in quoted(row[0])]
    missing = dataclasses.MISSING
    assert required == [
        field.name for field in dataclasses.fields(ModelCard) if field.default is field.default_factory is missing
    ]
    assert all(row[2] for row in rows)


def test_every_field_of_a_suite_is_documented() -> None:
    from preimage.harness.suites import _FIELDS

    text = sections_of("writing-a-benchmark.md", "A suite")["A suite"]
    assert {name for row in rows_of(text) for name in quoted(row[0])} == set(_FIELDS)


def test_every_hook_verb_metric_and_name_is_in_the_reference() -> None:
    assert not [hook for hook in vars(Hooks) if hook.startswith("register_") and f"`{hook}(" not in REFERENCE]
    assert not [verb for verb in VERBS if f"### preimage {verb}\n" not in REFERENCE]
    assert not [name for name in preimage.harness.__all__ if f"| `{name}` |" not in REFERENCE]
    registry = installed()
    for name, benchmark in registry.benchmarks.items():
        assert f"### {name}\n" in REFERENCE
        assert not [metric for metric in benchmark.metrics if f"| `{metric}` |" not in REFERENCE]
    for catalogue in (registry.solvers, registry.samplers, registry.suites, OPERATORS):
        assert not [name for name in catalogue if f"### {name}\n" not in REFERENCE]
    for things in (registry.distances, registry.models, registry.datasets):
        assert not [name for name in things if f"| `{name}` |" not in REFERENCE]


def part_of_the_reference(heading: str) -> str:
    """The reference from a heading to the next of its level or above."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_is_in_the_reference(verb: str) -> None:
    documented = {name for row in rows_of(part_of_the_reference(f"preimage {verb}")) for name in quoted(row[0])}
    options = [option for option in VERBS[verb].params if isinstance(option, click.Option) and not option.hidden]
    assert {name for option in options for name in [*option.opts, *option.secondary_opts]} <= documented


def test_every_option_and_setting_is_in_the_reference() -> None:
    registry = installed()
    records = {benchmark.options.__name__: benchmark.options for _, benchmark in registry.benchmarks.items()}
    for name, record in [*records.items(), *registry.solvers.items(), *registry.samplers.items(), *OPERATORS.items()]:
        documented = {row[0]: row[1] for row in rows_of(part_of_the_reference(name))}
        assert documented == {f"`{field}`": f"`{default}`" for field, default, _ in described(record)}


def test_a_formula_is_in_the_reference_where_a_benchmark_has_one() -> None:
    formulas = {name: getattr(benchmark, "formula", "") for name, benchmark in installed().benchmarks.items()}
    assert any(formulas.values())
    assert not [name for name, formula in formulas.items() if formula not in part_of_the_reference(name)]


def test_every_protocol_is_explained_with_all_its_settings() -> None:
    """A suite that follows a paper has a section that names each of its options; the paper's and ours are told."""
    sections = sections_of("protocols.md", "[a-z0-9-]+")
    papers = {name: suite for name, suite in installed().suites.items() if suite.source}
    assert papers.keys() <= sections.keys()
    assert sections.keys() - papers.keys() == {"latent-size"}, "which has no suite, and says so"
    for name, suite in papers.items():
        said = set(quoted(sections[name]))
        assert f"preimage run {name}" in said
        for part in ("**The paper.**", "**Here.**", "**Differences.**"):
            assert part in sections[name]
        for benchmark, own in suite.benchmarks.items():
            assert f"(reference.md#{benchmark})" in sections[name]
            for key, value in {**suite.options, **own}.items():
                assert f"{key}={value if isinstance(value, str) else json.dumps(value)}" in said, name


def settings_in(text: str) -> list[str]:
    """Every ``key=value`` between backticks, as in a table of options."""
    return [part for code in quoted(text) for part in code.split(" ") if re.fullmatch(r"[a-z_.]+=[\w.-]+", part)]


def test_options_named_in_prose_exist() -> None:
    registry, checked = installed(), 0
    for row in rows_of(text_of("methods.md")):
        if settings := settings_in(row[-1]):
            checked += 1
            options_from(RecoveryOptions, parse_settings(settings), registry.choices, source="methods.md")
    assert checked >= 4


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command that a page or a verb's help shows, with where it stands. The reference is made of the helps."""
    for page in PAGES:
        if page.name != "reference.md":
            for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
                for line in re.findall(r"^(?:\$ )?(preimage .*)$", block, re.MULTILINE):
                    yield name_of(page), shlex.split(line, comments=True)[1:]
    for name, command in {"": cli, **VERBS}.items():
        for line in re.findall(r"^\s*(preimage .*)$", inspect.cleandoc(command.help or ""), re.MULTILINE):
            yield f"preimage {name} --help", shlex.split(re.split(r"\s{3,}", line)[0])[1:]


COMMANDS = list(commands())


@pytest.mark.parametrize(("where", "arguments"), COMMANDS, ids=[f"{w}: {shlex.join(a)}" for w, a in COMMANDS])
def test_commands_in_the_docs_can_be_typed(where: str, arguments: list[str]) -> None:
    name, *rest = arguments
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, f"{where}: there is no verb {name}"
    if "--help" in rest:
        return
    given = command.make_context(name, rest).params
    if name == "run" and "example-plugin" not in where:  # that one brings its own model
        exist(given, where)


def exist(given: dict[str, object], where: str) -> None:
    """What ``preimage run`` names is installed, or comes with a file of the reader's own; its options are known."""
    registry = installed()
    suite, own = given["suite"], bool(given["plugins"] or given["cards"])
    if suite is not None and not str(suite).endswith(".yaml"):
        assert suite in registry.suites, where
    if not own:
        expand(registry.models, [name for name in given["models"] if not name.startswith("my-")])  # type: ignore[attr-defined]
        assert given["dataset"] is None or registry.has_dataset(str(given["dataset"])) or "/" in str(given["dataset"])
    settings = parse_settings(given["settings"])  # type: ignore[arg-type]
    chosen = given["benchmarks"] or list(registry.benchmarks)
    for benchmark in chosen:  # type: ignore[attr-defined]
        if benchmark in registry.benchmarks and given["benchmarks"]:
            options_from(registry.benchmarks[benchmark].options, settings, registry.choices, source=where)


def test_verbs_named_in_prose_exist() -> None:
    for page in PAGES:
        if page.name != "reference.md":
            for verb in re.findall(r"`preimage ([a-z]\w*)", page.read_text(encoding="utf-8")):
                assert verb in VERBS, f"{name_of(page)}: {verb}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\(([\w./-]+\.md)", page.read_text(encoding="utf-8"))
        waiting += {(page.parent / link).resolve() for link in links} - reached
    assert set(PAGES) <= reached


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
