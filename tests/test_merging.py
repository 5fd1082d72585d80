"""Joining databases: nothing is lost, the order does not matter, inputs are only read, a kill leaves a whole file."""

from __future__ import annotations

import hashlib
import itertools
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlite_utils import Database

import preimage.harness.joining
import preimage.harness.merging
from preimage.harness.benchmark import MetricInfo, Score
from preimage.harness.cards import ImageSpec, ModelCard
from preimage.harness.errors import MergeConflict, StoreError, UsageError
from preimage.harness.joining import TABLES
from preimage.harness.merging import merge
from preimage.harness.requests import ModelKey, Recovery, Split
from preimage.harness.results import Results
from preimage.harness.rows import Block, Estimate
from preimage.harness.schema import APPLICATION_ID, MIGRATIONS, VERSION
from preimage.harness.solvers.lbfgs import Lbfgs
from preimage.harness.store import Store
from tests.tiny_world import Shell
from tests.tiny_world import shell as shell

INFO = {"mse": MetricInfo("squared pixel", "lower", "the mean")}
CHEAP = ("--set", "solver=adam", "--set", "solver.steps=5", "--set", "block=4")


def recovery(model: str, split: str = "test") -> Recovery:
    images = Split("d", split, "1" * 64)
    key = ModelKey(model, "0" * 64)
    return Recovery(model=key, images=images, label="none", space="z", distance="l2", solver=Lbfgs(), block=2)


def block(number: int, *errors: float, **other: Any) -> Block:
    image = np.arange(2 * number, 2 * number + len(errors))
    values = {"mse": np.array(errors), "l2": np.sqrt(errors)}
    code = tuple(np.float32(error).tobytes() for error in errors)
    made = Block(image, np.full(len(errors), -1), values, ("EXACT",) * len(errors), code, "p", 3, 0.5, {"t": b"png"})
    return Block(**{**vars(made), **other})


