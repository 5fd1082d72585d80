"""Estimates against closed forms, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from preimage.harness import statistics
from preimage.harness.errors import EmptySplit

RNG = np.random.default_rng(5)


def test_values_are_the_plain_statistics() -> None:
    sample = RNG.gamma(2.0, size=101)
    assert statistics.mean(sample).value == pytest.approx(sample.mean())
    assert statistics.median(sample).value == pytest.approx(np.sort(sample)[50])
    assert statistics.psnr(np.array([0.01, 0.03])).value == pytest.approx(10 * np.log10(1 / 0.02))
    assert statistics.mean(sample).n == 101


@pytest.mark.parametrize("name", ["mean", "median"])
def test_the_interval_covers_the_truth_as_often_as_it_says(name: str) -> None:
    """95 % intervals of 96 errors from a skewed law hold its true mean and median in 93 to 97 % of 600 samples."""
    law = stats.gamma(2.0)
    truth = law.mean() if name == "mean" else law.median()
    rng = np.random.default_rng(11)
    found = [getattr(statistics, name)(law.rvs(96, random_state=rng)) for _ in range(600)]
    covered = np.mean([e.low <= truth <= e.high for e in found])
    assert 0.93 <= covered <= 0.97


def test_an_interval_is_the_same_every_time() -> None:
    sample = RNG.random(50)
    assert statistics.mean(sample) == statistics.mean(sample)


def test_one_image_has_no_interval_and_none_is_an_error() -> None:
    assert statistics.mean(np.array([0.5])) == (0.5, None, None, 1, b"")
    with pytest.raises(EmptySplit, match="--limit"):
        statistics.mean(np.array([]))
    with pytest.raises(EmptySplit, match="--limit"):
        statistics.kolmogorov_smirnov(np.array([]), np.array([1.0]))


def test_the_gap_is_signed_and_not_symmetric() -> None:
    """Webster's gap: positive where validation images are harder; swapping train and val changes it."""
    train, val = np.full(40, 0.01), np.full(50, 0.04)
    assert statistics.median_recovery_gap(train, val).value == pytest.approx(0.75)
    assert statistics.median_recovery_gap(val, train).value == pytest.approx(-3.0)
    assert statistics.median_recovery_gap(train, val).n == 40


def test_the_gap_of_a_model_that_recovers_everything_is_zero() -> None:
    assert statistics.median_recovery_gap(np.zeros(5), np.zeros(5)).value == 0


def test_kolmogorov_smirnov_equals_scipy() -> None:
    train, val = RNG.normal(size=60), RNG.normal(0.4, size=80)
    statistic, p_value = statistics.kolmogorov_smirnov(train, val)
    exact = stats.ks_2samp(train, val)
    assert statistic == (pytest.approx(exact.statistic), None, None, 60, b"")
    assert p_value.value == pytest.approx(exact.pvalue)
    assert p_value.low is None


def test_the_interval_of_the_gap_holds_it() -> None:
    train, val = RNG.gamma(2.0, 0.01, size=96), RNG.gamma(2.0, 0.02, size=96)
    gap = statistics.median_recovery_gap(train, val)
    assert gap.low is not None and gap.high is not None
    assert gap.low < gap.value < gap.high
    assert gap.high - gap.low < 1
