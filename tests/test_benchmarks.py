"""The benchmarks' scores against closed forms, scikit-learn and each other, from what `preimage run` stores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as judge

from preimage.benchmarks.outliers import OutlierOptions
from preimage.benchmarks.overfitting import OverfittingOptions
from preimage.harness.errors import UsageError
from preimage.harness.operators import Mask, Warp
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage
from tests.test_truth import least_squares, measured, pixels

MORE = """

@hookimpl(specname="register_datasets")
def more_datasets(register):
    dark = np.random.default_rng(9).random((30, 1, 8, 8)).astype(np.float32) * 0.2
    register(ArrayDataset("dark", {"test": (dark, None)}))
    register(ArrayDataset("train-less", {"test": images(20, 7)}))
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = small_world(tmp_path)
    file.write_text(file.read_text() + MORE)
    return file


def run(plugin: Path, database: Path, *more: str) -> int:
    return preimage("run", "--plugin", str(plugin), "--db", str(database), "--workers", "1", *more)


def linear(plugin: Path) -> tuple[Registry, Any, Any]:
    """The registry, and the linear generator's W [64, 6] and b [64]."""
    world = World(Registry(Sources(plugins=(str(plugin),))))
    generator: Any = world.generator("linear")
    return world.registry, generator.w.double().numpy(), generator.b.double().numpy()


def test_goodness_of_fit_is_the_mean_distance_from_the_range(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "goodness-of-fit", "-m", "linear", "-m", "near", "--limit", "20") == 0
    registry, weight, offset = linear(plugin)
    rows, scores = measured(database, "linear", "goodness-of-fit", "train")
    for role, split in (("train", "train"), ("val", "test")):
        exact = np.sqrt(64 * least_squares(weight, offset, pixels(registry, "squares", split, 20)))
        assert scores[f"f_{role}"] == pytest.approx(exact.mean(), rel=1e-3)
    assert scores["f_train"] == pytest.approx(rows["l2"].mean())
    _, near = measured(database, "near", "goodness-of-fit", "train")
    assert near["f_train"] == 0 < near["f_val"]
    with Results(database) as results:
        found = {s["metric"]: s for s in results.scores() if s["model"] == "linear"}
    assert found["f_val"]["low"] < found["f_val"]["value"] < found["f_val"]["high"]


def test_goodness_of_fit_by_the_squared_norm_is_the_same_and_shares_rows(plugin: Path, tmp_path: Path) -> None:
    values = {}
    for distance in ("l2", "squared-l2"):
        database = tmp_path / f"{distance}.db"
        more = ("-b", "goodness-of-fit", "-b", "overfitting", "-m", "linear", "--limit", "8")
        assert run(plugin, database, *more, "--set", f"distance={distance}", "--set", "operator=mask") == 0
        rows, values[distance] = measured(database, "linear", "goodness-of-fit", "val")
        assert values[distance]["f_val/mask"] == pytest.approx(rows["l2"].mean())
        with Results(database) as results:
            asked = {(e.benchmark, ask.role): ask.request for e in results.evaluations() for ask in e.asks}
        assert asked["goodness-of-fit", "val"] == asked["overfitting", "val"]
    assert values["l2"] == pytest.approx(values["squared-l2"], rel=1e-3)


def test_goodness_of_fit_is_refused_as_overfitting_is(plugin: Path, tmp_path: Path) -> None:
    benchmarks = ("-b", "goodness-of-fit", "-b", "overfitting")
    other = tmp_path / "b.db"
    assert run(plugin, other, *benchmarks, "-m", "linear", "-d", "train-less", "--limit", "8") == 1
    assert run(plugin, other, *benchmarks, "-m", "linear", "-d", "squares@1x9x9", "--limit", "8") == 1
    with Results(other) as results:
        reasons = {(s["dataset"], s["benchmark"]): s["reason"] for s in results.scores()}
    for dataset, said in (("train-less", "has no training split"), ("squares@1x9x9", "makes images of 1x8x8")):
        assert said in reasons[dataset, "goodness-of-fit"]
        assert reasons[dataset, "goodness-of-fit"] == reasons[dataset, "overfitting"]


