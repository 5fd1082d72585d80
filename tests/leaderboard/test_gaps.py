"""Gaps of recovery errors and of Frechet distances side by side; features of other weights never share a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Page

from preimage.benchmarks.frechet import Frechet
from preimage.benchmarks.overfitting import Overfitting
from preimage.harness import statistics
from preimage.harness.benchmark import Ask, Data, Model, metric_info
from preimage.harness.cards import ImageSpec, ModelCard
from preimage.harness.pairing import agree, comparable, difference, in_agreement
from preimage.harness.plan import Evaluation
from preimage.harness.requests import ModelKey, Recovery
from preimage.harness.results import Results
from preimage.harness.rows import Block
from preimage.harness.store import Store
from preimage.leaderboard.benchmark_page import benchmark_contexts, benchmark_path
from preimage.leaderboard.gaps import Gaps
from preimage.leaderboard.records import read_records
from preimage.leaderboard.sections import Section, sections_of
from preimage.leaderboard.site import build_site
from preimage.leaderboard.ties import unpaired

SHAPE = ImageSpec(1, 8, 8)
SETS = Data("tiny", SHAPE, 0, {"train": 60, "test": 60}, {"train": "1" * 64, "test": "2" * 64})
MEMORISES, GENERALISES = "memorises", "generalises"
TRAIN = {MEMORISES: 0.1, GENERALISES: 1.0}
"""Recovery error of training images over that of unseen ones."""
RULE = "resized to 64"
"""What the network of identity aaa does to images first; that of bbb was stored before rules were."""


def rows_of(ask: Ask, model: str, number: int) -> Block:
    """Made-up rows of a block."""
    request: Any = ask.request
    rng = np.random.default_rng([len(model), number])
    first, count = number * request.block, request.block
    if isinstance(request, Recovery):
        level = TRAIN[model] if getattr(request.images, "split", "") == "train" else 1.0
        values = {name: level * rng.lognormal(0, 0.3, count) for name in ("mse", "distance", "l2")}
    elif request.kind == "feature-comparison":
        near = 10 + rng.normal(0, 0.1, count)
        shares = {name: np.full(count, 0.5) for name in ("kid", "precision", "recall", "density", "coverage")}
        values = {
            "images": np.full(count, float(request.size)),
            "frechet_train": near,
            "frechet_val": near * 1.01,
            **shares,
        }
    else:
        values = {"norm": np.ones(count)}
    values["evaluations"] = np.ones(count)
    return Block(np.arange(first, first + count), np.full(count, -1), values, evaluations=count, seconds=1.0)


def evaluate(
    store: Store, run: int, name: str, benchmark: Any, suite: str = "s", identity: str = "a" * 64, **settings: Any
) -> None:
    """What the runner does, with rows made up. identity: of the extractor and of every distance."""
    given = {key: value for key, value in settings.items() if key != "trained_on"}
    card = ModelCard(name, "family", "tiny", SHAPE, 0, trained_on=settings.get("trained_on"))
    key = ModelKey(name, name)
    options = benchmark.options(**given)
    evaluation = Evaluation(card, "tiny", benchmark, suite, options, key, status="ok")
    store.add_model(card, key)
    store.add_benchmark(benchmark)
    evaluation.asks = {
        role: Ask(ask.request.identified(lambda name: identity, lambda name: identity), ask.count)
        for role, ask in benchmark.requests(Model(card, key, {"z": 2}), SETS, options).items()
    }
    waiting = [(ask.request, ask.count) for ask in evaluation.asks.values()]
    for request, count in waiting:
        store.add_request(request)
        for number in request.blocks(count):
            store.add_block(request.key(), number, rows_of(Ask(request, count), name, number), run)
    rows = {role: store.rows(ask.request.key(), ask.count) for role, ask in evaluation.asks.items()}
    scores = benchmark.summarise(rows, options)
    metrics = {score.metric: metric_info(benchmark, score.metric) for score in scores}
    store.add_evaluation(evaluation, scores, metrics, "preimage run", run)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("gaps") / "preimage.db"
    with pytest.MonkeyPatch.context() as patch, Store(path) as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "0" * 40, {}, {})
        for name in (GENERALISES, MEMORISES):
            evaluate(store, run, name, Overfitting())
            evaluate(store, run, name, Frechet(), limit=50)
        evaluate(store, run, MEMORISES, Overfitting(), "alone")
        evaluate(store, run, MEMORISES, Frechet(), "elsewhere")
        evaluate(store, run, GENERALISES, Frechet(), "weights", identity="a" * 64)
        evaluate(store, run, MEMORISES, Frechet(), "weights", identity="b" * 64)
        evaluate(store, run, GENERALISES, Frechet(), "sizes")
        evaluate(store, run, MEMORISES, Frechet(), "sizes", trained_on=45)
        for name in (GENERALISES, MEMORISES):
            evaluate(store, run, name, Overfitting(), "sizes")
            evaluate(store, run, name, Overfitting(), "weights")
        for name, identity in ((GENERALISES, "a"), (MEMORISES, "b")):
            evaluate(store, run, name, Overfitting(), "distances", identity=identity * 64)
        store.add_rule("a" * 64, RULE)
        store.end_run(run)
        yield path


@pytest.fixture(scope="module")
def sections(database: Path) -> dict[tuple[str, str], Section]:
    with Results(database) as results:
        found = sections_of(read_records(results), unpaired)
    return {(section.benchmark.name, section.suite): section for section in found}


def gaps(database: Path, sections: Mapping[tuple[str, str], Section]) -> list[Gaps]:
    with Results(database) as results:
        contexts = {path: context for path, context in benchmark_contexts(results, list(sections.values()))}
    for path, context in contexts.items():
        if path != benchmark_path("overfitting"):
            assert not [one for part in context["data"] for one in part.gaps]
    return [one for part in contexts[benchmark_path("overfitting")]["data"] for one in part.gaps]


def of_suites(figures: list[Gaps]) -> dict[str, list[Gaps]]:
    found: dict[str, list[Gaps]] = {}
    for figure in figures:
        found.setdefault(figure.ranking.removesuffix(".html").split("~~")[2], []).append(figure)
    return found


def test_both_gaps_stand_side_by_side_where_both_were_measured(
    database: Path, sections: dict[tuple[str, str], Section]
) -> None:
    figures = of_suites(gaps(database, sections))
    assert figures.keys() == {"s", "weights", "sizes"}  # in no other are both
    [figure] = figures["s"]
    assert [column.name for column in figure.dots.columns] == ["mre_gap", "frechet_gap/alexnet"]
    assert [line.model.name for line in figure.dots.lines] == [MEMORISES, GENERALISES]
    with Results(database) as results:
        stored = {(row["model"], row["metric"]): row["value"] for row in results.scores() if row["suite"] == "s"}
    for line in figure.dots.lines:
        for column, cell in zip(figure.dots.columns, line.cells, strict=True):
            assert cell is not None
            assert cell[0].raw == stored[line.model.name, column.name]
            assert cell[1].value == figure.dots.axis.scale(cell[0].raw)
            assert cell[1].low is not None and cell[1].low <= cell[1].value
    recovery, features = figure.dots.lines[0].cells
    assert recovery is not None and features is not None
    assert recovery[1].value > features[1].value + 50
    assert not figure.dots.axis.scale.log and figure.dots.axis.scale.low <= 0
    assert "features of alexnet, 50 images" in figure.title


def test_gaps_of_other_weights_have_a_figure_of_their_own_and_those_of_other_counts_have_not(
    database: Path, sections: dict[tuple[str, str], Section]
) -> None:
    figures = of_suites(gaps(database, sections))
    assert sorted([line.model.name for line in one.dots.lines] for one in figures["weights"]) == [
        [GENERALISES], [MEMORISES],
    ]  # fmt: skip
    [figure] = figures["sizes"]
    assert len(figure.dots.lines) == 2
    assert figure.title.endswith("45 to 60 images")


def test_the_page_shows_the_figure_with_its_numbers(database: Path, tmp_path: Path) -> None:
    site = build_site(database, tmp_path / "site").parent
    page = Page(site / benchmark_path("overfitting"))
    assert page.text.count("Gap of recovery errors and of Frechet distances, features of alexnet, 50 images") >= 1
    assert "recovery flagged above 0.10" in page.text and "frechet_gap/alexnet" in page.text
    assert "Gap of recovery errors" not in Page(site / benchmark_path("frechet")).text
    assert "features of alexnet" in Page(site / benchmark_path("frechet")).text


def test_boards_print_what_images_were_seen_through(
    database: Path, sections: dict[tuple[str, str], Section], tmp_path: Path
) -> None:
    told = {board.looks[0] for board in sections["frechet", "weights"].boards}
    assert told == {f"extractor alexnet (aaaaaaaaaaaa): {RULE}", "extractor alexnet (bbbbbbbbbbbb)"}
    assert "images of each set (50)" in sections["frechet", "s"].boards[0].looks
    site = build_site(database, tmp_path / "site").parent
    for path in (sections["frechet", "s"].page, benchmark_path("frechet")):
        text = Page(site / path).text
        assert f"extractor alexnet (aaaaaaaaaaaa): {RULE}" in text and "images of each set (50)" in text


def names(section: Section) -> list[list[str]]:
    return [[line.model.name for line in board.lines] for board in section.boards]


def test_scores_seen_through_other_weights_or_of_other_counts_share_no_board(
    sections: dict[tuple[str, str], Section],
) -> None:
    assert sorted(names(sections["frechet", "s"])[0]) == [GENERALISES, MEMORISES]
    for suite in ("weights", "sizes"):
        assert sorted(names(sections["frechet", suite])) == [[GENERALISES], [MEMORISES]]
    assert sorted(names(sections["overfitting", "distances"])) == [[GENERALISES], [MEMORISES]]
    told = {board.seen["extractor alexnet"] for board in sections["frechet", "weights"].boards}
    assert told == {"a" * 64, "b" * 64}
    assert {board.seen["images of each set"] for board in sections["frechet", "sizes"].boards} == {"60", "45"}


def test_they_have_no_difference_either(database: Path) -> None:
    with Results(database) as results:
        of = {(e.model, e.benchmark, e.suite): e for e in results.evaluations()}
        one, other = (of[name, "overfitting", "distances"] for name in (GENERALISES, MEMORISES))
        assert difference(results, one, other, "mre_val") is None
        assert comparable(results, [one, other], "mre_val") == []
        one, other = (of[name, "overfitting", "s"] for name in (GENERALISES, MEMORISES))
        assert difference(results, one, other, "mre_val") is not None
        assert comparable(results, [one, other], "mre_val") == [[one, other]]


def test_what_names_no_network_agrees_with_anything() -> None:
    a, b, none = {"x": "1", "y": "2"}, {"x": "3"}, dict[str, str]()
    assert agree(a, none) and agree(none, a) and agree(a, {"y": "2"}) and not agree(a, b)
    assert in_agreement(["none", "b", "a"], [none, b, a]) == [["none", "a"], ["b"]]
