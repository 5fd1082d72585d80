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
    interval = stats.bootstrap(samples, statistic, n_resamples=RESAMPLES, method="percentile", vectorized=True,
                               batch=batch, rng=np.random.default_rng(20190615)).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), n)


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

    ``(median(val) - median(train)) / median(val)``: 0 for a generator that generalises, towards 1 for one that memorises,
    negative where training images are harder.

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


def kolmogorov_smirnov(train: Floats, val: Floats) -> tuple[Estimate, float]:
    """The two-sample Kolmogorov-Smirnov distance of errors [n] and [m], with an interval, and its p-value (scipy)."""
    if train.size == 0 or val.size == 0:
        raise EmptySplit("a Kolmogorov-Smirnov test was asked of no image at all; ask for more images with --limit")
    test = stats.ks_2samp(train, val)

    def distance(train: Floats, val: Floats, axis: int) -> Floats:
        return np.asarray(_ks_distance(train, val))

    return bootstrap(distance, train, val)._replace(value=float(test.statistic)), float(test.pvalue)


def _ks_distance(train: Floats, val: Floats) -> Floats:
    """``sup |F_train - F_val|`` over the last axis, vectorised over the first ones."""
    every = np.concatenate([train, val], axis=-1)
    order = np.argsort(every, axis=-1, kind="stable")
    steps = np.concatenate([np.full(train.shape, 1 / train.shape[-1]), np.full(val.shape, -1 / val.shape[-1])], axis=-1)
    walk = np.cumsum(np.take_along_axis(steps, order, axis=-1), axis=-1)
    ranked = np.take_along_axis(every, order, axis=-1)
    last = np.concatenate([ranked[..., 1:] > ranked[..., :-1], np.ones((*ranked.shape[:-1], 1), bool)], axis=-1)
    return np.asarray(np.abs(np.where(last, walk, 0.0)).max(axis=-1))
