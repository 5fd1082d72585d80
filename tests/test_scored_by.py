"""Classification and outlier detection by likelihood: what is asked, scores by brute force, who is left out."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preimage.benchmarks.classification import Classification
from preimage.benchmarks.outliers import OutlierOptions, Outliers
from preimage.benchmarks.scored_by import ScoredByOptions
from preimage.harness.benchmark import metric_info
from preimage.harness.cards import ModelCard
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import Likelihood
from preimage.harness.pairing import difference
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.world import World
from tests.hand_rows import by_metric, likelihoods
from tests.test_likelihood_rows import PLUGIN, QUICK
from tests.test_run import preimage
from tests.test_truth import measured

REFERENCE = """
@hookimpl(specname="register_models")
def references(register):
    register(ModelCard("near", "none", "grains", IMAGE, 2, kind="reference"))
"""
OWN = tuple(setting for setting in QUICK if not setting.startswith("simulated"))
BOTH = ("recovery", "likelihood")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scored") / "grains_and_near.py"
    path.write_text(PLUGIN + REFERENCE)
    return path


@pytest.fixture(scope="module")
def world(plugin: Path) -> World:
    return World(Registry(Sources(plugins=(str(plugin),))))


def run(plugin: Path, database: Path, *more: str, settings: tuple[str, ...] = ()) -> int:
    words = [word for setting in (*OWN, *settings) for word in ("--set", setting)]
    return preimage("run", "--plugin", str(plugin), "--db", str(database), "--workers", "1", *words, *more)


def brute_auroc(inliers: Any, outliers: Any) -> float:
    pairs = [(o > i) + 0.5 * (o == i) for o in outliers for i in inliers]
    return float(np.mean(pairs))


def test_the_likeliest_class_is_named() -> None:
    """Three of four images are likeliest under their own class; of a tie the class listed first counts."""
    table = [[5.0, 1.0], [3.0, 4.0], [2.0, 2.0], [1.0, 9.0]]
    rows = {"likelihood test": likelihoods(table, labels=2, true_label=np.repeat([0, 1, 1, 1], 2))}
    options = ScoredByOptions(by=("likelihood",))
    found = by_metric(Classification().summarise(rows, options))
    assert {name: score.estimate.value for name, score in found.items()} == {"accuracy/likelihood": 0.75}
    turned = {"likelihood test": likelihoods(-np.array(table), labels=2, true_label=np.repeat([0, 1, 1, 1], 2))}
    assert by_metric(Classification().summarise(turned, options))["accuracy/likelihood"].estimate.value == 0
    assert metric_info(Classification(), "accuracy/likelihood/sigma2=0.1").roles == ("likelihood test",)
    assert metric_info(Classification(), "accuracy/l2").roles == ("test",)


def test_unlikely_images_are_the_outliers() -> None:
    inliers = np.array([[3.0, -9.0], [1.0, 1.0], [0.0, 2.0]])
    outliers = np.array([[0.5, 0.5], [4.0, 4.0], [-7.0, -5.0]])
    rows = {
        "likelihood test": likelihoods(inliers, labels=2),
        "likelihood outliers dark": likelihoods(outliers, labels=2),
    }
    options = OutlierOptions(sets=("dark", "absent"), by=("likelihood",))
    found = by_metric(Outliers().summarise(rows, options))
    assert found.keys() == {f"{name}/dark/likelihood" for name in ("auroc", "aupr", "fpr95")}
    of = [-np.log(np.exp(table).mean(axis=1)) for table in (inliers, outliers)]
    assert found["auroc/dark/likelihood"].estimate.value == pytest.approx(brute_auroc(*of))
    swapped = {"likelihood test": rows["likelihood outliers dark"], "likelihood outliers dark": rows["likelihood test"]}
    back = by_metric(Outliers().summarise(swapped, options))["auroc/dark/likelihood"].estimate.value
    assert back == pytest.approx(1 - brute_auroc(*of))
    grid = {f"{role}/sigma2=0.1": found for role, found in rows.items()}
    assert set(by_metric(Outliers().summarise(grid, options))) == {f"{name}/sigma2=0.1" for name in found}


def test_a_run_scores_by_both(plugin: Path, world: World, tmp_path: Path) -> None:
    """Each way's scores from its own rows; distances multiply recoveries and not likelihoods."""
    database = tmp_path / "a.db"
    benchmarks = ("-b", "classification", "-b", "outliers", "-m", "classes", "-m", "near", "-m", "linear")
    settings = (
        "by=[recovery, likelihood]",
        "further_distances=[l2]",
        "sets=[inverted]",
        "limit=8",
        "sampler.evaluations=401",
    )
    assert run(plugin, database, *benchmarks, settings=settings) == 0
    rows, scores = measured(database, "classes", "classification", "likelihood test")
    assert scores.keys() == {"accuracy", "accuracy/l2", "accuracy/likelihood"}
    right = rows.table("log_likelihood").argmax(axis=1) == rows.table("true_label")[:, 0]
    assert scores["accuracy/likelihood"] == right.mean() and rows.table("log_likelihood").shape == (8, 2)
    exact = exact_classes(world, rows)
    assert np.abs(rows.table("log_likelihood") - exact).max() < 1, "estimates stand by the closed form"
    inliers, scores = measured(database, "classes", "outliers", "likelihood test")
    outliers, _ = measured(database, "classes", "outliers", "likelihood outliers inverted")
    of = [-np.log(np.exp(found.table("log_likelihood")).mean(axis=1)) for found in (inliers, outliers)]
    assert scores["auroc/inverted/likelihood"] == pytest.approx(brute_auroc(*of))
    assert {"auroc/inverted", "auroc/inverted/l2"} <= scores.keys()
    assert "auroc/inverted/l2/likelihood" not in scores
    with Results(database) as results:
        told = {(s["model"], s["metric"]): s for s in results.scores()}
        asks = {e.benchmark: {a.role: a.request for a in e.asks} for e in results.evaluations() if e.model == "classes"}
    assert asks["outliers"]["likelihood test"] == asks["classification"]["likelihood test"], "measured once"
    assert [role for role in asks["outliers"] if role.startswith("likelihood")] == [
        "likelihood test", "likelihood outliers inverted",
    ]  # fmt: skip
    assert ("near", "accuracy") in told and ("near", "accuracy/likelihood") not in told
    assert ("near", "auroc/inverted/l2") in told and ("near", "auroc/inverted/likelihood") not in told
    assert ("linear", "auroc/inverted/likelihood") in told
    assert "unconditional" in told["linear", "*"]["reason"]


