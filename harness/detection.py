"""Statistics of detection: how well a score, high for outliers, tells them from inliers. Outliers are the positives.

Each equals scikit-learn's on the same scores, ties included. All of a bootstrap's resamples are taken at once: a
resample is how often it holds each distinct score, and running sums of that, from the highest score down, are its ROC
curve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from preimage.harness.errors import EmptySplit
from preimage.harness.statistics import bootstrap

if TYPE_CHECKING:
    from preimage.harness.rows import Estimate, Floats, Integers

RECALL = 0.95
"""The share of outliers that is found where ``fpr95`` is read off."""


class Curve(NamedTuple):
    """Resamples at each of k distinct scores taken as the threshold, the highest first; all [resamples, k].

    at: the outliers of just that score, and at_inliers the inliers. found: the outliers of that score or a higher one,
    and alarms the inliers.
    """

    at: Integers
    at_inliers: Integers
    found: Integers
    alarms: Integers


def auroc(inliers: Floats, outliers: Floats) -> Estimate:
    """The area under the ROC curve: the share of pairs in which the outlier scores higher, ties counting half.

    inliers, outliers: scores [n] and [m]. 0.5 is chance; below it inliers score higher. The 95 % interval resamples
    both samples. Raises EmptySplit if either is empty.
    """

    def area(curve: Curve) -> Floats:
        pairs = curve.alarms[:, -1] * curve.found[:, -1]
        higher = (curve.at_inliers * (curve.found - 0.5 * curve.at)).sum(axis=1)
        return np.asarray(higher / pairs)

    return _estimate(area, inliers, outliers)


def aupr(inliers: Floats, outliers: Floats) -> Estimate:
    """Average precision: the mean over outliers of the share of outliers among all that score as high as it, or higher.

    inliers, outliers: scores [n] and [m]. Chance is ``m / (n + m)``, so it compares only at equal shares of outliers.
    The 95 % interval resamples both samples. Raises EmptySplit if either is empty.
    """

    def precision(curve: Curve) -> Floats:
        flagged = np.maximum(curve.found + curve.alarms, 1)
        return np.asarray((curve.at * curve.found / flagged).sum(axis=1) / curve.found[:, -1])

    return _estimate(precision, inliers, outliers)


def fpr95(inliers: Floats, outliers: Floats) -> Estimate:
    """The share of inliers that are flagged at the highest threshold that finds 95 % of the outliers.

    inliers, outliers: scores [n] and [m]. 0 is best; 0.95 is chance. The 95 % interval resamples both samples.
    Raises EmptySplit if either is empty.
    """

    def alarms(curve: Curve) -> Floats:
        enough = curve.found >= RECALL * curve.found[:, -1:]
        first = enough.argmax(axis=1)[:, np.newaxis]
        return np.asarray(np.take_along_axis(curve.alarms, first, axis=1)[:, 0] / curve.alarms[:, -1])

    return _estimate(alarms, inliers, outliers)


def _estimate(statistic: Callable[[Curve], Floats], inliers: Floats, outliers: Floats) -> Estimate:
    """The statistic of the curve, with its bootstrap interval."""
    if inliers.size == 0 or outliers.size == 0:
        raise EmptySplit("outliers cannot be told from inliers without an image of each; ask for more with --limit")
    distinct, place = np.unique(np.concatenate([inliers, outliers]), return_inverse=True)
    places = (len(distinct) - 1 - place).astype(np.float64)  # the highest score first; floats, as `bootstrap` has it

    def of_resamples(inliers: Floats, outliers: Floats, axis: int) -> Floats:
        at_inliers, at = _counts(inliers, len(distinct)), _counts(outliers, len(distinct))
        curve = Curve(at, at_inliers, at.cumsum(axis=1), at_inliers.cumsum(axis=1))
        return statistic(curve).reshape(inliers.shape[:-1])

    return bootstrap(of_resamples, places[: len(inliers)], places[len(inliers) :])


def _counts(places: Floats, size: int) -> Integers:
    """How often each of ``size`` places occurs in every resample [..., n], [resamples, size]."""
    rows = places.reshape(-1, places.shape[-1]).astype(np.int64)
    apart = rows + size * np.arange(len(rows))[:, np.newaxis]
    return np.bincount(apart.ravel(), minlength=size * len(rows)).reshape(len(rows), size)
