"""Things that promise one content and deliver another: weights, labels, suites, benchmarks, two writers at once."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.store import Store
from tests.plugin_files import small_world
from tests.test_run import preimage, scores


def run(plugin: Path, database: Path, *more: str) -> int:
    return preimage("run", "--plugin", str(plugin), "--db", str(database), "--set", "block=16", "--workers", "1", *more)


def test_a_model_that_loads_differently_each_time_is_not_measured(tmp_path: Path, capsys: Any) -> None:
    """Two workers would else store rows of two networks under one request."""
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    text = plugin.read_text().replace("lambda device: Linear()", "lambda device: Linear(int(time.time_ns()) % 2**32)")
    plugin.write_text(text)
    more = ("-m", "linear", "-b", "recovery", "--limit", "40", "--workers", "2")
    assert run(plugin, database, *more) == 1
    assert "is not the one that was planned" in capsys.readouterr().out
    assert sqlite3.connect(database).execute("SELECT count(*) FROM block").fetchone() == (0,)


def test_tensors_that_are_no_buffers_are_part_of_the_identity(tmp_path: Path) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    more = ("-m", "linear", "-b", "recovery", "--limit", "5")
    hidden = plugin.read_text().replace('self.register_buffer("b", ', "self.b = (")
    plugin.write_text(hidden)
    assert run(plugin, database, *more) == 0
    before = {s["request"] for s in scores(database)}
    plugin.write_text(hidden.replace("0.3 + 0.4", "0.2 + 0.4"))
    assert run(plugin, database, *more) == 0
    assert before.isdisjoint({s["request"] for s in scores(database)})


@pytest.mark.parametrize("model", ["curved", "near"])
def test_images_without_labels_are_not_classified(tmp_path: Path, capsys: Any, model: str) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    plugin.write_text(plugin.read_text().replace('"test": images(80, 4)', '"test": (images(80, 4)[0], None)'))
    assert run(plugin, database, "-m", model, "-b", "classification", "--limit", "5") == 1
    assert "images have no label from 0 to 2 (label -1 seen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        (
            "name: s\noptions: {solvr.steps: 1}\nbenchmarks: {recovery: }\n",
            "none of its benchmarks has the option 'solvr",
        ),
        ("name: s\nbenchmarks: {recovery: 5}\n", "'recovery' is 5; it must be a table of options"),
        ("name: s\ndataset: 5\nbenchmarks: {recovery: }\n", "`dataset` is 5; write a text"),
        ("name: [s]\nbenchmarks: {recovery: }\n", "`name` is ['s']; write a text"),
        ("name: s\nbenchmarks: {1: }\n", "1 is no name of a benchmark or option"),
        ("name: s\noptions: {1: 2}\nbenchmarks: {recovery: }\n", "1 is no name of a benchmark or option"),
        ("name: s\nbenchmarks: {recovery: {1: 2}}\n", "1 is no name of a benchmark or option"),
        ("name: s\nmodels: ppca\nbenchmarks: {recovery: }\n", "`models` is 'ppca'; write a list"),
    ],
)
def test_a_suite_that_would_not_be_what_it_says_is_refused(tmp_path: Path, capsys: Any, suite: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(suite)
    assert preimage("run", str(file), "-m", "ppca", "--db", str(tmp_path / "a.db")) == 2
    assert said in capsys.readouterr().err


def test_a_suite_without_options_runs(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: s\noptions:\nbenchmarks: {recovery: }\n")
    assert (
        preimage("run", str(file), "-m", "mean-image", "--db", str(tmp_path / "a.db"), "--limit", "4", "--dry-run") == 0
    )


BENCHMARK = """
from preimage.harness import hookimpl
from preimage.harness.asking import recovery_of_split
from preimage.harness.benchmark import MetricInfo, Score
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Estimate


class Odd:
    name, version, question, options = "odd", 1, "?", RecoveryOptions
    metrics = {"declared": MetricInfo("x", "none", "y")}

    def requests(self, model, data, options):
        return {"test": recovery_of_split(model, data, "test", options)}

    def summarise(self, rows, options):
        return [Score(METRIC, Estimate(VALUE, None, None, 1))]


@hookimpl
def register_benchmarks(register):
    register(Odd())
"""


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("declared", "float('nan')", "gives declared = nan"),
        ("other", "1.0", "the metric 'other', which it does not declare"),
    ],
)
def test_a_score_that_is_none_fails_alone(tmp_path: Path, capsys: Any, metric: str, value: str, said: str) -> None:
    plugin, odd, database = small_world(tmp_path), tmp_path / "odd.py", tmp_path / "a.db"
    odd.write_text(BENCHMARK.replace("METRIC", repr(metric)).replace("VALUE", value))
    more = ("--plugin", str(odd), "-m", "linear", "-b", "odd", "-b", "recovery", "--limit", "5")
    assert run(plugin, database, *more) == 1
    assert said in capsys.readouterr().out
    assert {(s["benchmark"], s["status"]) for s in scores(database)} == {("odd", "failed"), ("recovery", "ok")}
    assert preimage("summarise", "--db", str(database), "--plugin", str(plugin), "--plugin", str(odd)) == 0


def test_a_model_that_no_longer_loads_keeps_the_way_to_its_rows(tmp_path: Path) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    more = ("-m", "linear", "-b", "recovery", "--limit", "5")
    assert run(plugin, database, *more) == 0
    before, text = scores(database), plugin.read_text()
    plugin.write_text(text.replace("lambda device: Linear()", "lambda device: 1 / 0"))
    assert run(plugin, database, *more) == 1
    assert [s["status"] for s in scores(database)] == ["failed"]
    assert preimage("summarise", "--db", str(database)) == 0
    assert scores(database) == before


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Each transaction takes its lock before it reads, so none is told that the database is locked."""
    problems: list[BaseException] = []
    Store(tmp_path / "a.db").close()

    def write() -> None:
        try:
            with Store(tmp_path / "a.db") as store:
                for i in range(40):
                    store.begin_run(f"run {i}", 0, "", {}, {})
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sqlite3.connect(tmp_path / "a.db").execute("SELECT count(*) FROM run").fetchone() == (160,)
