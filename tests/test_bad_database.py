"""Databases that cannot be used: told in words, finished blocks kept, the same command completes afterwards."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.store import Store
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

COMMAND = ("-b", "recovery", "-m", "tiny-good", "--set", "block=2", "--set", "solver.steps=20")
BLOCKS = {"metric": 1, "recovery": 16, "rescored": 16}
"""How many blocks COMMAND measures: the metric, and 16 test images and 16 samples by twos, recovered and rescored."""


def blocks(shell: Shell) -> dict[str, int]:
    """Finished blocks by kind of measurement."""
    found = shell.query("SELECT kind, count(*) AS n FROM block JOIN request ON request.key = request GROUP BY kind")
    return {row["kind"]: row["n"] for row in found}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes to the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("results", "store"):
        monkeypatch.setattr(f"preimage.harness.{module}.LOCK_SECONDS", 0.05)


def test_the_whole_command_measures_all_blocks(shell: Shell) -> None:
    assert shell.run(*COMMAND).status == 0
    assert blocks(shell) == BLOCKS


@pytest.mark.parametrize("verb", ["run", "scores", "summarise"])
@pytest.mark.parametrize(
    "content", [b"no database at all, but a longer text than a header\n" * 4, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_left_alone(shell: Shell, verb: str, content: bytes) -> None:
    path = shell.folder / "notes.txt"
    path.write_bytes(content)
    ended = shell.run(*COMMAND, "--db", path) if verb == "run" else shell(verb, "--db", path)
    assert ended.status == 1
    assert "notes.txt" in ended.err
    assert "--db FILE" in ended.err
    assert path.read_bytes() == content


@pytest.mark.parametrize("verb", ["run", "scores", "summarise"])
def test_the_database_of_another_program_is_left_alone(shell: Shell, verb: str) -> None:
    path = shell.folder / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE score (model TEXT)")
        other.commit()
    before = path.read_bytes()
    ended = shell.run(*COMMAND, "--db", path) if verb == "run" else shell(verb, "--db", path)
    assert ended.status == 1
    assert "is not a database of preimage" in ended.err
    assert "--db FILE" in ended.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("verb", ["run", "scores", "summarise"])
def test_the_database_of_a_newer_version_is_left_alone(shell: Shell, verb: str) -> None:
    assert shell.run(*COMMAND).status == 0
    with closing(sqlite3.connect("preimage.db")) as db:
        db.execute("PRAGMA user_version = 99")
    ended = shell.run(*COMMAND) if verb == "run" else shell(verb)
    assert ended.status == 1
    assert "schema version 99" in ended.err
    assert "Install a newer preimage" in ended.err
    assert blocks(shell) == BLOCKS


@pytest.mark.parametrize("verb", ["scores", "summarise"])
def test_no_database_says_what_makes_one(shell: Shell, verb: str) -> None:
    ended = shell(verb)
    assert ended.status == 1
    assert "no database 'preimage.db'" in ended.err
    assert "`preimage run`" in ended.err
    assert not Path("preimage.db").exists()


def test_a_locked_database_is_waited_for_then_told(shell: Shell, impatient: None) -> None:
    assert shell.run(*COMMAND, "--limit", "4").status == 0
    before = shell.scores()
    with locked(shell.folder / "preimage.db"):
        ended = shell.run(*COMMAND)
        assert ended.status == 1
        assert "locked" in ended.err
        assert "the same command goes on from there" in ended.err
        assert shell.scores() == before, "reading goes on while another program writes"
    assert shell.run(*COMMAND).status == 0
    assert blocks(shell) == BLOCKS


def test_a_folder_that_is_not_there(shell: Shell) -> None:
    ended = shell.run(*COMMAND, "--db", "nowhere/results.db")
    assert ended.status == 1
    assert "nowhere/results.db" in ended.err
    assert "Check the folder" in ended.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(shell: Shell) -> None:
    closed = shell.folder / "closed"
    closed.mkdir(mode=0o500)
    ended = shell.run(*COMMAND, "--db", closed / "results.db")
    assert ended.status == 1
    assert "Check the folder and its permissions" in ended.err


@pytest.mark.parametrize("room", [-20, 0, 1])
def test_a_full_disk_keeps_finished_blocks(shell: Shell, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The disk has room for so many pages more than an empty database takes."""
    with Store(shell.folder / "empty.db") as empty:
        (taken,) = empty.db.execute("PRAGMA page_count").fetchone()
    whole, opened = Store._migrate, []

    def small(self: Store) -> None:
        self.db.execute(f"PRAGMA max_page_count = {taken + room}")
        whole(self)
        opened.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_migrate", small)
        ended = shell.run(*COMMAND)
        assert ended.status == 1
        assert "full" in ended.err
        assert "type the same command again" in ended.err
    kept = sum(blocks(shell).values()) if opened else 0
    assert kept < sum(BLOCKS.values())
    ended = shell.run(*COMMAND)
    assert ended.status == 0
    assert f"{sum(BLOCKS.values()) - kept} blocks measured" in ended.err
    assert blocks(shell) == BLOCKS


def test_a_measurement_without_a_finite_number_is_not_stored(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from preimage.harness.measurements import recovery

    def nan(images: Any, *rest: Any) -> Any:
        block = measured(images, *rest)
        return type(block)(**{**vars(block), "values": {**block.values, "mse": block.values["mse"] * np.nan}})

    measured = recovery.measure_recovery
    monkeypatch.setattr(recovery, "measure_recovery", nan)
    assert shell.run(*COMMAND).status == 1
    assert blocks(shell) == {"metric": 1}
    (row,) = shell.query("SELECT reason FROM evaluation")
    assert "'mse' of image 0 is nan; only finite numbers are stored" in row["reason"]


def test_an_interrupted_run_says_how_to_go_on(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from preimage.harness.measurements import recovery

    measured, calls = recovery.measure_recovery, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "measure_recovery", interrupted)
        ended = shell.run(*COMMAND)
    assert ended.status == 130
    assert "finished blocks are stored" in ended.err
    assert blocks(shell) == {"metric": 1, "recovery": 2}
    assert shell.run(*COMMAND).status == 0
    assert blocks(shell) == BLOCKS
