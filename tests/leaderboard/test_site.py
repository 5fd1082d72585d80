"""The site as a whole: the same bytes, no network, nothing hostile, nothing of others touched."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Page
from synthetic_results import HOSTILE, LIMIT, cards, hostile_cards, write_database

from preimage.harness import statistics
from preimage.harness.errors import PreimageError, StoreError
from preimage.leaderboard.folder import SiteError, write_site
from preimage.leaderboard.site import build_site, site_files


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 40)
        yield write_database(tmp_path_factory.mktemp("results") / "preimage.db", [*cards(), *hostile_cards()])


@pytest.fixture(scope="module")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(database, tmp_path_factory.mktemp("sites") / "site").parent


@pytest.fixture(scope="module")
def pages(site: Path) -> list[Page]:
    return [Page(path) for path in sorted(site.rglob("*.html"))]


@pytest.fixture(scope="module")
def index(site: Path) -> Page:
    return Page(site / "index.html")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_database_gives_the_same_bytes_whatever_the_hash_seed(
    database: Path, site: Path, tmp_path: Path
) -> None:
    code = "import sys; from pathlib import Path; from preimage.leaderboard.site import build_site; "
    code += "build_site(Path(sys.argv[1]), Path(sys.argv[2]))"
    subprocess.run(
        [sys.executable, "-c", code, str(database), str(tmp_path / "again")],
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )
    assert contents(tmp_path / "again") == contents(site)


def test_building_imports_no_torch_and_the_hooks_import_little(database: Path, tmp_path: Path) -> None:
    code = (
        "import sys; import preimage.leaderboard.hooks as h; "
        "assert not {'torch', 'jinja2', 'PIL', 'numpy', 'sqlite_utils'} & set(sys.modules), 'hooks'; "
        "from pathlib import Path; from preimage.leaderboard.site import build_site; "
        "build_site(Path(sys.argv[1]), Path(sys.argv[2])); assert 'torch' not in sys.modules, 'site'"
    )
    subprocess.run([sys.executable, "-c", code, str(database), str(tmp_path / "site")], check=True)


def test_the_command_prints_the_first_page(database: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from preimage.leaderboard.hooks import site as command

    done = CliRunner().invoke(command, [str(tmp_path / "out"), "--db", str(database)])
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'out' / 'index.html'}\n")
    assert "Example: preimage site" in CliRunner().invoke(command, ["--help"]).output


def test_nothing_is_fetched_from_a_network(site: Path, pages: list[Page]) -> None:
    for page in pages:
        for reference in page.references:
            assert re.fullmatch(r"data:,|#[\w.~-]+|(\.\./)?[a-z0-9/._~-]+(#[\w.~&=-]+)?", reference), (
                page.path,
                reference,
            )
            assert "//" not in reference
        assert not {"iframe", "object", "embed", "form", "base", "style"} & {tag for tag, _ in page.tags}
        assert all(re.fullmatch(r"(\.\./)?static/(board|compare)\.js", tag["src"]) for tag in page.all("script"))
        assert "style" not in page.attributes()  # the policy of the page refuses them
        [policy] = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv")]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy
    css = (site / "static" / "board.css").read_text()
    assert "url(" not in css and "@import" not in css and "//" not in css
    for script in (site / "static").glob("*.js"):
        reaching = r"\b(fetch|eval|Function|write|import)\s*\(|XMLHttpRequest|innerHTML|outerHTML|insertAdjacentHTML"
        called = re.search(reaching, script.read_text())
        assert not called, (script.name, called)


def test_every_link_leads_somewhere(pages: list[Page], site: Path) -> None:
    for page in pages:
        ids = [tag["id"] for _, tag in page.tags if "id" in tag]
        assert len(ids) == len(set(ids)), page.path
        for reference in page.references:
            if reference.startswith("#"):
                assert reference[1:] in ids, (page.path, reference)
            elif not reference.startswith("data:"):
                target = (page.path.parent / reference.partition("#")[0]).resolve()
                assert target.is_file() and target.is_relative_to(site.resolve())


def test_hostile_names_and_texts_are_inert(pages: list[Page], site: Path, index: Page) -> None:
    for page in pages:
        assert not any(name.startswith("on") for name in page.attributes()), page.path
        assert "evil" not in "".join(page.references) and "javascript:" not in "".join(page.references)
        assert "\u202e" not in page.source
    assert "<script>alert(1)</script>" in index.text and "{{ 7 * 7 }}" in index.text
    names = [path.name for path in (site / "model").iterdir()]
    assert len(names) == len(cards()) + len(HOSTILE) + 1
    assert len({name.lower() for name in names}) == len(names)
    assert not list(site.parent.glob("*escaped*"))


def test_pages_stay_small(pages: list[Page]) -> None:
    assert all(len(page.source.encode()) < 300_000 for page in pages)


def test_refused_and_failed_models_are_shown_with_reasons(index: Page, site: Path) -> None:
    assert "unconditional: it has no generator per class" in index.text
    assert "WeightsError: <b>the weights</b> are not there" in index.text
    assert "Traceback (most recent call last)" in index.text
    assert "Failed:" in Page(site / "model" / "broken.html").text


def test_the_index_says_what_a_board_needs_to_say(index: Page) -> None:
    for said in (
        "lower is better",
        "squared pixel",
        "floor_mse",
        "gap > 0.10",
        "p < 0.01",
        "reference",
        "baseline",
        "tied with",
        "the 95\xa0% interval of its paired difference",
        "suite quick",
        f"the first {LIMIT} images of each split",
    ):
        assert said in index.text
    header = index.source[index.source.index('class="board"') :]
    assert header.index(">mse<") < header.index(">floor_mse<") < header.index(">mse_median<")


def test_tables_and_pictures_are_accessible(pages: list[Page]) -> None:
    for page in pages:
        assert all("scope" in tag for tag in page.all("th"))
        assert len(page.all("caption")) == len(page.all("table"))
        assert all(tag.get("alt") for tag in page.all("img"))
        assert all("aria-hidden" in svg or "aria-labelledby" in svg for svg in page.all("svg"))
        assert page.source.startswith('<!doctype html>\n<html lang="en">') and len(page.all("h1")) == 1


def test_a_model_page_tells_its_protocol(site: Path) -> None:
    page = Page(site / "model" / "fashion-dcgan.html")
    for said in (
        "Apache-2.0",
        "https://arxiv.org/abs/1511.06434",
        "the first 8,192 images of train",
        "a" * 64,
        "solver.steps",
        "seed",
        "block",
        "preimage run quick -m fashion-dcgan",
        "generator evaluations",
        "samples, unchosen",
        "Training images",
        "Test images",
        "budget spent",
    ):
        assert said in page.text, said
    assert len(page.all("img")) == 5  # samples, and pairs of training, test, warped test and own images
    assert "A reference draws none" in Page(site / "model" / "1nn.html").text


def test_counts_of_the_histogram_add_up_to_n(site: Path) -> None:
    source = Page(site / "model" / "fashion-glo-128.html").source.partition("Errors of changed images")[0]
    rows = re.findall(r'<tr><th scope="row">[^<]* to [^<]*</th>((?:<td class="n">\d+</td>)+)</tr>', source)
    columns = zip(*(map(int, re.findall(r"\d+(?=</td>)", row)) for row in rows), strict=True)
    assert [sum(column) for column in columns] == [LIMIT] * 3


def test_scores_are_there_for_scripts(site: Path, database: Path) -> None:
    found = json.loads((site / "scores.json").read_text())
    assert {row["model"] for row in found} >= set(HOSTILE)
    assert [row["status"] for row in found if row["model"] == "broken"] == ["failed"]
    with (site / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(found)
    for line, row in zip(table, found, strict=True):
        assert line["model"] == row["model"] and line["value"] == ("" if row["value"] is None else repr(row["value"]))


def test_scores_of_another_protocol_never_share_a_table(tmp_path: Path) -> None:
    from dataclasses import replace

    from synthetic_results import OPTIONS, evaluate

    from preimage.benchmarks.recovery import RecoveryBenchmark
    from preimage.harness.store import Store

    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "two.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "", {}, {})
        evaluate(store, run, cards()[0], RecoveryBenchmark(), suite="")
        evaluate(store, run, cards()[3], RecoveryBenchmark(), suite="", options=replace(OPTIONS, limit=30))
    page = Page(build_site(tmp_path / "two.db", tmp_path / "site"))
    assert sum(table.get("class") == "board" for table in page.all("table")) == 2
    assert "the first 60 images" in page.text and "the first 30 images" in page.text


def test_an_empty_database_gives_a_page_that_says_so(tmp_path: Path) -> None:
    from preimage.harness.store import Store

    Store(tmp_path / "empty.db").close()
    assert "no evaluation yet" in Page(build_site(tmp_path / "empty.db", tmp_path / "site")).text
    with pytest.raises(StoreError, match="no database"):
        site_files(tmp_path / "missing.db", tmp_path)


def test_a_broken_picture_is_left_out(database: Path, tmp_path: Path) -> None:
    import shutil
    import sqlite3

    copy = Path(shutil.copy(database, tmp_path / "copy.db"))
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE picture SET png = ?", [b"\x89PNG\r\n\x1a\n broken"])
    connection.close()
    page = Page(build_site(copy, tmp_path / "site").parent / "model" / "ppca.html")
    assert not page.all("img") and "None are stored" in page.text


def test_a_rebuild_replaces_its_own_files_only(tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(out, {"index.html": b"1", "model/a.html": b"1", "img/x.png": b"1"})
    (out / "mine.txt").write_text("keep")
    write_site(out, {"index.html": b"2", "model/b.html": b"2"})
    assert set(contents(out)) == {"index.html", "model/b.html", "mine.txt", "site.json"}
    assert (out / "index.html").read_bytes() == b"2" and not (out / "img").exists()
    (out / "model" / "c.html").write_text("mine")
    with pytest.raises(SiteError, match=r"c\.html.*in the way"):
        write_site(out, {"model/c.html": b"3"})
    assert (out / "model" / "c.html").read_text() == "mine" and (out / "index.html").read_bytes() == b"2"


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(PreimageError, match=r"not empty and no former build.*Name an empty"):
        write_site(tmp_path, {"index.html": b""})
    with pytest.raises(PreimageError, match="is no folder"):
        write_site(tmp_path / "notes.txt", {"index.html": b""})
    assert contents(tmp_path) == {"notes.txt": b"keep"}


@pytest.mark.parametrize("name", ["../notes.txt", "/etc/notes.txt", "a/../../notes.txt", "", "."])
def test_a_manifest_that_names_files_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    out = tmp_path / "site"
    out.mkdir()
    (out / "site.json").write_text(json.dumps({"made by": "preimage site", "files": [name]}))
    with pytest.raises(SiteError, match="no former build"):
        write_site(out, {"index.html": b""})
    assert (tmp_path / "notes.txt").read_text() == "keep"


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    write_site(out, {"index.html": b"1", "model/a.html": b"1"})
    elsewhere.mkdir()
    (elsewhere / "a.html").write_text("keep")
    (out / "model" / "a.html").unlink()
    (out / "model").rmdir()
    (out / "model").symlink_to(elsewhere)
    with pytest.raises(SiteError, match="in the way"):
        write_site(out, {"index.html": b"2", "model/a.html": b"2"})
    write_site(out, {"index.html": b"2"})
    assert (elsewhere / "a.html").read_text() == "keep"