class Machine:
    """Writes a database as a run on another machine would."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.clock = Store(path), monkeypatch

    def at(self, time: str) -> Machine:
        """What follows happens at this time."""
        self.clock.setattr("preimage.harness.store._now", lambda: f"2026-01-01T00:{time}+00:00")
        return self

    def begin(self, command: str = "preimage run") -> int:
        return self.store.begin_run(command, 0, "", {"torch": "2"}, {"cores": 2})

    def measure(self, model: str, number: int, *errors: float, run: int = 1, split: str = "test", **other: Any) -> None:
        request = recovery(model, split)
        self.store.add_request(request)
        self.store.add_block(request.key(), number, block(number, *errors, **other), run)

    def score(self, model: str, value: float, run: int = 1, **other: Any) -> None:
        """An evaluation of two images of the test split."""
        card = ModelCard(model, "f", "d", ImageSpec(1, 8, 8), 0, tags=other.pop("tags", ()))
        self.store.add_model(card, ModelKey(model, other.pop("identity", "0" * 64)))
        row = {"model": model, "dataset": "d", "benchmark": "recovery", "suite": "", "version": 1, "options": "{}",
               "asks": f'[{{"role": "test", "request": "{recovery(model).key()}", "count": 2}}]', "status": "ok",
               "reason": "", "trace": ""}  # fmt: skip
        scores = [Score("mse", Estimate(value, value / 2, value * 2, 2))]
        row |= other
        self.store._replace_evaluation(row, scores if row["status"] == "ok" else [], INFO, "preimage run", run)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Three databases that share a block and an evaluation, each with something of its own."""
    a, b, c = (Machine(tmp_path / name, monkeypatch) for name in ("a.db", "b.db", "c.db"))
    a.at("01:00").begin()
    a.measure("m", 0, 0.1, 0.2)
    a.score("m", 0.15, tags=("old",))
    b.at("02:00").begin()
    b.at("02:30").begin("preimage run again")
    b.measure("m", 0, 0.1, 0.2, run=1)
    b.measure("m", 1, 0.3, 0.4, run=2)
    b.score("m", 0.25, run=2, tags=("new",))
    b.score("n", 0.5, run=1)
    b.store.end_run(2)
    c.at("03:00").begin()
    c.measure("m", 1, 0.3, 0.4)
    c.measure("m", 0, 0.7, split="train")
    c.score("o", 0.7, status="failed", reason="broken", asks="[]")
    for machine in (a, b, c):
        machine.store.close()
    return tmp_path / "a.db", tmp_path / "b.db", tmp_path / "c.db"


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows, without the numbers that SQLite gives them."""
    names = {"block": "request || number", "run": "command || started", "evaluation": "model || benchmark || suite"}

    def named(table: str, column: str) -> str:
        target = {"block": "block", "run": "run", "evaluation": "evaluation"}.get(column)
        if column == "id":
            return "''"
        return f"(SELECT {names[target]} FROM {target} WHERE id = {table}.{column})" if target else column

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        found = {}
        for table in sorted(TABLES):
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            query = f"SELECT {', '.join(named(table, column) for column in columns)} FROM {table}"
            found[table] = sorted(db.execute(query).fetchall(), key=repr)
        return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_table_is_joined(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db") as store:
        assert {name for name in store.db.table_names() if not name.startswith(("_", "sqlite_"))} == TABLES


def test_nothing_measured_is_lost_and_inputs_are_only_read(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    before, out = [digest(path) for path in machines], tmp_path / "out.db"
    done = merge(machines, out)
    assert [(m.blocks, m.shared, m.evaluations, m.older) for m in done] == [(1, 0, 1, 0), (1, 1, 2, 0), (1, 1, 1, 0)]
    assert [digest(path) for path in machines] == before
    joined = content(out)
    for path in machines:
        for table, rows in content(path).items():
            if table in ("request", "block", "row", "row_value", "picture", "run", "metric_score"):
                lost = set(rows) - set(joined[table])
                if table == "block":  # of a shared block, who measured it is told once
                    lost = {row[:5] for row in lost} - {row[:5] for row in joined[table]}
                if table == "metric_score":
                    lost = {row for row in lost if path.name != "a.db"}
                assert not lost, table
    assert len(joined["block"]) == 3
    assert len(joined["run"]) == 4
    with Results(out) as results:
        assert results.rows(recovery("m").key(), 4)["mse"].tolist() == [0.1, 0.2, 0.3, 0.4]
        assert results.query("SELECT finished FROM run WHERE command LIKE '%again'")[0]["finished"]


def test_the_newest_evaluation_card_and_its_scores_are_kept(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    for order in itertools.permutations(machines):
        out = tmp_path / f"{'-'.join(path.stem for path in order)}.db"
        merge(order, out)
        with Results(out) as results:
            (m, n, o) = results.scores()
            assert [m["value"], m["low"], m["high"], n["value"], o["status"]] == [0.25, 0.125, 0.5, 0.5, "failed"]
            assert [model["card"]["tags"] for model in results.models()] == [["new"], [], []]


def test_the_order_of_the_inputs_changes_nothing(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    def joined(order: tuple[Path, ...], out: Path) -> dict[str, list[tuple[Any, ...]]]:
        merge(order, out)
        found = content(out)
        # who measured a block that two machines measured depends on the order
        found["block"] = [row[:7] for row in found["block"]]
        return found

    first, *others = (
        joined(order, tmp_path / f"out{number}.db") for number, order in enumerate(itertools.permutations(machines))
    )
    assert all(other == first for other in others)


def test_the_same_again_changes_nothing(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    out = tmp_path / "out.db"
    merge(machines, out)
    before = content(out)
    again = merge([*machines, *machines], out)
    assert content(out) == before
    assert not any(part.runs or part.blocks or part.evaluations or part.differing for part in again)
    assert [part.older for part in again[:3]] == [1, 0, 0]


def test_what_the_output_holds_takes_part(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    a, b, c = machines
    merge([a, b, c], tmp_path / "out.db")
    merge([b, c], a)
    assert content(a) == content(tmp_path / "out.db")


def test_runs_that_look_alike_stay_as_many_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (Machine(tmp_path / name, monkeypatch).at("01:00") for name in ("a.db", "b.db"))
    for machine, count in ((a, 3), (b, 2)):
        for number in range(count):
            run = machine.begin()
            machine.measure(f"{machine.store.path.stem}{number}", 0, 0.1, 0.2, run=run)
        machine.store.close()
    merge([tmp_path / "b.db", tmp_path / "a.db"], tmp_path / "out.db")
    joined = content(tmp_path / "out.db")
    assert (len(joined["run"]), len(joined["block"])) == (3, 5)


CHANGES = {
    "value": {"values": {"mse": np.array([0.1, 0.2 + 2.0**-55]), "l2": np.sqrt([0.1, 0.2])}},
    "pixels": {"pixels": "others"},
    "code": {"code": (b"0123456789", np.float32(0.2).tobytes())},
    "outcome": {"outcome": ("EXACT", "BUDGET_SPENT")},
    "a value less": {"values": {"mse": np.array([0.1, 0.2])}},
    "a value more": {"values": {"mse": np.array([0.1, 0.2]), "l2": np.sqrt([0.1, 0.2]), "psnr": np.ones(2)}},
}
SAID = {
    "value": "value 'mse' of image 1 is 0.20000000000000004 in the first, 0.2 in the second",
    "pixels": "the hash of the pixels read is 'others' in the first, 'p' in the second",
    "code": "code of image 0 is 3031323334353637... in the first, cdcccc3d... in the second",
    "outcome": "outcome of image 1 is 'BUDGET_SPENT' in the first, 'EXACT' in the second",
    "a value less": "value 'l2' of image 0 is none in the first, 0.31622776601683794 in the second",
    "a value more": "value 'psnr' of image 0 is 1.0 in the first, none in the second",
}


@pytest.mark.parametrize("change", CHANGES)
def test_blocks_that_differ_are_refused_or_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    a, b, out = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "out.db"
    for path, changed in ((a, {}), (b, CHANGES[change])):
        machine = Machine(path, monkeypatch).at("01:00" if path == a else "02:00")
        machine.begin()
        machine.measure("m", 0, 0.1, 0.2, **changed)
        machine.measure("m", 1, 0.3, 0.4)
        machine.measure("m" if path == a else "other", 2, 0.5)
        machine.score("m", 0.15 if path == a else 0.16)
        machine.store.close()
    merge([a], out)
    before = content(out)
    with pytest.raises(MergeConflict, match="differ") as refused:
        merge([b], out)
    assert SAID[change] in str(refused.value)
    assert f"both have block 0 of request {recovery('m').key()[:12]} (recovery of 'm')" in str(refused.value)
    assert "1 of 2 shared blocks differ" in str(refused.value)
    assert "--conflicts keep-first" in str(refused.value)
    assert content(out) == before
    (part,) = merge([b], out, "keep-first")
    assert (part.blocks, part.shared, part.differing) == (1, 2, 1)
    with Results(out) as results, Results(a) as first:
        assert results.rows(recovery("m").key(), 2).values.keys() == {"mse", "l2"}
        assert results.rows(recovery("m").key(), 2)["mse"].tolist() == [0.1, 0.2]
        assert results.codes(recovery("m").key(), 2) == first.codes(recovery("m").key(), 2)


def test_a_row_that_only_one_of_two_has_is_seen(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    merge([machines[0]], tmp_path / "out.db")
    with closing(sqlite3.connect(machines[1])) as db, db:
        db.execute("DELETE FROM row_value WHERE image = 1")
        db.execute("DELETE FROM row WHERE image = 1")
    with pytest.raises(MergeConflict, match=r"value 'l2' of image 1 is none in the first, 0\.44"):
        merge([machines[1]], tmp_path / "out.db")


def test_a_newer_failure_keeps_the_way_to_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tmp_path / "a.db", tmp_path / "b.db"
    for path, time, other in (
        (a, "01:00", {}),
        (b, "02:00", {"status": "failed", "reason": "no memory", "asks": "[]"}),
    ):
        machine = Machine(path, monkeypatch).at(time)
        machine.begin()
        machine.measure("m", 0, 0.1, 0.2)
        machine.score("m", 0.15, **other)
        machine.store.close()
    for order in ((a, b), (b, a)):
        out = tmp_path / f"{order[0].stem}.out"
        merge(order, out)
        merge(order, out)
        with Results(out) as results:
            (evaluation,) = results.evaluations()
        assert evaluation.status == "failed"
        assert [ask.request for ask in evaluation.asks] == [recovery("m").key()]


def test_a_model_that_could_not_be_loaded_does_not_replace_one_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, time, identity in (("a.db", "01:00", "0" * 64), ("b.db", "02:00", "")):
        machine = Machine(tmp_path / name, monkeypatch).at(time)
        machine.begin()
        machine.score("m", 0.1, identity=identity, tags=(name,))
        machine.store.close()
    for order in (("a.db", "b.db"), ("b.db", "a.db")):
        merge([tmp_path / name for name in order], tmp_path / f"out-{order[0]}")
        with Results(tmp_path / f"out-{order[0]}") as results:
            assert [model["card"]["tags"] for model in results.models()] == [["a.db"]]


def test_rules_of_networks_are_joined_in_any_order(tmp_path: Path) -> None:
    for name, rules in (("a.db", {"1": "as it is", "2": "first"}), ("b.db", {"2": "second", "3": "resized"})):
        with Store(tmp_path / name) as store:
            for identity, rule in rules.items():
                store.add_rule(identity, rule)
    for order in (("a.db", "b.db"), ("b.db", "a.db")):
        merge([tmp_path / name for name in order], tmp_path / f"out-{order[0]}")
        joined = content(tmp_path / f"out-{order[0]}")["network"]
        assert joined == [("1", "as it is"), ("2", "second"), ("3", "resized")]


def first_version(path: Path, old: Path) -> None:
    """The content of a database as version 1 would hold it."""
    with closing(sqlite3.connect(old)) as connection:
        db = Database(connection)
        MIGRATIONS.apply(db, stop_before="paired_comparisons_and_figures_of_papers")
        db.execute("ATTACH ? AS new", [str(path)])
        for table in ("run", "model", "benchmark", "request", "block", "row", "row_value", "picture", "evaluation",
                      "metric_score"):  # fmt: skip
            columns = ", ".join(column.name for column in db.table(table).columns)
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        connection.commit()
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")


def test_databases_of_an_older_version_are_joined_and_left_as_they_are(
    tmp_path: Path, machines: tuple[Path, ...]
) -> None:
    assert VERSION > 1
    for path in machines:
        first_version(path, path.with_suffix(".old"))
    old = [path.with_suffix(".old") for path in machines]
    before = [digest(path) for path in old]
    merge(old, tmp_path / "from-old.db")
    merge(machines, tmp_path / "from-new.db")
    assert [digest(path) for path in old] == before
    assert content(tmp_path / "from-old.db") == content(tmp_path / "from-new.db")


def test_a_kill_leaves_whole_inputs_in_a_valid_file(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    killed = (
        "import os, signal, sys; from pathlib import Path; from preimage.harness.merging import merge\n"
        "def stop(path, done, total):\n"
        "    if path.name == 'b.db' and done == total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "merge([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]), progress=stop)"
    )
    ended = subprocess.run([sys.executable, "-c", killed, "out.db", "a.db", "b.db", "c.db"], cwd=tmp_path)
    assert ended.returncode == -signal.SIGKILL
    out = tmp_path / "out.db"
    merge([machines[0]], tmp_path / "only-a.db")
    assert content(out) == content(tmp_path / "only-a.db")
    merge(machines, out)
    merge(machines, tmp_path / "whole.db")
    assert content(out) == content(tmp_path / "whole.db")


def test_progress_tells_of_every_chunk(
    tmp_path: Path, machines: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(machines[2], monkeypatch)
    for number in range(2, 9):
        machine.measure("m", number, 0.1, 0.2)
    machine.store.close()
    merge(machines, tmp_path / "one.db")
    monkeypatch.setattr(preimage.harness.joining, "CHUNK", 3)
    said: list[tuple[str, int, int]] = []
    merge(machines, tmp_path / "out.db", progress=lambda path, done, total: said.append((path.name, done, total)))
    assert said[-4:] == [("c.db", 0, 8), ("c.db", 3, 8), ("c.db", 6, 8), ("c.db", 8, 8)]
    assert content(tmp_path / "out.db") == content(tmp_path / "one.db")


def test_a_full_disk_keeps_what_was_joined(
    tmp_path: Path, machines: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = machines
    machine = Machine(b, monkeypatch)
    machine.measure("big", 0, 0.1, 0.2, pictures={"t": bytes(10**6)})
    machine.store.close()
    connect, out = preimage.harness.merging._connect, tmp_path / "out.db"

    def small(output: Path) -> sqlite3.Connection:
        db = connect(output)
        db.execute("PRAGMA max_page_count = 60")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(preimage.harness.merging, "_connect", small)
        with pytest.raises(StoreError, match=r"out\.db.*full.*type the same command again"):
            merge([a, b], out)
    merge([a], tmp_path / "only-a.db")
    assert content(out) == content(tmp_path / "only-a.db")
    merge([a, b], out)
    assert len(content(out)["block"]) == 3


def test_an_input_that_contradicts_itself_is_not_taken(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    with closing(sqlite3.connect(machines[1])) as db, db:
        db.execute("DELETE FROM run WHERE id = 2")
    with pytest.raises(StoreError, match=r"b\.db' is damaged: NOT NULL constraint failed: block.run. Nothing of it"):
        merge(machines[:2], tmp_path / "out.db")
    merge(machines[:1], tmp_path / "only-a.db")
    assert content(tmp_path / "out.db") == content(tmp_path / "only-a.db")


def test_a_request_described_in_other_words_is_damage(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    with closing(sqlite3.connect(machines[1])) as db, db:
        db.execute("UPDATE request SET description = '{}'")
    with pytest.raises(StoreError, match="described in other words"):
        merge(machines[:2], tmp_path / "out.db")


@pytest.mark.parametrize(("table", "output"), [("all", False), ("row_value", True)])
def test_a_file_with_broken_pages_is_told(tmp_path: Path, machines: tuple[Path, ...], table: str, output: bool) -> None:
    with closing(sqlite3.connect(machines[1])) as db:
        pages = [page for (page,) in db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])]
        (every,) = db.execute("PRAGMA page_count").fetchone()
    with machines[1].open("r+b") as file:
        for page in pages or range(2, every + 1):  # all but the file's head, or a table's first
            file.seek(4096 * (page - 1))
            file.write(b"\xff" * 4096)
    with pytest.raises(StoreError, match=r"b\.db'.* malformed.*damaged|b\.db'.*damaged.* malformed"):
        merge(machines[:2], tmp_path / "out.db")
    assert (tmp_path / "out.db").exists() == output
    if output:
        merge(machines[:1], tmp_path / "only-a.db")
        assert content(tmp_path / "out.db") == content(tmp_path / "only-a.db")


def test_an_input_in_a_folder_that_may_not_be_written(
    tmp_path: Path, machines: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written beside it."""
    folder = machines[0].parent / "closed"
    folder.mkdir()
    closed = machines[0].rename(folder / "a.db")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != folder)
    merge([closed], tmp_path / "out.db")
    assert content(tmp_path / "out.db") == content(closed)
    assert [file.name for file in folder.iterdir()] == ["a.db"]


