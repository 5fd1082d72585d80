"""Groups of models: paired differences decide where there are some, intervals elsewhere; who may be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from synthetic_results import OPTIONS, cards, evaluate

from preimage.benchmarks.overfitting import Overfitting
from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness import statistics
from preimage.harness.pairing import Difference, comparable, difference
from preimage.harness.results import Results, StoredEvaluation
from preimage.harness.store import Store
from preimage.leaderboard.records import BenchmarkRecord, Entry, Figure, Metric, ModelRecord, read_records
from preimage.leaderboard.sections import sections_of
from preimage.leaderboard.ties import AHEAD, Paired, overlap, paired_in, standings, unpaired

MSE = Metric("mse", "squared pixel", "lower", "error")


def entry(name: str, value: float, low: float, high: float) -> Entry:
    stored = StoredEvaluation(0, name, "d", "recovery", "", 1, {}, (), "ok", "", "", "", "")
    figures = {"mse": Figure(MSE, value, low, high, 60)}
    return Entry(stored, ModelRecord(name, "f", "id", "generator", {}), BenchmarkRecord("recovery", "?", {}), figures)


def apart_by(width: float) -> Paired:
    """Differences of the values, with an interval of that width."""

    def paired(one: Entry, others: Sequence[Entry], metric: str) -> list[Difference]:
        assert len(others) <= AHEAD
        gaps = [one.figures[metric].value - other.figures[metric].value for other in others]
        return [Difference(gap, gap - width, gap + width, 60, 0.5) for gap in gaps]

    return paired


def test_a_group_ends_where_a_model_is_apart_from_its_first() -> None:
    entries = [entry(f"m{k}", 0.1 * k, 0.0, 9.0) for k in range(30)]  # intervals overlap all over
    found = standings(entries, "mse", apart_by(0.25))
    assert [s.group for s in found] == [k // 3 + 1 for k in range(30)]
    assert [s.tied for s in found] == [k % 3 != 0 for k in range(30)]
    assert found[0].against is None and found[4].against is entries[3] and found[3].against is entries[0]
    turned = found[3].difference
    assert turned is not None and turned.value == pytest.approx(0.3) and turned.low < turned.value < turned.high


def test_intervals_decide_where_nothing_is_paired() -> None:
    entries = [entry("a", 0.2, 0.1, 0.3), entry("b", 0.25, 0.2, 0.3), entry("c", 0.5, 0.4, 0.6)]
    found = standings(entries, "mse", unpaired)
    assert [(s.group, s.tied, s.difference) for s in found] == [(1, False, None), (1, True, None), (2, False, None)]
    assert overlap(entries[0].figures["mse"], entries[1].figures["mse"])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    path = tmp_path_factory.mktemp("ties") / "preimage.db"
    with pytest.MonkeyPatch.context() as patch, Store(path) as store:
        patch.setattr(statistics, "RESAMPLES", 100)
        run = store.begin_run("preimage run", 0, "", {}, {})
        for card in cards()[:4]:
            for benchmark in (RecoveryBenchmark(), Overfitting()):
                evaluate(store, run, card, benchmark)
        fewer = type(OPTIONS)(limit=30)
        evaluate(store, run, cards()[0], RecoveryBenchmark(), "few", fewer)
    with Results(path) as opened:
        yield opened


@pytest.mark.parametrize("benchmark", ["recovery", "overfitting"])
def test_a_class_holds_just_those_that_have_differences(results: Results, benchmark: str) -> None:
    evaluations = [e for e in results.evaluations() if e.benchmark == benchmark]
    metrics = {row["metric"] for row in results.scores() if row["benchmark"] == benchmark}
    classed = 0
    for metric in metrics:
        classes = comparable(results, evaluations, metric)
        for one in evaluations:
            for other in evaluations:
                together = any(one in alike and other in alike for alike in classes)
                has = difference(results, one, other, metric) is not None
                assert together <= has and (one is other or together == has), (metric, one.model, other.model)
                classed += together
    assert classed


def test_the_board_of_a_database_has_paired_differences(results: Results) -> None:
    sections = sections_of(read_records(results), paired_in(results))
    [board] = [s.boards[0] for s in sections if s.benchmark.name == "recovery" and s.suite == "quick"]
    assert board.rules == (True, False)
    for line in board.lines:
        if line.standing is None or line.standing.against is None:
            continue
        expected = difference(results, line.entry.evaluation, line.standing.against.evaluation, "mse")
        assert line.standing.difference is not None and expected is not None
        assert line.standing.difference.value == pytest.approx(expected.value)
        assert (line.standing.difference.low, line.standing.difference.high) == pytest.approx(
            (expected.low, expected.high)
        )
        assert line.standing.tied == expected.tie and line.difference is not None
