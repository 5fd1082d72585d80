"""AUROC, AUPR and FPR at 95 % recall against pairs, scikit-learn and simulation."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from preimage.harness import detection, statistics
from preimage.harness.errors import EmptySplit

RNG = np.random.default_rng(8)
CASES = {
    "apart": (RNG.normal(size=70), RNG.normal(1.0, size=90)),
    "reversed": (RNG.normal(2.0, size=90), RNG.normal(size=50)),
    "ties": (RNG.integers(0, 6, 80).astype(float), RNG.integers(2, 9, 60).astype(float)),
    "all tied": (np.full(9, 0.5), np.full(4, 0.5)),
    "separated": (np.arange(10.0), np.arange(10.0, 15.0)),
    "one each": (np.array([0.1]), np.array([0.7])),
}


def judged(inliers: Any, outliers: Any) -> tuple[Any, Any]:
    """Truth and scores as scikit-learn wants them."""
    return np.repeat([0, 1], [len(inliers), len(outliers)]), np.concatenate([inliers, outliers])


@pytest.mark.parametrize("case", CASES)
def test_they_equal_scikit_learn(case: str) -> None:
    inliers, outliers = CASES[case]
    truth, scores = judged(inliers, outliers)
    assert detection.auroc(inliers, outliers).value == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-12)
    exact = metrics.average_precision_score(truth, scores)
    assert detection.aupr(inliers, outliers).value == pytest.approx(exact, abs=1e-12)
    false, true, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert detection.fpr95(inliers, outliers).value == pytest.approx(false[true >= 0.95 - 1e-12].min(), abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_auroc_counts_pairs(case: str) -> None:
    inliers, outliers = CASES[case]
    pairs = [1.0 if y > x else 0.5 if y == x else 0.0 for x in inliers for y in outliers]
    assert detection.auroc(inliers, outliers).value == pytest.approx(np.mean(pairs), abs=1e-12)


def test_swapping_inliers_and_outliers_is_seen() -> None:
    """The area turns round; the other two are not symmetric."""
    inliers, outliers = CASES["apart"]
    assert detection.auroc(outliers, inliers).value == pytest.approx(1 - detection.auroc(inliers, outliers).value)
    assert detection.auroc(inliers, outliers).value > 0.6
    assert detection.fpr95(*CASES["separated"]).value == 0
    assert detection.fpr95(*CASES["separated"][::-1]).value == 1
    assert detection.aupr(*CASES["separated"]).value == 1
    assert detection.aupr(*CASES["separated"][::-1]).value < 0.6


@pytest.mark.parametrize("name", ["auroc", "aupr", "fpr95"])
def test_every_resample_is_scored_like_the_sample(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The replicates are scipy's bootstrap of the same statistic taken one resample at a time."""
    monkeypatch.setattr(statistics, "RESAMPLES", 60)
    inliers, outliers = CASES["ties"]
    found = getattr(detection, name)(inliers, outliers)

    def one(x: Any, y: Any) -> float:
        if name == "auroc":
            return float(metrics.roc_auc_score(*judged(x, y)))
        if name == "aupr":
            return float(metrics.average_precision_score(*judged(x, y)))
        false, true, _ = metrics.roc_curve(*judged(x, y), drop_intermediate=False)
        return float(false[true >= 0.95 - 1e-12].min())

    exact = stats.bootstrap((inliers, outliers), one, n_resamples=60, vectorized=False, method="percentile",
                            rng=np.random.default_rng(20190615))  # fmt: skip
    np.testing.assert_allclose(np.frombuffer(found.replicates, "<f8"), exact.bootstrap_distribution, atol=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(exact.confidence_interval), abs=1e-12)
    assert found.n == 60


def test_the_interval_of_the_area_covers_the_truth_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """95 % intervals of 96 + 96 scores, normal one standard deviation apart, hold the area in 93 to 97 % of cases."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)  # as good for coverage, and quicker
    truth = stats.norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(12)
    found = [detection.auroc(rng.normal(size=96), rng.normal(1.0, size=96)) for _ in range(500)]
    assert 0.93 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.97  # type: ignore[operator]  # all have intervals


def test_the_interval_of_the_gap_covers_the_truth_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Webster's gap of 96 + 96 skewed errors whose true medians are 4 : 5."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    rng = np.random.default_rng(13)
    draws = [(rng.gamma(2.0, 0.8, size=96), rng.gamma(2.0, 1.0, size=96)) for _ in range(500)]
    found = [statistics.median_recovery_gap(train, val) for train, val in draws]
    assert 0.93 <= np.mean([e.low <= 0.2 <= e.high for e in found]) <= 0.97  # type: ignore[operator]  # all have intervals


def test_a_thousand_images_of_each_take_seconds() -> None:
    inliers, outliers = RNG.normal(size=1000), RNG.normal(0.5, size=1000)
    began = time.perf_counter()
    detection.auroc(inliers, outliers)
    assert time.perf_counter() - began < 4


def test_one_image_has_no_interval_and_none_is_an_error() -> None:
    assert detection.auroc(*CASES["one each"])[1:4] == (None, None, 1)
    for statistic in (detection.auroc, detection.aupr, detection.fpr95):
        with pytest.raises(EmptySplit, match="without an image of each; ask for more with --limit"):
            statistic(np.array([]), np.array([1.0]))
        with pytest.raises(EmptySplit, match="--limit"):
            statistic(np.array([1.0]), np.array([]))
