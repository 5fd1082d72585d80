"""The road of the data: resuming, killing, workers, limits. Stored numbers depend on the request alone."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.cli import main
from tests.plugin_files import small_world

STORED = (
    "SELECT b.request, b.number, b.rows, b.pixels, b.evaluations FROM block b ORDER BY 1, 2",
    "SELECT b.request, r.image, r.label, r.outcome, r.code FROM row r JOIN block b ON b.id = r.block ORDER BY 1, 2, 3",
    "SELECT b.request, v.image, v.label, v.name, v.value FROM row_value v JOIN block b ON b.id = v.block "
    "ORDER BY 1, 2, 3, 4",
    "SELECT b.request, b.number, p.name, p.png FROM picture p JOIN block b ON b.id = p.block ORDER BY 1, 2, 3",
)


def stored(database: Path) -> list[list[tuple[Any, ...]]]:
    """Everything measured, in an order of its own."""
    with sqlite3.connect(database) as db:
        rows = [db.execute(query).fetchall() for query in STORED]
    db.close()
    return rows


def scores(database: Path) -> list[dict[str, Any]]:
    """The view `score` without its times."""
    db = sqlite3.connect(database)
    db.row_factory = sqlite3.Row
    rows = [{k: r[k] for k in r.keys() if k != "created"} for r in db.execute("SELECT * FROM score")]  # noqa: SIM118
    db.close()
    return rows


def preimage(*arguments: str) -> int:
    """Run the command line in this process; its exit status."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return small_world(tmp_path)


BY_RECOVERY = ("recovery", "overfitting", "classification", "goodness-of-fit", "outliers", "frechet")


def run(plugin: Path, database: Path, *more: str) -> int:
    """The benchmarks but those of likelihood on three models, in small blocks."""
    models = () if "-m" in more else ("-m", "linear", "-m", "curved", "-m", "near")
    asked = () if "-b" in more else tuple(word for name in BY_RECOVERY for word in ("-b", name))
    return preimage(
        "run", *models, *asked, "--plugin", str(plugin), "--db", str(database),
        "--set", "block=16", "--set", "solver.steps=30", *more,
    )  # fmt: skip


def test_a_second_run_does_no_work_and_changes_nothing(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "--workers", "1", "--limit", "20") == 0
    before, said = stored(database), scores(database)
    created = sqlite3.connect(database).execute("SELECT created FROM evaluation ORDER BY id").fetchall()
    capsys.readouterr()
    assert run(plugin, database, "--workers", "1", "--limit", "20") == 0
    assert "0 blocks measured, 0 generator evaluations" in capsys.readouterr().err
    assert stored(database) == before
    assert scores(database) == said
    assert sqlite3.connect(database).execute("SELECT created FROM evaluation ORDER BY id").fetchall() == created


