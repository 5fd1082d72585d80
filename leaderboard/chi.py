"""The chi law: the norm of a draw from a standard normal prior in so many dimensions."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import cache

_REACH = 9.0  # how far around the mode the table goes; the standard deviation is 0.71 at most
_STEPS = 2000


@dataclass(frozen=True)
class ChiLaw:
    """The law of ``||z||`` for z ~ N(0, I) in ``dim`` dimensions.

    Density ``r^(d-1) exp(-r^2 / 2) / (2^(d/2 - 1) Gamma(d/2))``.
    """

    dim: int

    def density(self, radius: float) -> float:
        """Its density at a radius."""
        if radius < 0 or (radius == 0 and self.dim > 1):
            return 0.0
        power = (self.dim - 1) * math.log(radius) if self.dim > 1 else 0.0
        scale = (self.dim / 2 - 1) * math.log(2) + math.lgamma(self.dim / 2)
        return math.exp(power - radius * radius / 2 - scale)

    def below(self, radius: float) -> float:
        """The share of draws whose norm is at most this."""
        ends, shares = self._table
        place = bisect.bisect_right(ends, radius) - 1
        if place < 0:
            return 0.0
        if place >= len(ends) - 1:
            return 1.0
        part = (radius - ends[place]) / (ends[place + 1] - ends[place])
        return shares[place] + part * (shares[place + 1] - shares[place])

    def share(self, low: float, high: float) -> float:
        """The share of draws whose norm lies between two radii."""
        return self.below(high) - self.below(low)

    def quantile(self, share: float) -> float:
        """The radius that this share of draws stays below."""
        ends, shares = self._table
        return ends[min(bisect.bisect_left(shares, share), len(ends) - 1)]

    @property
    def _table(self) -> tuple[list[float], list[float]]:
        return _table(self.dim)


@cache
def _table(dim: int) -> tuple[list[float], list[float]]:
    """Radii, and the share below each: the density integrated by Simpson's rule, cell by cell."""
    law = ChiLaw(dim)
    mode = math.sqrt(max(dim - 1, 0))
    first, last = max(0.0, mode - _REACH), mode + _REACH
    step = (last - first) / _STEPS
    ends = [first + k * step for k in range(_STEPS + 1)]
    density = [law.density(end) for end in ends]
    shares = [0.0]
    for k in range(_STEPS):
        middle = law.density(ends[k] + step / 2)
        shares.append(shares[-1] + step * (density[k] + 4 * middle + density[k + 1]) / 6)
    return ends, [min(share, 1.0) for share in shares]