def test_distorted_validation_images_are_recovered_too(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    settings = ("--set", "distortion.sigma=30", "--set", "distortion.smoothness=2")
    assert run(plugin, database, "-b", "overfitting", "-m", "linear", *settings, "--limit", "20") == 0
    registry, weight, offset = linear(plugin)
    images, _ = registry.dataset("squares").read("test", range(20))
    bent = Warp(30.0, 2.0)(images, Streams([seed_of(0, "operator", i) for i in range(20)]))
    exact = least_squares(weight, offset, bent.flatten(1).double().numpy())
    rows, scores = measured(database, "linear", "overfitting", "distorted")
    np.testing.assert_allclose(rows["mse"], exact, rtol=1e-3)
    assert scores["mre_distorted"] == pytest.approx(np.median(exact), rel=1e-3)
    assert scores["mre_val"] == pytest.approx(
        np.median(least_squares(weight, offset, pixels(registry, "squares", "test", 20))), rel=1e-3
    )


@pytest.mark.parametrize(
    ("settings", "with_it", "without"),
    [
        (("distortion=identity",), set(), "mre_distorted"),
        (("distortion=noise",), {"mre_distorted/noise", "mre_gap", "mre_val"}, "mre_distorted"),
        (("operator=mask",), {"mre_gap/mask", "mre_generated/mask"}, "mre_distorted/mask"),
        (("operator=translation", "distance=l2"), {"mre_val/l2/translation"}, "mre_distorted/l2/translation"),
    ],
)
def test_variants_of_overfitting_are_named(
    plugin: Path, tmp_path: Path, settings: tuple[str, ...], with_it: set[str], without: str
) -> None:
    database = tmp_path / "a.db"
    more = [word for pair in settings for word in ("--set", pair)]
    assert run(plugin, database, "-b", "overfitting", "-m", "near", *more, "--limit", "8") == 0
    _, scores = measured(database, "near", "overfitting", "val")
    assert with_it <= set(scores) and without not in scores


def test_a_distortion_that_acts_on_both_sides_is_a_usage_error(plugin: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(UsageError, match="`distortion` is 'mask', which acts on generated images too"):
        OverfittingOptions(distortion=Mask())
    assert run(plugin, tmp_path / "a.db", "-b", "overfitting", "-m", "near", "--set", "distortion=pooling") == 2
    assert "--set operator=pooling" in capsys.readouterr().err


def test_outliers_are_told_by_the_least_distance_under_any_label(plugin: Path, tmp_path: Path) -> None:
    """Scores equal scikit-learn's on the distances that classification and recovery store for the same requests."""
    database = tmp_path / "a.db"
    benchmarks = ("-b", "outliers", "-b", "classification", "-b", "recovery")
    more = ("--set", "sets=[dark, inverted]", "--limit", "24", "--set", "solver.steps=40")
    assert run(plugin, database, *benchmarks, "-m", "curved", "-m", "near", "-m", "linear", *more) == 0
    for model, twin in (("curved", "classification"), ("near", "recovery"), ("linear", "recovery")):
        test, _ = measured(database, model, twin, "test")
        inliers = test.table("distance").min(axis=1)
        assert test.table("distance").shape == (24, 3 if model == "curved" else 1)
        for name in ("dark", "inverted"):
            rows, scores = measured(database, model, "outliers", f"outliers {name}")
            outliers = rows.table("distance").min(axis=1)
            assert rows.table("distance").shape[0] == 24
            truth, both = np.repeat([0, 1], [24, 24]), np.concatenate([inliers, outliers])
            assert scores[f"auroc/{name}"] == pytest.approx(judge.roc_auc_score(truth, both))
            assert scores[f"aupr/{name}"] == pytest.approx(judge.average_precision_score(truth, both))
            assert 0 <= scores[f"fpr95/{name}"] <= 1
        with Results(database) as results:
            asked = {
                e.benchmark: next(ask.request for ask in e.asks if ask.role == "test")
                for e in results.evaluations()
                if e.model == model and e.asks
            }
        assert asked["outliers"] == asked[twin]
    registry, weight, offset = linear(plugin)
    rows, _ = measured(database, "linear", "outliers", "outliers inverted")
    exact = least_squares(weight, offset, 1 - pixels(registry, "squares", "test", 24))
    np.testing.assert_allclose(rows["mse"], exact, rtol=0.02)


def test_a_conditional_model_meets_each_outlier_under_its_best_label(plugin: Path, tmp_path: Path) -> None:
    """Each label's row is the recovery under it, and images of the outlier set need no label of their own."""
    database = tmp_path / "a.db"
    assert run(plugin, database, "-b", "outliers", "-m", "curved", "--limit", "4", "--set", "sets=[dark]") == 0
    rows, _ = measured(database, "curved", "outliers", "outliers dark")
    assert rows.label.tolist() == [0, 1, 2] * 4
    assert (rows["true_label"] == -1).all()
    world = World(Registry(Sources(plugins=(str(plugin),))))
    with Results(database) as results:
        ask = next(a for a in results.evaluations()[0].asks if a.role == "outliers dark")
        codes = np.stack([np.frombuffer(code, "<f4") for code in results.codes(ask.request, ask.count)])
    images = world.generator("curved").decode(torch.from_numpy(codes), torch.from_numpy(rows.label))
    targets = pixels(world.registry, "dark", "test", 4).repeat(3, axis=0)
    np.testing.assert_allclose(
        rows["mse"], ((images.flatten(1).double().numpy() - targets) ** 2).mean(axis=1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("[squares]", "outlier set 'squares' is the data set itself"),
        ("['squares@1x8x8']", "outlier set 'squares@1x8x8' is the data set itself"),
        ("[darkk]", "other data set 'darkk': unknown dataset 'darkk'. Did you mean 'dark'"),
    ],
)
def test_outlier_sets_that_cannot_be_had_are_refused(
    plugin: Path, tmp_path: Path, capsys: Any, sets: str, said: str
) -> None:
    assert run(plugin, tmp_path / "a.db", "-b", "outliers", "-m", "near", "--set", f"sets={sets}", "--limit", "4") == 1
    with Results(tmp_path / "a.db") as results:
        assert said in results.scores()[0]["reason"]


@pytest.mark.parametrize("sets", [(), ("dark", "dark")])
def test_outlier_sets_are_named_once(sets: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="name at least one in `sets`, and each once"):
        OutlierOptions(sets=sets)


def test_every_benchmark_says_its_formula_and_whose_images_each_metric_is_of(plugin: Path) -> None:
    world = World(Registry(Sources(plugins=(str(plugin),))))
    data = world.data("squares")
    for name, benchmark in Registry().benchmarks.items():
        formula: str = benchmark.formula  # type: ignore[attr-defined]  # optional in the protocol; ours have one
        assert formula and "\n" not in formula
        options = benchmark.options()
        if hasattr(options, "sets"):
            options = dataclasses.replace(options, sets=("dark",))
        if hasattr(options, "by"):
            options = dataclasses.replace(options, by=("recovery", "likelihood"))
        model = world.model("curved" if hasattr(options, "sampler") else "near")
        roles = set(benchmark.requests(model, data, options))
        for metric, info in benchmark.metrics.items():
            assert info.unit and info.meaning and info.better in ("higher", "lower", "none")
            assert set(info.roles) <= roles, f"{name} {metric}"
            of_outliers = name == "outliers" or metric == "share_*"  # of both samples, whichever the outlier sets are
            assert bool(info.roles) != of_outliers
