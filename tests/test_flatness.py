"""Correlations against numpy and scipy, their intervals by simulation, and the flatness benchmark's scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from preimage.benchmarks.flatness import Flatness
from preimage.harness import statistics
from preimage.harness.asking_likelihood import AnnealingOptions
from preimage.harness.errors import EmptySplit, Refused
from preimage.harness.plugins import Registry, Sources
from preimage.harness.world import World
from tests.hand_rows import by_metric, likelihoods
from tests.plugin_files import small_world

RNG = np.random.default_rng(3)
X = RNG.normal(size=50)
Y = np.round(0.5 * X + RNG.normal(size=50), 1)  # with ties


def test_they_equal_numpy_and_scipy() -> None:
    found, ranked = statistics.correlation(X, Y), statistics.rank_correlation(X, Y)
    assert found.value == pytest.approx(np.corrcoef(X, Y)[0, 1], rel=1e-12)
    assert ranked.value == pytest.approx(stats.spearmanr(X, Y).statistic, rel=1e-12)
    assert found.n == ranked.n == 50
    assert statistics.correlation(Y, X).value == pytest.approx(found.value)
    assert statistics.correlation(X, -Y).value == pytest.approx(-found.value)


def test_images_are_resampled_with_both_values() -> None:
    """Of values in perfect step every resample is too; unpaired resampling would give anything."""
    for statistic in (statistics.correlation, statistics.rank_correlation):
        assert statistic(X, 3 * X - 7)[:3] == pytest.approx((1, 1, 1))
    reference = stats.bootstrap(
        (X, Y), lambda x, y: np.corrcoef(x, y)[0, 1], paired=True, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    found = statistics.correlation(X, Y)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.04)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(8), 0
    for _ in range(200):
        x, e = rng.normal(size=(2, 80))
        found = statistics.correlation(x, -0.6 * x + 0.8 * e)
        hits += found.low <= -0.6 <= found.high
    assert 0.89 <= hits / 200 <= 0.985


def test_what_does_not_vary_is_unrelated_and_two_images_are_too_few() -> None:
    assert statistics.correlation(np.ones(5), X[:5]).value == 0
    with pytest.raises(EmptySplit, match="a correlation was asked of 2 images; it needs 3: ask for more with --limit"):
        statistics.correlation(X[:2], Y[:2])


def test_likely_flat_images_correlate_negatively() -> None:
    rows = {"test": likelihoods(-(X**3), variation=X)}
    found = by_metric(Flatness().summarise(rows, AnnealingOptions()))
    assert found["correlation"].estimate.value == pytest.approx(np.corrcoef(X, -(X**3))[0, 1])
    assert found["correlation/spearman"].estimate.value == pytest.approx(-1)
    assert found.keys() == {"correlation", "correlation/spearman"}
    grid = {"test/sigma2=0.1": rows["test"], "test/sigma2=0.2": likelihoods(X, variation=X)}
    both = by_metric(Flatness().summarise(grid, AnnealingOptions(sigma2=(0.1, 0.2))))
    assert both["correlation/spearman/sigma2=0.1"].estimate.value == pytest.approx(-1)
    assert both["correlation/sigma2=0.2"].estimate.value == pytest.approx(1)


def test_it_asks_for_the_likelihoods_that_are_there_and_for_three_images(tmp_path: Path) -> None:
    world = World(Registry(Sources(plugins=(str(small_world(tmp_path)),))))
    model, data = world.model("linear"), world.data("squares")
    asks = Flatness().requests(model, data, AnnealingOptions(limit=3))
    likelihood = world.registry.benchmarks["likelihood"]
    assert asks["test"] == likelihood.requests(model, data, likelihood.options(limit=3))["test"]
    assert list(asks) == ["test"]
    with pytest.raises(Refused, match="a correlation of 2 test images says nothing; ask for 3 at least with --limit"):
        Flatness().requests(model, data, AnnealingOptions(limit=2))
    with pytest.raises(Refused, match="a reference: it has no codes"):
        Flatness().requests(world.model("near"), data, AnnealingOptions())