def test_an_output_that_another_program_holds(
    tmp_path: Path, machines: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("merging", "store", "results"):
        monkeypatch.setattr(f"preimage.harness.{module}.LOCK_SECONDS", 0.05)
    merge(machines[:1], tmp_path / "out.db")
    with closing(sqlite3.connect(tmp_path / "out.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"out\.db.*locked.*wait for it to end"):
            merge(machines[1:], tmp_path / "out.db")
    merge(machines[1:], tmp_path / "out.db")
    assert len(content(tmp_path / "out.db")["block"]) == 3


def test_an_output_that_is_an_input(tmp_path: Path, machines: tuple[Path, ...]) -> None:
    a, b, _ = machines
    (tmp_path / "link.db").symlink_to(b)
    for output in (b, tmp_path / "link.db"):
        with pytest.raises(UsageError, match="both the output and an input"):
            merge([a, b], output)


def test_a_bad_input_is_told_before_anything_is_written(shell: Shell, machines: tuple[Path, ...]) -> None:
    shell.write("notes.txt", "no database at all, but a longer text than a header\n" * 4)
    with closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE score (model TEXT)")
    with closing(sqlite3.connect(machines[2])) as db:
        db.execute("PRAGMA user_version = 99")
    for bad, said in (
        ("absent.db", "there is no database 'absent.db'. Type e.g. `preimage merge a.db b.db --db all.db`"),
        ("notes.txt", "cannot use the database 'notes.txt': file is not a database"),
        ("other.db", "'other.db' is not a database of preimage"),
        ("c.db", "'c.db' has schema version 99"),
    ):
        ended = shell("merge", "a.db", bad, "--db", "out.db")
        assert (ended.status, ended.out) == (1, "")
        assert said in ended.said
        assert not Path("out.db").exists()
    assert shell("merge", "--db", "out.db").status == 2
    assert shell("merge", "a.db", "--db", "a.db").status == 2
    assert shell("merge", "a.db", "--db", "other.db").status == 1
    assert "Check the folder" in shell("merge", "a.db", "--db", "nowhere/out.db").said


SECOND = """
class Other(Tiny):
    def __init__(self):
        super().__init__()
        self.W *= 2

@hookimpl
def register_models(register):
    register(card("tiny-good", Tiny))
    register(card("tiny-other", Other, trained_on=8))
"""


def test_work_in_parts_merged_is_one_run(shell: Shell) -> None:
    from tests.tiny_world import DATA, TINY

    shell.write("two.py", TINY + DATA + SECOND)
    parts = {
        "one.db": [("-m", "tiny-*", "--limit", "12", "-b", "recovery", "-b", "overfitting")],
        "a.db": [("-m", "tiny-good", "--limit", "12", "-b", "recovery", "-b", "overfitting")],
        "b.db": [
            ("-m", "tiny-other", "--limit", "4", "-b", "recovery"),
            ("-m", "tiny-other", "--limit", "12", "-b", "recovery"),
        ],
        "c.db": [("-m", "tiny-other", "--limit", "12", "-b", "overfitting")],
    }
    for db, commands in parts.items():
        for command in commands:
            assert shell.run(*command, *CHEAP, "--db", db, plugin="two.py").status == 0
    ended = shell("merge", "a.db", "b.db", "c.db", "--db", "all.db")
    assert ended.status == 0
    assert "a.db: " in ended.out
    assert ended.err == ""

    def scores(db: str) -> list[dict[str, Any]]:
        import json

        return [{**row, "created": ""} for row in json.loads(shell("scores", "--json", "--db", db).out)]

    assert len(scores("one.db")) > 10
    assert scores("all.db") == scores("one.db")
    again = shell.run(*parts["one.db"][0], *CHEAP, "--db", "all.db", plugin="two.py")
    assert "0 blocks measured" in again.err
    assert shell("summarise", "--plugin", "two.py", "--db", "all.db").status == 0
    assert scores("all.db") == scores("one.db")


def test_kept_blocks_ask_for_a_summary(shell: Shell, machines: tuple[Path, ...]) -> None:
    with closing(sqlite3.connect("b.db")) as db, db:
        db.execute("UPDATE row_value SET value = 0.5 WHERE image = 0 AND name = 'mse'")
    refused = shell("merge", "a.db", "b.db", "--db", "out.db")
    assert refused.status == 1
    assert "value 'mse' of image 0 is 0.5 in the first, 0.1 in the second" in refused.said
    ended = shell("merge", "a.db", "b.db", "--db", "out.db", "--conflicts", "keep-first")
    assert ended.status == 0
    assert "blocks that were there: 1 (1 of them with other rows: the first stay)" in ended.out
    assert "type `preimage summarise --db out.db`" in ended.err