def exact_classes(world: World, rows: Any) -> Any:
    """log p(x | y) of the first test images under both labels, in closed form."""
    generator: Any = world.generator("classes")
    images, _ = world.dataset("grains").read("test", list(range(8)))
    W, sigma2 = generator.W.double(), float(rows["sigma2"][0])
    cov = W.T @ W + sigma2 * torch.eye(16, dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(generator.b.double(), cov)
    return torch.stack([law.log_prob(images.flatten(1).double() - 0.2 * y) for y in (0, 1)], dim=1).numpy()


def test_by_likelihood_alone_nothing_is_recovered_but_for_the_noise(world: World) -> None:
    model, data = world.model("classes"), world.data("grains")
    asks = Classification().requests(model, data, ScoredByOptions(by=("likelihood",), further_distances=("l2",)))
    assert list(asks) == ["likelihood test"]
    request = asks["likelihood test"].request
    assert isinstance(request, Likelihood) and request.label == "every"
    fixed = Outliers().requests(
        model, data, OutlierOptions(by=("likelihood",), sets=("inverted",), sigma2=(0.01, 0.02))
    )
    assert set(fixed) == {
        f"likelihood {role}/sigma2={value}" for role in ("test", "outliers inverted") for value in (0.01, 0.02)
    }
    assert not any(ask.request.needs() == () for ask in fixed.values()), "curvature and tuning come first"


def test_who_has_no_likelihood_is_scored_by_recovery_or_refused(world: World) -> None:
    data = world.data("grains")
    outliers = OutlierOptions(by=BOTH, sets=("inverted",))
    for name, said in (("near", "a reference: it has no codes"), ("vague", "has no density")):
        model = world.model(name)
        assert not any(role.startswith("likelihood") for role in Outliers().requests(model, data, outliers))
        with pytest.raises(Refused, match=said):
            Outliers().requests(model, data, dataclasses.replace(outliers, by=("likelihood",)))
    with pytest.raises(Refused, match="a reference"):
        Classification().requests(world.model("near"), data, ScoredByOptions(by=("likelihood",)))
    with pytest.raises(Refused, match="unconditional"):
        Classification().requests(world.model("linear"), data, ScoredByOptions(by=("likelihood",)))
    foreign = dataclasses.replace(world.model("linear"), card=_of_other(world.model("linear").card))
    with pytest.raises(Refused, match=r"Give it, e.g. --set 'sigma2=\[0.01\]'"):
        Outliers().requests(foreign, data, outliers)
    assert "likelihood test" in Outliers().requests(foreign, data, dataclasses.replace(outliers, sigma2=(0.01,)))


def _of_other(card: ModelCard) -> ModelCard:
    return dataclasses.replace(card, dataset="others")


@pytest.mark.parametrize("by", [(), ("recovery", "recovery")])
def test_a_way_is_named_once(by: Any) -> None:
    for options in (ScoredByOptions, OutlierOptions):
        with pytest.raises(UsageError, match="name recovery, likelihood or both, each once"):
            options(by=by)


def test_an_unknown_way_is_a_usage_error(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(plugin, tmp_path / "a.db", "-b", "outliers", "-m", "near", settings=("by=[likelihoods]",)) == 2
    assert "option 'by' is 'likelihoods'; choose one of 'recovery', 'likelihood'" in capsys.readouterr().err


def test_errors_of_both_kinds_of_options_are_told() -> None:
    with pytest.raises(UsageError, match="`first_share` is 2"):
        OutlierOptions(first_share=2)
    with pytest.raises(UsageError, match="`noise_images` is 0"):
        OutlierOptions(noise_images=0)
    with pytest.raises(UsageError, match="`limit` is 0"):
        OutlierOptions(limit=0)
    with pytest.raises(UsageError, match="the outlier sets are"):
        OutlierOptions(sets=())


def test_what_was_stored_before_there_were_likelihoods_still_gives_its_scores(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    chosen = ("-b", "classification", "-b", "outliers", "-m", "near", "-m", "classes")
    assert run(plugin, database, *chosen, settings=("sets=[inverted]", "limit=8")) == 0
    new = ("by", "sampler", "sigma2", "noise_images", "tuning_images", "annealed_block")
    before = scores_of(database)
    assert len(before) == 8
    with closing(sqlite3.connect(database)) as db, db:
        for key, text in db.execute("SELECT id, options FROM evaluation").fetchall():
            old = {name: value for name, value in json.loads(text).items() if name not in new}
            assert len(old) == len(json.loads(text)) - len(new)
            db.execute("UPDATE evaluation SET options = ? WHERE id = ?", (json.dumps(old), key))
        db.execute("UPDATE metric_score SET value = 77")
    assert preimage("summarise", "--plugin", str(plugin), "--db", str(database)) == 0
    assert scores_of(database) == before


def scores_of(database: Path) -> dict[tuple[str, str], float]:
    with Results(database) as results:
        return {(score["model"], score["metric"]): score["value"] for score in results.scores()}


def test_models_compare_on_the_same_images_whatever_the_noise(plugin: Path, tmp_path: Path) -> None:
    """Likelihoods of test images have a paired difference under each noise; those of a model's own draws have none."""
    database = tmp_path / "a.db"
    chosen = ("-b", "likelihood", "-m", "linear", "-m", "box")
    grid = ("sigma2=[0.01, 0.04]", "limit=6", "simulated=4")
    assert run(plugin, database, *chosen, settings=grid) == 0
    with Results(database) as results:
        one, other = results.evaluations()
        told = {(s["model"], s["metric"]): s["value"] for s in results.scores()}
        for metric in ("log_likelihood/sigma2=0.01", "bits_per_dim/sigma2=0.04"):
            found = difference(results, one, other, metric)
            assert found is not None and found.n == 6
            assert found.value == pytest.approx(told[one.model, metric] - told[other.model, metric])
        assert difference(results, one, other, "bdmc_gap/sigma2=0.01") is None
