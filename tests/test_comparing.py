"""Comparing models: the stored replicates give the paired bootstrap of a difference, and only on the same images."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from preimage.harness import statistics
from preimage.harness.pairing import Difference, difference
from preimage.harness.results import Results
from preimage.harness.schema import VERSION
from tests.plugin_files import small_world
from tests.test_run import preimage

RNG = np.random.default_rng(8)


def replicates(estimate: statistics.Estimate) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(estimate.replicates, dtype="<f8")


def test_replicates_are_what_the_interval_was_taken_from() -> None:
    found = statistics.mean(RNG.gamma(2.0, size=70))
    low, high = np.percentile(replicates(found), [2.5, 97.5])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert len(replicates(found)) == statistics.RESAMPLES
    assert statistics.mean(np.array([1.0])).replicates == b""


@pytest.mark.parametrize("name", ["mean", "median"])
def test_models_are_resampled_alike(name: str) -> None:
    """The replicates of ``x + 1`` are those of ``x``, plus 1; independent resampling would scatter them."""
    sample = RNG.gamma(2.0, size=61)
    one, other = (getattr(statistics, name)(values) for values in (sample, sample + 1))
    assert replicates(other) - replicates(one) == pytest.approx(1.0)


def test_both_samples_of_a_gap_are_resampled_alike() -> None:
    train, val = RNG.gamma(2.0, 0.01, size=50), RNG.gamma(2.0, 0.02, size=70)
    one, other = statistics.median_recovery_gap(train, val), statistics.median_recovery_gap(train / 2, val / 2)
    assert replicates(one) == pytest.approx(replicates(other))


def test_the_paired_interval_covers_the_true_difference() -> None:
    """Errors of two models on the same 80 images, strongly correlated: the interval of their difference is right."""
    rng = np.random.default_rng(3)
    covered, narrower = [], []
    for _ in range(400):
        shared = rng.gamma(2.0, size=80)
        a, b = shared + 0.1 * rng.normal(size=80), shared + 0.05 + 0.1 * rng.normal(size=80)
        one, other = statistics.mean(a), statistics.mean(b)
        low, high = np.percentile(replicates(one) - replicates(other), [2.5, 97.5])
        covered.append(low <= -0.05 <= high)
        narrower.append(high - low < (one.high or 0.0) - (one.low or 0.0))
    assert 0.92 <= np.mean(covered) <= 0.98
    assert all(narrower)


def test_a_paired_bootstrap_is_scipys(tmp_path: Path) -> None:
    a, b = RNG.gamma(2.0, size=90), RNG.gamma(2.2, size=90)
    apart = replicates(statistics.mean(a)) - replicates(statistics.mean(b))
    exact = stats.bootstrap((a - b,), np.mean, n_resamples=20000, rng=np.random.default_rng(0), method="percentile")
    assert np.percentile(apart, [2.5, 97.5]) == pytest.approx(list(exact.confidence_interval), abs=0.03)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    plugin = str(small_world(tmp_path))
    options = ("--db", str(path), "--plugin", plugin, "--workers", "1", "--limit", "12", "--set", "solver.steps=10")
    assert preimage("run", "-b", "recovery", "-m", "linear", "-m", "curved", "-m", "near", *options) == 0
    return path


def test_compare_tells_models_apart_on_the_same_images(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preimage("compare", "linear", "near", "--db", str(database), "--json") == 0
    rows = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mse"]["difference"] == pytest.approx(rows["mse"]["a"] - rows["mse"]["b"])
    assert rows["mse"]["low"] <= rows["mse"]["difference"] <= rows["mse"]["high"]
    assert rows["mse"]["n"] == 12
    assert rows["floor_mse"]["verdict"] == "not on the same images" and rows["floor_mse"]["difference"] is None
    assert preimage("compare", "near", "linear", "--db", str(database), "--json") == 0
    swapped = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert swapped["mse"]["difference"] == -rows["mse"]["difference"]
    assert swapped["mse"]["verdict"] == rows["mse"]["verdict"]
    winner = "linear" if rows["mse"]["a"] < rows["mse"]["b"] else "near"
    assert rows["mse"]["verdict"] in (f"{winner} is better", "tie")


def test_the_difference_is_that_of_the_rows(database: Path) -> None:
    """The stored interval equals a paired bootstrap of the per-image errors themselves."""
    with Results(database) as results:
        one, other = (e for e in results.evaluations() if e.model in ("linear", "near"))
        found = difference(results, one, other, "mse")
        errors = [results.rows(e.asks[0].request, 12)["mse"] for e in (one, other)]
    assert isinstance(found, Difference)
    apart = errors[0] - errors[1]
    assert found.value == pytest.approx(apart.mean())
    whole = statistics.mean(apart)
    assert (found.low, found.high) == (pytest.approx(whole.low), pytest.approx(whole.high))
    assert found.tie == (found.low <= 0 <= found.high)
    assert 0 < found.p_value <= 1


def test_other_options_do_not_compare(database: Path, tmp_path: Path) -> None:
    plugin = str(tmp_path / "small_world.py")
    more = ("--db", str(database), "--plugin", plugin, "--workers", "1", "--limit", "12", "--set", "solver.steps=3")
    assert preimage("run", "-b", "recovery", "-m", "near", *more) == 0
    with Results(database) as results:
        one, other = (e for e in results.evaluations() if e.model in ("linear", "near"))
        assert difference(results, one, other, "mse") is None


def test_models_without_a_shared_score_are_told(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preimage("compare", "linear", "nera", "--db", str(database)) == 2
    assert "Did you mean" in capsys.readouterr().err
    assert preimage("compare", "linear", "near", "-b", "overfitting", "--db", str(database)) == 2
    assert "preimage run -m linear -m near" in capsys.readouterr().err


def test_a_database_of_an_older_version_is_brought_up_to_date(database: Path) -> None:
    with sqlite3.connect(database) as db:  # as version 1 was
        db.execute("ALTER TABLE metric_score DROP COLUMN replicates")
        db.execute("ALTER TABLE benchmark DROP COLUMN formula")
        db.execute("DROP TABLE reported")
        db.execute(
            "CREATE TABLE reported (model TEXT NOT NULL, dataset TEXT NOT NULL, metric TEXT NOT NULL, "
            "value REAL NOT NULL, source TEXT NOT NULL, PRIMARY KEY (model, dataset, metric, source)) STRICT"
        )
        db.execute("INSERT INTO reported VALUES ('m', 'd', 'mse', 0.5, 'a paper')")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = 'paired_comparisons_and_figures_of_papers'")
        db.execute("PRAGMA user_version = 1")
    db.close()
    with Results(database) as results:
        assert results.query("SELECT suite, benchmark, value FROM reported") == [
            {"suite": "", "benchmark": "", "value": 0.5}
        ]
        assert results.query("PRAGMA user_version")[0]["user_version"] == VERSION
        one, other = (e for e in results.evaluations() if e.model in ("linear", "near"))
        assert difference(results, one, other, "mse") is None
    assert preimage("summarise", "--db", str(database), "--plugin", str(database.parent / "small_world.py")) == 0
    with Results(database) as results:
        one, other = (e for e in results.evaluations() if e.model in ("linear", "near"))
        assert difference(results, one, other, "mse") is not None
