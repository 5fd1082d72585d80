"""What a site gives away as data: scripts that hold nothing but values, a copy of the database that stands alone."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_results import HOSTILE, cards, hostile_cards, write_database

from preimage.harness import statistics
from preimage.harness.results import Results
from preimage.leaderboard import index_page
from preimage.leaderboard.compare_page import packed
from preimage.leaderboard.download import copy_database
from preimage.leaderboard.index_page import fitting
from preimage.leaderboard.script_data import script
from preimage.leaderboard.site import DATABASE, site_files

CALL = "preimage.model("


@given(st.recursive(st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_a_script_is_a_call_with_plain_data(value: object) -> None:
    text = script("preimage.model", value).decode("ascii")  # type: ignore[arg-type]  # what hypothesis makes
    assert text.startswith(CALL) and text.endswith(");\n") and not set("<>&") & set(text)
    assert json.loads(text[len(CALL) : -3]) == value


def test_what_would_end_a_script_or_a_line_is_escaped() -> None:
    written = script("f", ["</script><!--", "\u2028\u2029\u202e", "'\"\\"])
    assert b"<" not in written and b"\\u2028" in written and b"\\u202e" in written
    with pytest.raises(ValueError, match="JSON"):
        script("f", float("nan"))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_replicates_are_packed_to_a_part_in_65535_of_their_range(values: list[float]) -> None:
    low, high, text = packed(np.array(values, dtype="<f8").tobytes())
    steps = np.frombuffer(base64.b64decode(str(text)), dtype="<u2")
    assert isinstance(low, float) and isinstance(high, float)
    unpacked = low + (high - low) * steps / 65535
    assert np.abs(unpacked - values).max() <= 0.51 * (high - low) / 65535 + 1e-9


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 40)
        yield write_database(tmp_path_factory.mktemp("data") / "preimage.db", [*cards(), *hostile_cards()])


def test_the_copy_stands_alone_and_holds_one_state(database: Path, tmp_path: Path) -> None:
    with Results(database) as results, closing(sqlite3.connect(database)) as writer:
        results.db.execute("BEGIN")
        scores = results.scores()
        writer.execute("INSERT INTO reported VALUES ('', 'late', 'd', 'b', 'm', 1.0, 's')")
        writer.commit()
        copy = copy_database(results, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]  # no log beside it
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert opened.execute("SELECT count(*) FROM score").fetchone() == (len(scores),)
        assert opened.execute("SELECT count(*) FROM reported WHERE model = 'late'").fetchone() == (0,)


def test_scripts_of_hostile_models_hold_their_names_as_data(database: Path, tmp_path: Path) -> None:
    files = site_files(database, tmp_path)
    assert isinstance(files[DATABASE], Path)
    scripts = [content for name, content in files.items() if name.startswith("compare/")]
    assert len(scripts) == len(cards()) + len(HOSTILE) + 1
    told = []
    for content in scripts:
        assert isinstance(content, bytes) and not set(b"<>&") & set(content) and content.isascii()
        told.append(json.loads(content.decode()[len(CALL) : -3]))
    assert HOSTILE[0] in {one["name"] for one in told}
    assert all("\u202e" not in one["name"] for one in told)


def test_a_page_is_cut_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_page, "MOST_BYTES", 1000)
    tried = []

    def render(lines: int, rows: int) -> bytes:
        tried.append((lines, rows))
        return b"x" * (10 * min(lines, 200) + 3 * min(rows, 300))

    page = fitting([], render)
    assert len(page) <= 1000 and tried == [cut for cut in index_page.CUTS if cut[0] >= tried[-1][0]]
    monkeypatch.setattr(index_page, "MOST_BYTES", 1)
    assert fitting([], render) == render(*index_page.CUTS[-1])  # as short as it gets
