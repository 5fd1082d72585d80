"""Statistics of rows: estimates with bootstrap intervals, in float64, reproducible to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from preimage.harness.errors import EmptySplit
from preimage.harness.rows import Estimate

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

RESAMPLES = 2000
Statistic = Callable[..., Any]


def bootstrap(statistic: Statistic, *samples: Floats) -> Estimate:
    """The statistic with its 95 % percentile bootstrap interval over images; samples are resampled independently.

    statistic: ``statistic(*samples, axis=...)``. samples: [n] each. n of the estimate is that of the smallest sample.
    Raises EmptySplit for a sample without values. One image gives no interval.
    """
    for sample in samples:
        if sample.size == 0:
            raise EmptySplit("a statistic was asked of no image at all; ask for more images with --limit")
    value = float(statistic(*samples, axis=-1))
    n = min(len(sample) for sample in samples)
    if n < 2:
        return Estimate(value, None, None, n)
    batch = max(1, 10_000_000 // sum(len(sample) for sample in samples))
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        method="percentile",
        vectorized=True,
        batch=batch,
        rng=np.random.default_rng(20190615),  # the same for all, so that models are resampled alike
    )
    replicates = np.asarray(found.bootstrap_distribution, dtype="<f8").tobytes()
    interval = found.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), n, replicates)


def mean(values: Floats) -> Estimate:
    """The mean over images."""
    return bootstrap(np.mean, values)


def median(values: Floats) -> Estimate:
    """The median over images."""
    return bootstrap(np.median, values)


def psnr(squared_errors: Floats) -> Estimate:
    """``10 log10(1 / MSE)`` in dB, of the mean of the squared errors [n] (mean over pixels, images in [0, 1])."""

    def decibel(errors: Floats, axis: int) -> Floats:
        return np.asarray(-10 * np.log10(np.maximum(np.mean(errors, axis=axis), 1e-20)))

    return bootstrap(decibel, squared_errors)


def median_recovery_gap(train: Floats, val: Floats) -> Estimate:
    """How much better the generator recovers its training images than unseen ones.

    ``(median(val) - median(train)) / median(val)``: 0 for a generator that generalises, towards 1 for one
    that memorises, negative where training images are harder.

    train, val: squared recovery error per image, [n] and [m], mean over pixels, images in [0, 1].
    Returns the gap with a 95 % bootstrap interval over images. Unitless.
    Raises EmptySplit if either is empty.

    Webster et al., CVPR 2019, eq. 5 (signed here: the paper's table is unsigned).
    """

    def gap(train: Floats, val: Floats, axis: int) -> Floats:
        seen, unseen = np.median(train, axis=axis), np.median(val, axis=axis)
        apart = np.where(unseen > 0, unseen, 1.0)
        return np.asarray(np.where(unseen > 0, (unseen - seen) / apart, 0.0))

    return bootstrap(gap, train, val)


def kolmogorov_smirnov(train: Floats, val: Floats) -> tuple[Estimate, Estimate]:
    """The two-sample Kolmogorov-Smirnov statistic of errors [n] and [m], and its p-value (scipy, exact where feasible).

    Neither has an interval: the statistic belongs to the test, and a bootstrap of it is biased upwards.
    Raises EmptySplit if either is empty.
    """
    if train.size == 0 or val.size == 0:
        raise EmptySplit("a Kolmogorov-Smirnov test was asked of no image at all; ask for more images with --limit")
    test = stats.ks_2samp(train, val)
    n = min(len(train), len(val))
    return Estimate(float(test.statistic), None, None, n), Estimate(float(test.pvalue), None, None, n)


def correlation(first: Floats, second: Floats) -> Estimate:
    """Pearson's correlation of two values of the same images, [n] each: 1 in step, -1 in opposite step, 0 unrelated.

    The 95 % interval resamples images, both values together. Raises EmptySplit for fewer than 3 images.
    """
    return _correlation(first, second, _same)


def rank_correlation(first: Floats, second: Floats) -> Estimate:
    """Spearman's: Pearson's of the ranks, ties sharing theirs. Otherwise as ``correlation``."""
    return _correlation(first, second, _ranks)


def _same(values: Floats) -> Floats:
    return values


def _ranks(values: Floats) -> Floats:
    return np.asarray(stats.rankdata(values, axis=-1))


def _correlation(first: Floats, second: Floats, of: Callable[[Floats], Floats]) -> Estimate:
    if len(first) < 3:
        raise EmptySplit(f"a correlation was asked of {len(first)} images; it needs 3: ask for more with --limit")

    def pearson(places: Floats, axis: int) -> Floats:
        picked = places.astype(np.int64)
        x, y = (values - values.mean(axis=-1, keepdims=True) for values in (of(first[picked]), of(second[picked])))
        spread = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
        return np.asarray(np.where(spread > 0, (x * y).sum(axis=-1) / np.where(spread > 0, spread, 1.0), 0.0))

    return bootstrap(pearson, np.arange(len(first), dtype=np.float64))  # places, so that pairs stay together
