"""Pages of models: codes beside the prior, checkpoints, images of other kinds, commands that measure again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from zoo_results import DIM, LIMIT, STEPS, Fit, measure, write_zoo, zoo

from preimage.benchmarks.overfitting import Overfitting
from preimage.benchmarks.recovery import RecoveryBenchmark
from preimage.harness import statistics
from preimage.harness.options import options_from, parse_settings, plain_options
from preimage.harness.plugins import installed
from preimage.harness.results import Results, StoredEvaluation
from preimage.harness.store import Store
from preimage.leaderboard.album import Album
from preimage.leaderboard.checkpoints import MOST_PANELS, courses_of, panels_of
from preimage.leaderboard.code_law import code_law_of, follows_normal_rule
from preimage.leaderboard.compare_page import pictures_of
from preimage.leaderboard.measured import SAMPLES, Measured, mean_evaluations, measured_of, values_of
from preimage.leaderboard.records import ModelRecord, read_records
from preimage.leaderboard.reproducing import run_command, verify_command
from preimage.leaderboard.site import build_site

SMALL_ZOO = ("fashion-dcgan", "fashion-glo-128", "1nn")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 20)
        chosen = [card for card in zoo() if card.name.startswith(SMALL_ZOO)]
        yield write_zoo(tmp_path_factory.mktemp("zoo") / "preimage.db", chosen)


@pytest.fixture(scope="module")
def site(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(database, tmp_path_factory.mktemp("sites") / "site").parent


@pytest.fixture
def results(database: Path) -> Iterator[Results]:
    with Results(database) as found:
        yield found


def test_values_read_at_once_are_those_read_request_by_request(results: Results) -> None:
    entries = [entry for entry in read_records(results).entries if entry.model.name == "fashion-dcgan"]
    measured = measured_of(results, entries)
    assert len(measured) > 4
    plain = [one for one in measured.values() if one.one_row_each]
    found = values_of(results, plain, ("mse", "code_norm"))
    for one in plain:
        rows = results.rows(one.key, one.count)
        assert found[one.key].values["mse"] == tuple(rows["mse"].tolist())
        assert found[one.key].values["code_norm"] == tuple(rows["code_norm"].tolist())
        assert sum(found[one.key].outcomes.values()) == len(rows) == LIMIT
        assert (one.evaluations, one.seconds) == results.cost(one.key) and one.complete
        assert one.description == results.description(one.key)
        mean = mean_evaluations(results, {one.key: one.count})[one.key]
        assert mean == pytest.approx(rows["evaluations"].mean())


def test_a_request_with_a_missing_block_is_not_complete(database: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copy(database, tmp_path / "copy.db"))
    with Store(copy) as store:
        [entry] = [
            e
            for e in read_records(store).entries
            if (e.model.name, e.benchmark.name, e.evaluation.suite) == ("fashion-glo-128", "recovery", "quick")
        ]
        key = entry.evaluation.asks[0].request
        assert measured_of(store, [entry])[key].complete
        block = store.query("SELECT id FROM block WHERE request = ?", key)[0]["id"]
        for table, column in (("row_value", "block"), ("row", "block"), ("picture", "block"), ("block", "id")):
            store.db.execute(f"DELETE FROM {table} WHERE {column} = ?", [block])
        store.db.commit()
        assert not measured_of(store, [entry])[key].complete


def test_a_standard_normal_prior_is_told_by_its_plausible_set() -> None:
    edge = math.sqrt(DIM + 3 * math.sqrt(2 * DIM))
    inside = {"code_norm": (1.0, edge - 0.1), "outside_prior": (0.0, 0.0)}
    outside = {"code_norm": (edge + 0.1,), "outside_prior": (1.0,)}
    assert follows_normal_rule(DIM, [inside, outside])
    assert not follows_normal_rule(DIM, [inside])  # nothing outside: no evidence
    assert not follows_normal_rule(DIM + 8, [inside, outside])
    assert not follows_normal_rule(DIM, [outside, {"code_norm": (1.0,), "outside_prior": (1.0,)}])  # a box
    assert not follows_normal_rule(DIM, [outside, {"code_norm": (1.0,)}])  # a space without a prior


def test_codes_stand_beside_their_prior_with_the_share_outside(site: Path, results: Results) -> None:
    page = Page(site / "model" / "fashion-glo-128.html")
    assert f"the chi law in {DIM} dimensions" in page.text and "law" in {tag.get("class") for tag in page.all("path")}
    assert "9.90" in page.text  # sqrt(64 + 3 sqrt(128))
    entries = [e for e in read_records(results).entries if e.model.name == "fashion-glo-128"]
    measured = [m for m in measured_of(results, entries).values() if m.one_row_each and m.at_home]
    measured.sort(key=lambda one: one.place)
    found = values_of(results, measured, ("code_norm", "outside_prior"))
    law = code_law_of(results, measured, found, {one.key: "test" for one in measured})
    assert law is not None and law.normal and law.dim == DIM
    for one, told in zip(measured, law.outside, strict=True):
        expected = results.rows(one.key, one.count)["outside_prior"]
        assert (told.name, told.outside, told.n) == (one.title, int(expected.sum()), len(expected))
    assert "Where the recovered codes lie" not in Page(site / "model" / "1nn.html").text


def test_another_prior_gets_no_curve(database: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copy(database, tmp_path / "copy.db"))
    with Store(copy) as store:
        store.db.execute("UPDATE row_value SET value = 1 - value WHERE name = 'outside_prior'")
        store.db.commit()
    page = Page(build_site(copy, tmp_path / "site").parent / "model" / "fashion-glo-128.html")
    assert "Where the recovered codes lie" in page.text and "chi law" not in page.text
    assert "law" not in {tag.get("class") for tag in page.all("path")} and "own samples, which were drawn" in page.text


def record(name: str, parent: str | None = None, step: int | None = None) -> ModelRecord:
    return ModelRecord(name, "f", "", "generator", {"parent": parent, "step": step})


def test_courses_hold_the_checkpoints_of_one_training_in_order() -> None:
    models = [record("p", None, 30), record("b", "p", 20), record("a", "p", 10), record("x"), record("only", "gone", 5)]
    courses = courses_of(models)
    assert {parent: [(step, m.name) for step, m in course] for parent, course in courses.items()} == {
        "p": [(10, "a"), (20, "b"), (30, "p")]
    }
    without = courses_of([record("p"), record("a", "p", 1), record("b", "p", 2)])
    assert [m.name for _, m in without["p"]] == ["a", "b"]  # a parent without a step is no checkpoint


def test_checkpoints_link_each_other_and_the_last_shows_them_side_by_side(site: Path, results: Results) -> None:
    page = Page(site / "model" / "fashion-dcgan.html")
    for step in STEPS:
        assert f"fashion-dcgan-step-{step}.html" in page.references
    assert sum("small" in svg.get("class", "") for svg in page.all("svg")) == len(STEPS) + 1
    child = Page(site / "model" / "fashion-dcgan-step-100.html")
    assert "fashion-dcgan.html" in child.references and "fashion-dcgan-step-200.html" in child.references
    assert not any("small" in svg.get("class", "") for svg in child.all("svg"))
    records = read_records(results)
    panels = panels_of(results, records, courses_of(records.models)["fashion-dcgan"])
    assert panels is not None and panels.benchmark == Fit.name and panels.value == "l2" and panels.left == 0
    assert [panel.step for panel in panels.panels] == [*STEPS, 2400]
    for panel in panels.panels:
        entry = next(e for e in records.entries if (e.model.name, e.benchmark.name) == (panel.model.name, Fit.name))
        for outline, role in zip(panel.histogram.outlines, ("train", "val"), strict=True):
            ask = next(ask for ask in entry.evaluation.asks if ask.role == role)
            assert outline.median == pytest.approx(np.median(results.rows(ask.request, ask.count)["l2"]))
    assert MOST_PANELS >= 6


def test_checkpoints_without_common_rows_have_no_panels(tmp_path: Path) -> None:
    cards = {card.name: card for card in zoo()}
    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "two.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "", {}, {})
        measure(store, run, cards["fashion-dcgan"], RecoveryBenchmark(), limit=20)
        measure(store, run, cards["fashion-dcgan-step-100"], RecoveryBenchmark(), limit=30)  # another protocol
    page = Page(build_site(tmp_path / "two.db", tmp_path / "site").parent / "model" / "fashion-dcgan.html")
    assert "fashion-dcgan-step-100.html" in page.references
    assert not any("small" in svg.get("class", "") for svg in page.all("svg"))


def measured(images: dict[str, str], operator: object = "identity") -> Measured:
    description = {"kind": "recovery", "images": images, "operator": operator, "label": "none"}
    return Measured("k", "home", description, 1, [], 0, 0.0, True)


def test_images_are_called_by_split_operator_and_data_set() -> None:
    train = measured({"is": "split", "dataset": "home", "split": "train"})
    own = measured({"is": "samples"})
    warped = measured({"is": "split", "dataset": "home", "split": "test"}, {"name": "warp", "sigma": 2})
    other = measured({"is": "split", "dataset": "<b>svhn</b>", "split": "test"})
    assert [one.title for one in (train, own, warped, other)] == [
        "training images",
        SAMPLES,
        "test images, warp",
        "test images of <b>svhn</b>",
    ]
    assert [one.at_home for one in (train, own, warped, other)] == [True, True, False, False]
    assert sorted((other, own, warped, train), key=lambda one: one.place)[:2] == [train, own]


def test_distorted_images_have_a_histogram_of_their_own(site: Path) -> None:
    page = Page(site / "model" / "fashion-dcgan.html")
    assert "Errors of changed images, and of other data sets" in page.text and "test images, warp" in page.text


@pytest.mark.parametrize("benchmark", [RecoveryBenchmark(), Overfitting(), Fit()])
def test_the_command_gives_back_every_option(results: Results, benchmark: RecoveryBenchmark) -> None:
    solvers = installed().choices
    for evaluation in results.evaluations():
        if evaluation.benchmark != benchmark.name:
            continue
        words = shlex.split(run_command(evaluation))
        suite = words.pop(2) if evaluation.suite else ""
        assert words[:2] == ["preimage", "run"] and suite == evaluation.suite
        pairs = list(zip(words[2::2], words[3::2], strict=True))
        assert pairs[:3] == [("-m", evaluation.model), ("-b", evaluation.benchmark), ("-d", evaluation.dataset)]
        settings = parse_settings([value for name, value in pairs[3:] if name == "--set"])
        assert plain_options(options_from(benchmark.options, settings, solvers, source="test")) == evaluation.options


def stored(**options: object) -> StoredEvaluation:
    name = "it's <b>; rm -rf / $(x)"
    return StoredEvaluation(0, name, "d", "recovery", "", 1, options, (), "ok", "", "", "", "")


def test_commands_of_hostile_names_and_values_are_quoted() -> None:
    evaluation = stored(text="no", null=None, flag=True, rate=1e-5, sets=["a b", "c"])
    words = shlex.split(run_command(evaluation))
    assert words[3] == evaluation.model
    settings = parse_settings(words[9::2])
    assert settings == {"text": "no", "null": None, "flag": True, "rate": 1e-5, "sets": ["a b", "c"]}
    assert shlex.split(verify_command(evaluation)) == ["preimage", "verify", evaluation.model, "recovery"]


def test_pages_tell_how_to_measure_again(site: Path, results: Results) -> None:
    page = Page(site / "model" / "fashion-glo-128.html")
    evaluation = next(e for e in results.evaluations() if (e.model, e.benchmark) == ("fashion-glo-128", "recovery"))
    assert run_command(evaluation) in page.text and verify_command(evaluation) in page.text
    assert "../benchmark/recovery.html" in page.references
    assert all(path.stat().st_size < 300_000 for path in (site / "model").iterdir())


def test_a_family_of_one_is_none(tmp_path: Path) -> None:
    card = replace(zoo()[0], parent="gone", step=3)
    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "one.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        measure(store, store.begin_run("preimage run", 0, "", {}, {}), card, RecoveryBenchmark())
    page = Page(build_site(tmp_path / "one.db", tmp_path / "site").parent / "model" / f"{card.name}.html")
    assert "Checkpoints" not in page.text


def test_recoveries_in_several_distances_are_shown_apart(tmp_path: Path) -> None:
    cards = {card.name: card for card in zoo()}
    names = ("fashion-dcgan", "fashion-dcgan-step-100", "fashion-glo-128")
    with pytest.MonkeyPatch.context() as patch, Store(tmp_path / "two.db") as store:
        patch.setattr(statistics, "RESAMPLES", 20)
        run = store.begin_run("preimage run", 0, "", {}, {})
        for name in names[:2]:
            measure(store, run, cards[name], RecoveryBenchmark(), further_distances=("lpips-alex",))
        measure(store, run, cards[names[2]], RecoveryBenchmark(), distance="lpips-alex")
    page = Page(build_site(tmp_path / "two.db", tmp_path / "site").parent / "model" / "fashion-dcgan.html")
    for said in ("Measured once in squared-l2, scored by", "Measured once in lpips-alex, scored by"):
        assert page.text.count(said) == 1
    with Results(tmp_path / "two.db") as results:
        records = read_records(results)
        [course] = courses_of(records.models).values()
        panels = panels_of(results, records, course)
        pictures = pictures_of(results, records, Album())
    assert panels is not None
    assert [[o.name for o in panel.histogram.outlines] for panel in panels.panels] == [["test images"]] * 2
    shown = {name: [one["images"] for one in pictures[name]] for name in names}
    assert shown == {
        "fashion-dcgan": ["test images", "test images, lpips-alex"],
        "fashion-dcgan-step-100": ["test images", "test images, lpips-alex"],
        "fashion-glo-128": ["test images, lpips-alex"],
    }
