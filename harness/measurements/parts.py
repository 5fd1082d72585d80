"""The likelihood of a mixture, ``p(x) = sum_k w_k p_k(x)``, from estimates of each part's own.

Bounds: the mean of ``exp(lower_k)`` is ``p_k(x)``, so that of ``exp(lower) = sum_k w_k exp(lower_k)`` is ``p(x)``. A
simulated image has an exact code in the part j alone that made it, and there the mean of ``exp(-upper_j)`` is
``1 / p_j(x)``. Given x, part k has made it with probability ``w_k p_k(x) / p(x)``, so for any shares ``r`` that sum to
1 and depend on neither j nor the code, the mean of ``r_j exp(-upper_j) / w_j`` is ``1 / p(x)``: an upper bound. With
``r_k = w_k exp(lower_k - lower)``, from forward chains that know nothing of the code, it is
``lower + upper_j - lower_j``: the gap of a mixture is that of the part that made the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from preimage.harness.rows import Floats

SUMMED = ("log_likelihood", "exact", "log_weight_", "pilot_log_weight_")
"""Logarithms of densities, or of what averages to them: they add up over parts."""


def mixed_parts(
    passes: Sequence[Mapping[str, Floats]], parts: NDArray[np.int64], weights: Sequence[float]
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """The values of a mixture's rows [n], and for each image the pass that its leading part was in, [n].

    passes: the values of each pass [n]; the first has the upper bounds, where there are any. parts: in which part each
    image was annealed in each pass, [passes, n]. What does not add up (acceptance, effective chains) is that of the
    leading part, which has the largest share of the lower bound; its number is the value ``part``.
    """
    log_w = np.log(np.array(weights))[parts]
    lead = (log_w + _stacked(passes, "log_likelihood")).argmax(axis=0)
    every = np.arange(len(lead))
    values: dict[str, Floats] = {}
    for name in passes[-1]:
        stack = _stacked(passes, name)
        values[name] = np.logaddexp.reduce(log_w + stack) if name.startswith(SUMMED) else stack[lead, every]
    values["evaluations"] = _stacked(passes, "evaluations").sum(axis=0)
    values["part"] = parts[lead, every].astype(np.float64)
    if "gap" in passes[0]:
        values["gap"] = passes[0]["gap"]
        values["upper"] = values["log_likelihood"] + values["gap"]
    return values, lead


def _stacked(passes: Sequence[Mapping[str, Floats]], name: str) -> Floats:
    return np.stack([one[name] for one in passes])
