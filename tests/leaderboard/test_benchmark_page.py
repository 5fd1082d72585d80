"""Pages of benchmarks: formula, metrics, refusals, and plots whose points are the database's numbers."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pages import Page
from synthetic_results import HOSTILE, hostile_cards
from zoo_results import GAPS, LIMIT, OUTLIERS, STEPS, Fit, Strange, write_zoo, zoo

from preimage.harness import statistics
from preimage.harness.results import Results
from preimage.leaderboard.benchmark_page import MOST_PROTOCOLS, benchmark_contexts, benchmark_path
from preimage.leaderboard.benchmark_plots import (
    ASIDE,
    MOST_POINTS,
    OTHER,
    Drawn,
    error_against_evaluations,
    kind_of,
)
from preimage.leaderboard.board import boards_of
from preimage.leaderboard.curve import Dot
from preimage.leaderboard.dots import ACROSS, MOST, dots_of
from preimage.leaderboard.index_page import EXHIBITED
from preimage.leaderboard.records import ModelRecord, read_records
from preimage.leaderboard.sections import sections_of
from preimage.leaderboard.site import build_site
from preimage.leaderboard.ties import unpaired


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 20)
        yield write_zoo(tmp_path_factory.mktemp("zoo") / "preimage.db", [*zoo(), *hostile_cards()])


@pytest.fixture(scope="module")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(database, tmp_path_factory.mktemp("sites") / "site").parent


@pytest.fixture(scope="module")
def drawn(database: Path) -> dict[str, list[Drawn]]:
    """The charts of each benchmark."""
    with Results(database) as results:
        sections = sections_of(read_records(results), unpaired)
        return {
            context["benchmark"].name: [
                chart
                for part in context["data"]
                for chart in (*part.charts, *(c for protocol in part.protocols for c in protocol.charts))
            ]
            for _, context in benchmark_contexts(results, sections)
        }


@pytest.fixture(scope="module")
def scores(database: Path) -> dict[tuple[str, str, str, str], dict[str, float]]:
    with Results(database) as results:
        return {(s["model"], s["benchmark"], s["metric"], s["suite"]): s for s in results.scores()}


def page_of(site: Path, benchmark: str) -> Page:
    return Page(site / benchmark_path(benchmark))


def dots_by_name(drawn: Drawn) -> dict[str, list[Dot]]:
    found: dict[str, list[Dot]] = {}
    for dot in drawn.chart.dots:
        found.setdefault(dot.point.name, []).append(dot)
    return found


def test_every_benchmark_has_a_page_with_its_question_formula_and_metrics(site: Path) -> None:
    page = page_of(site, "goodness-of-fit")
    assert Fit.question in page.text and Fit.formula in page.text
    for name, info in Fit.metrics.items():
        for said in (name, info.unit, info.meaning):
            assert said in page.text
    assert "lower is better" in page.text and f"the first {LIMIT} images of each split" in page.text
    for benchmark in ("recovery", "overfitting", "classification", "outliers", Strange.name):
        assert page_of(site, benchmark).all("h1")


def test_rankings_are_linked_and_every_link_leads_somewhere(site: Path) -> None:
    for path in (site / "benchmark").iterdir():
        page = Page(path)
        assert any("board/" in reference for reference in page.references)
        ids = [tag["id"] for _, tag in page.tags if "id" in tag]
        assert len(ids) == len(set(ids))
        for reference in page.references:
            if not reference.startswith(("#", "data:")):
                assert (path.parent / reference).resolve().is_file(), reference


def test_flags_are_explained_where_they_are_given_only(site: Path) -> None:
    assert "p\xa0<\xa00.01" in page_of(site, "overfitting").text and "above 0.10" in page_of(site, "overfitting").text
    assert "Kolmogorov" not in page_of(site, "recovery").text


def test_checkpoints_stand_aside_from_the_gap_against_n(drawn: dict[str, list[Drawn]]) -> None:
    [chart] = drawn["overfitting"]
    names = set(dots_by_name(chart))
    assert "fashion-dcgan" in names and not {f"fashion-dcgan-step-{step}" for step in STEPS} & names
    assert "Checkpoints are left out" in chart.told


def test_the_gap_is_drawn_against_n_for_what_memorises(
    drawn: dict[str, list[Drawn]], scores: dict[tuple[str, str, str, str], dict[str, float]]
) -> None:
    [chart] = drawn["overfitting"]
    assert chart.chart.limit is not None and chart.chart.limit.value == 0.1 and chart.chart.log[0]
    lines = {line.name: line for line in chart.chart.lines}
    assert set(lines) == {"GLO", "GAN", "autoencoder", "AEGAN", "VAE", OTHER, ASIDE}
    for kind, prefix in (("GLO", "glo"), ("autoencoder", "ae")):
        line = lines[kind]
        assert [dot.point.x for dot in line.dots] == sorted(GAPS) and line.path.count("L") == 2
        for dot in line.dots:
            score = scores[f"fashion-{prefix}-{dot.point.x:.0f}", "overfitting", "mre_gap", "quick"]
            assert (dot.point.y, dot.point.low, dot.point.high) == (score["value"], score["low"], score["high"])
        heights = [dot.y for dot in line.dots]
        assert heights == sorted(heights)  # the gap falls with N, so the points sink
    assert not lines["GAN"].path  # all of the same N: points
    assert len(dots_by_name(chart)) == len(zoo()) - len(STEPS) + len(HOSTILE)


def test_recovery_is_drawn_against_evaluations_one_point_per_protocol(
    drawn: dict[str, list[Drawn]], scores: dict[tuple[str, str, str, str], dict[str, float]]
) -> None:
    [chart] = drawn["recovery"]
    dots = sorted(dots_by_name(chart)["fashion-wgan-gp"], key=lambda dot: dot.x)
    assert [dot.point.x for dot in dots] == [45.0, 180.0, 720.0]
    suites = ("spend-50", "quick", "spend-800")
    expected = [scores["fashion-wgan-gp", "recovery", "mse", suite]["value"] for suite in suites]
    assert [dot.point.y for dot in dots] == expected
    assert {dot.point.x for dot in dots_by_name(chart)["fashion-ae-128"]} == {2.0}  # an encoder: one pass and one more
    assert "1nn" not in dots_by_name(chart)  # a reference spends none
    [named] = [dot for dot in dots if dot.point.named]
    assert named is dots[-1] and "M" in next(line.path for line in chart.chart.lines if line.name == "GAN")


def test_recoveries_of_other_images_are_another_chart(database: Path, tmp_path: Path) -> None:
    """Points are joined only where the same was searched for: as many images, one distance, one operator."""
    copy = shutil.copy(database, tmp_path / "a.db")
    with sqlite3.connect(copy) as db:
        db.execute("UPDATE evaluation SET options = json_set(options, '$.limit', 7) WHERE suite = 'spend-800'")
    db.close()
    with Results(copy) as results:
        of_recovery = [s for s in sections_of(read_records(results), unpaired) if s.benchmark.name == "recovery"]
        charts = error_against_evaluations(results, of_recovery)
    points = [[dot.point.x for dot in dots_by_name(chart).get("fashion-wgan-gp", [])] for chart in charts]
    assert sorted(map(len, points)) == [1, 2]


def test_fit_is_drawn_along_the_training_with_the_parent_at_its_own_step(
    drawn: dict[str, list[Drawn]], scores: dict[tuple[str, str, str, str], dict[str, float]]
) -> None:
    [chart] = drawn["goodness-of-fit"]
    assert "fashion-dcgan" in chart.title
    val, train = chart.chart.lines
    assert (val.name, val.style, train.name, train.style) == ("validation images", "val", "training images", "train")
    for line, metric in ((val, "f_val"), (train, "f_train")):
        assert [dot.point.x for dot in line.dots] == [*STEPS, 2400]
        names = [*(f"fashion-dcgan-step-{step}" for step in STEPS), "fashion-dcgan"]
        expected = [scores[name, "goodness-of-fit", metric, "quick"]["value"] for name in names]
        assert [dot.point.y for dot in line.dots] == expected and line.path.count("L") == len(STEPS)


def test_outlier_sets_stand_side_by_side_with_chance_marked(site: Path) -> None:
    page = page_of(site, "outliers")
    tables = [tag for tag in page.all("table") if "dots" in tag.get("class", "")]
    assert len(tables) == 2  # five sets, at most four across: three and two
    for name in OUTLIERS:
        assert f"auroc/{name}" in page.text
    assert page.text.count("dashed: chance") == 2
    marks = {tag["x1"] for tag in page.all("line") if tag.get("class") == "limit"}
    assert len(marks) == 1  # 0.5 lies at one place, for one axis holds all sets


def test_chance_of_classification_is_one_of_its_classes(site: Path) -> None:
    page = page_of(site, "classification")
    assert "chance, 1 of 10" in page.text and "1nn" in page.text


def test_who_cannot_be_scored_is_told_once_per_reason(site: Path) -> None:
    page = page_of(site, "classification")
    assert page.text.count("it has no generator per class") == 1 and "fashion-glo-128" in page.text
    assert "Every model that it was applied to has a score" in page_of(site, "recovery").text


def test_a_strangers_benchmark_gets_a_page_and_stays_inert(site: Path) -> None:
    page = page_of(site, Strange.name)
    assert Strange.name in page.text and "<script>alert('asked')</script>?" in page.text and "∑" in page.text
    assert "<i>odd</i>" in page.text and "benchmark version" in page.text
    assert [tag for tag in page.all("table") if "dots" in tag.get("class", "")] and not page.all("svg")[0].get("role")
    for path in (site / "benchmark").iterdir():
        page = Page(path)
        assert not {"script", "iframe", "object", "embed", "form", "base", "style", "b", "i", "u"} & {
            t for t, _ in page.tags
        }
        assert not any(name.startswith("on") or name == "style" for name in page.attributes())
        assert "\u202e" not in page.source and "evil" not in "".join(page.references)


def test_plots_can_be_read_without_seeing_them(site: Path) -> None:
    for path in (site / "benchmark").iterdir():
        page = Page(path)
        for svg in page.all("svg"):
            assert "aria-hidden" in svg or (svg["role"] == "img" and len(svg["aria-labelledby"].split()) == 2)
        assert all("scope" in tag for tag in page.all("th")) and len(page.all("caption")) == len(page.all("table"))
    source = page_of(site, "goodness-of-fit").source
    rows = re.findall(r'<tr><th scope="row"><bdi>step ([\d,]+)</bdi></th><td>validation images</td>', source)
    assert rows == ["100", "200", "400", "800", "1,600", "2,400"]


def test_pages_of_many_models_and_protocols_stay_small(site: Path) -> None:
    assert all(path.stat().st_size < 300_000 for path in (site / "benchmark").iterdir())


def test_long_rankings_and_charts_are_cut_and_say_so(database: Path) -> None:
    with Results(database) as results:
        entries = [e for e in read_records(results).entries if e.benchmark.name == "overfitting"]
    many = [
        replace(entry, model=replace(entry.model, name=f"{entry.model.name}-{copy}"))
        for entry in entries
        for copy in range(2 + MOST_POINTS // len(entries))
    ]
    [board] = boards_of(many)
    [plot] = dots_of(board, [board.first])
    assert len(plot.lines) == MOST and plot.left == len(many) - MOST
    from preimage.leaderboard.benchmark_plots import charts_of

    [chart] = charts_of(board)
    drawable = [entry for entry in many if not entry.model.card.get("parent")]
    assert len(chart.chart.dots) == MOST_POINTS and chart.left == len(drawable) - MOST_POINTS
    assert len(dots_of(board, board.columns)[0].columns) <= ACROSS


def test_protocols_beyond_the_most_are_counted(tmp_path: Path) -> None:
    from zoo_results import measure

    from preimage.benchmarks.recovery import RecoveryBenchmark
    from preimage.harness.store import Store

    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "many.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "", {}, {})
        for number in range(MOST_PROTOCOLS + 2):
            measure(store, run, zoo()[0], RecoveryBenchmark(), f"suite-{number}", limit=10 + number)
    page = page_of(build_site(tmp_path / "many.db", tmp_path / "site").parent, "recovery")
    assert "2 further protocols" in page.text and page.text.count("The whole protocol") == MOST_PROTOCOLS


def test_kinds_come_from_tags() -> None:
    def model(*tags: str, kind: str = "generator") -> ModelRecord:
        return ModelRecord("m", "f", "", kind, {"tags": list(tags)})

    tags = (("glo",), ("autoencoder", "embedded"), ("autoencoder", "gan", "embedded"), ("aegan",), ("gan", "vae"), ())
    assert [kind_of(model(*some)) for some in tags] == ["GLO", "autoencoder", "AEGAN", "AEGAN", "VAE", OTHER]
    assert kind_of(model("gan", "baseline")) == ASIDE == kind_of(model(kind="reference"))


def test_checkpoints_are_the_last_of_an_exhibit(site: Path) -> None:
    source = (site / "index.html").read_text()
    exhibit = source[source.index('<table class="exhibit">') :]
    rows = re.findall(r'<a href="model/([^"]+)\.html">', exhibit[: exhibit.index("</table>")])
    assert len(rows) == EXHIBITED and "mean-image" in rows
    assert not [name for name in rows if "-step-" in name]  # as many others as it shows


def test_a_board_and_a_model_say_that_missing_flags_are_inconclusive(database: Path, tmp_path: Path) -> None:
    shutil.copy(database, tmp_path / "worse.db")
    with sqlite3.connect(tmp_path / "worse.db") as db:
        db.execute(
            "UPDATE metric_score SET value = 1 WHERE metric = 'mre_generated' AND evaluation IN "
            "(SELECT id FROM evaluation WHERE model = 'fashion-wgan-gp' AND benchmark = 'overfitting')"
        )
    db.close()
    page = build_site(tmp_path / "worse.db", tmp_path / "site").parent / "model" / "fashion-wgan-gp.html"
    assert "Inconclusive." in Page(page).text and "Inconclusive." not in Page(page.with_name("ppca.html")).text
    [board] = (page.parent.parent / "board").glob("*~~overfitting~~quick.html")
    assert re.findall(r"model/([\w-]+)\.html(?:(?!</tr>).)*inconclusive", board.read_text(), re.S) == [
        "fashion-wgan-gp"
    ]