@pytest.mark.slow
def test_workers_and_limits_change_no_stored_value(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    """One worker or two, a small limit and then a larger one: the same bytes, and no block measured twice."""
    at_once, in_steps = tmp_path / "at-once.db", tmp_path / "in-steps.db"
    assert run(plugin, at_once, "--workers", "1", "--limit", "40") == 0
    assert run(plugin, in_steps, "--workers", "2", "--limit", "20") == 0
    first = {row[:2]: row for row in stored(in_steps)[0]}
    capsys.readouterr()
    assert run(plugin, in_steps, "--workers", "2", "--limit", "40") == 0
    measured = int(capsys.readouterr().err.split(" blocks measured")[0].split()[-1])
    blocks = {row[:2]: row for row in stored(in_steps)[0]}
    assert measured == len(blocks) - len(first) > 0
    assert all(blocks[key] == row for key, row in first.items())
    assert stored(in_steps) == stored(at_once)
    assert scores(in_steps) == scores(at_once)


def test_a_limit_inside_a_block_scores_only_the_images_asked(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "-b", "recovery", "--workers", "1", "--limit", "5") == 0
    db = sqlite3.connect(database)
    request = db.execute("SELECT request FROM score WHERE metric = 'mse'").fetchone()[0]
    values = [row[0] for row in db.execute(
        "SELECT v.value FROM row_value v JOIN block b ON b.id = v.block WHERE b.request = ? AND v.name = 'mse' "
        "ORDER BY v.image", [request])]  # fmt: skip
    value, n = db.execute("SELECT value, n FROM score WHERE metric = 'mse'").fetchone()
    assert len(values) == 16
    assert n == 5
    assert value == pytest.approx(sum(values[:5]) / 5, rel=1e-12)


def test_training_images_beyond_trained_on_are_never_scored(plugin: Path, tmp_path: Path) -> None:
    """`linear` was trained on 40 images: the third block of 16 is measured whole, 40 images are scored."""
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "-b", "overfitting", "--workers", "1") == 0
    db = sqlite3.connect(database)
    assert db.execute("SELECT n FROM score WHERE metric = 'mre_train'").fetchone() == (40,)
    assert db.execute("SELECT n FROM score WHERE metric = 'mre_val'").fetchone() == (80,)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_at_any_moment_loses_no_finished_block(plugin: Path, tmp_path: Path, workers: str) -> None:
    """`kill -9` twice, then the same command: no block that was there has changed, and all is as undisturbed."""
    disturbed, undisturbed = tmp_path / "disturbed.db", tmp_path / "undisturbed.db"
    more = ("-m", "slow", "-b", "recovery", "-b", "classification", "--workers", workers, "--limit", "48")
    command = [sys.executable, "-m", "preimage.harness.cli", "run", "--plugin", str(plugin), "--db", str(disturbed),
               "--set", "block=16", "--set", "solver.steps=30", *more]  # fmt: skip
    had: dict[Any, Any] = {}
    for wanted in (2, 5):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None and _blocks(disturbed) < wanted:
            time.sleep(0.02)
        process.kill()
        process.wait()
        found = {row[:2]: row for row in stored(disturbed)[0]}
        assert len(found) >= wanted
        assert all(found[key] == row for key, row in had.items())
        had = found
    if workers == "2":
        _assert_nothing_left(process.pid)
    total = len(had)
    assert run(plugin, disturbed, *more) == 0
    assert run(plugin, undisturbed, *more) == 0
    assert len(stored(undisturbed)[0]) > total, "the kills came too late to interrupt anything"
    assert stored(disturbed) == stored(undisturbed)
    assert json.dumps(scores(disturbed)) == json.dumps(scores(undisturbed))
    assert sqlite3.connect(disturbed).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _blocks(database: Path) -> int:
    if not database.is_file():
        return 0
    try:
        db = sqlite3.connect(database)
        count: int = db.execute("SELECT count(*) FROM block").fetchone()[0]
        db.close()
        return count
    except sqlite3.OperationalError:
        return 0


def _assert_nothing_left(group: int) -> None:
    """No worker outlives its killed parent by more than a few seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("worker processes outlived their parent")


def test_summarise_needs_only_the_rows(plugin: Path, tmp_path: Path) -> None:
    """Scores deleted from the database come back the same, without the models and the data."""
    database = tmp_path / "a.db"
    assert run(plugin, database, "--workers", "1", "--limit", "20") == 0
    before = scores(database)
    db = sqlite3.connect(database)
    db.execute("UPDATE metric_score SET value = value + 1")
    db.commit()
    db.close()
    assert scores(database) != before
    assert preimage("summarise", "--db", str(database)) == 0
    assert scores(database) == before


def test_a_changed_data_set_is_another_request(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "-b", "recovery", "--workers", "1", "--limit", "5") == 0
    plugin.write_text(plugin.read_text().replace("images(80, 4)", "images(80, 5)"))
    assert run(plugin, database, "-m", "linear", "-b", "recovery", "--workers", "1", "--limit", "5") == 0
    requests = {row[0] for row in sqlite3.connect(database).execute(
        "SELECT key FROM request WHERE description LIKE '%squares%' AND kind = 'recovery'")}  # fmt: skip
    assert len(requests) == 2


def test_a_changed_model_is_another_request(plugin: Path, tmp_path: Path) -> None:
    """The state of a model defined in code is part of its identity."""
    database = tmp_path / "a.db"
    assert run(plugin, database, "-m", "linear", "-b", "recovery", "--workers", "1", "--limit", "5") == 0
    before = scores(database)
    plugin.write_text(plugin.read_text().replace("lambda device: Linear()", "lambda device: Linear(7)"))
    assert run(plugin, database, "-m", "linear", "-b", "recovery", "--workers", "1", "--limit", "5") == 0
    assert {s["request"] for s in before}.isdisjoint({s["request"] for s in scores(database)})


def test_fail_fast_stops_and_says_so(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    text = plugin.read_text().replace('"w", torch.tensor(0.05', '"w", torch.tensor(float("nan") + 0.05')
    plugin.write_text(text)
    assert run(plugin, tmp_path / "a.db", "--workers", "1", "--limit", "5", "--fail-fast") == 1
    assert "stopped" in capsys.readouterr().err
