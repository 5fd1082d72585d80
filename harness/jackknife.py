"""The delete-a-group jackknife: intervals of statistics that a bootstrap would bias. Pure numpy; imports no torch."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from preimage.harness.rows import Estimate

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


def jackknife(value: float, without: Floats, n: int, *, least: float = -inf, most: float = inf) -> Estimate:
    """The value with its 95 % interval ``value -+ t s``, ``s^2 = (G - 1) / G sum_g (without_g - their mean)^2``.

    t: of Student's law with G - 1 degrees of freedom. without: the statistic without each of G groups of images, [G].
    A bootstrap repeats images, which shrinks nearest-neighbour distances and inflates covariance errors; leaving
    images out does neither. The interval is of the statistic's mean at n images: a bias at n is not corrected.
    least, most: what the statistic cannot leave, nor its interval.
    """
    groups = len(without)
    spread = float(np.sqrt((groups - 1) / groups * np.sum((without - np.mean(without)) ** 2)))
    reach = float(stats.t.ppf(0.975, groups - 1)) * spread
    return Estimate(value, max(least, value - reach), min(most, value + reach), n)
