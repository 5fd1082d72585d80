"""The database: strict, without NaN, each block whole or not at all, readable by anybody's SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from preimage.harness.errors import NotFiniteRows, StoreError
from preimage.harness.requests import ModelKey, Recovery, Split
from preimage.harness.results import Results, finished_blocks
from preimage.harness.rows import Block
from preimage.harness.schema import MIGRATIONS, VERSION
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.store import Store

REQUEST = Recovery(
    model=ModelKey("m", "0" * 64),
    images=Split("d", "test", "1" * 64),
    label="none",
    space="z",
    distance="l2",
    solver=Lbfgs(),
)


def block(first: int = 0, **values: list[float]) -> Block:
    count = len(next(iter(values.values())))
    columns = {name: np.array(column) for name, column in values.items()}
    image = np.arange(first, first + count)
    return Block(image, np.full(count, -1), columns, ("EXACT",) * count, (b"code",) * count, "p", 3, 0.5, {"t": b"png"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "a.db")
    store.add_request(REQUEST)
    assert store.begin_run("preimage run", 0, "", {}, {}) == 1
    return store


def test_rows_come_back_in_order(store: Store) -> None:
    store.add_block(REQUEST.key(), 1, block(2, mse=[0.3, 0.4]), 1)
    store.add_block(REQUEST.key(), 0, block(0, mse=[0.1, 0.2]), 1)
    rows = store.rows(REQUEST.key(), 3)
    assert rows.image.tolist() == [0, 1, 2]
    assert rows["mse"].tolist() == [0.1, 0.2, 0.3]
    assert store.codes(REQUEST.key(), 4) == [b"code"] * 4
    assert store.pictures(REQUEST.key()) == {"t": b"png"}
    assert store.cost(REQUEST.key()) == (6, 1.0)
    assert finished_blocks(store.path) == {REQUEST.key(): {0, 1}}


def test_rows_that_are_not_all_there_are_an_error(store: Store) -> None:
    store.add_block(REQUEST.key(), 0, block(0, mse=[0.1, 0.2]), 1)
    with pytest.raises(StoreError, match="holds 2 of 3 images"):
        store.rows(REQUEST.key(), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_finite_number_is_refused_whole(store: Store, value: float) -> None:
    with pytest.raises(NotFiniteRows, match=r"value 'mse' of image 1 is"):
        store.add_block(REQUEST.key(), 0, block(0, mse=[0.1, value]), 1)
    assert finished_blocks(store.path) == {}
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        store.db.execute("INSERT INTO row_value VALUES (1, 0, -1, 'x', ?)", [float("nan")])


def test_a_block_that_fails_half_way_leaves_nothing(store: Store) -> None:
    twice = block(0, mse=[0.1, 0.2])
    twice.image[1] = 0
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        store.add_block(REQUEST.key(), 0, twice, 1)
    assert finished_blocks(store.path) == {}
    assert store.query("SELECT count(*) AS n FROM row")[0]["n"] == 0


def test_a_block_that_another_process_has_stored_stays(store: Store) -> None:
    store.add_block(REQUEST.key(), 0, block(0, mse=[0.1]), 1)
    store.add_block(REQUEST.key(), 0, block(0, mse=[0.9]), 1)
    assert store.rows(REQUEST.key(), 1)["mse"].tolist() == [0.1]


def test_tables_are_strict_and_joined_by_foreign_keys(store: Store) -> None:
    tables = store.query("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'")
    assert {t["name"] for t in tables} >= {"request", "block", "row", "row_value", "evaluation", "metric_score", "run",
                                            "reported", "model", "benchmark", "picture"}  # fmt: skip
    assert all("STRICT" in table["sql"] for table in tables)
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store.db.execute("INSERT INTO block VALUES (9, 'none', 0, 1, '', 1, 0.1, 1)")
    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT"):
        store.db.execute("INSERT INTO run VALUES (5, '', '', '', '', '', '', 'three')")


def test_migrations_are_recorded_and_counted(store: Store) -> None:
    names = ["first_tables", "paired_comparisons_and_figures_of_papers", "what_networks_do_to_images_first"]
    assert [m.name for m in MIGRATIONS.applied(store.db)] == names
    assert len(MIGRATIONS.applied(store.db)) == VERSION
    assert MIGRATIONS.pending(store.db) == []


def test_closing_leaves_one_file(store: Store) -> None:
    store.close()
    assert [file.name for file in store.path.parent.iterdir()] == ["a.db"]


def test_a_file_left_before_its_first_table_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    assert finished_blocks(tmp_path / "empty.db") == {}
    Store(tmp_path / "empty.db").close()
    with Results(tmp_path / "empty.db") as results:
        assert results.scores() == []


def test_two_programs_may_make_it_at_once(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a.db"), Store(tmp_path / "a.db")
    assert first.begin_run("one", 0, "", {}, {}) == 1
    assert second.begin_run("two", 0, "", {}, {}) == 2
