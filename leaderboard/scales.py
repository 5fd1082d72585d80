"""Axes: from values to positions, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from preimage.leaderboard.words import short

NOTHING = 1e-30
"""What is smaller than this is 0 on an axis."""


@dataclass(frozen=True)
class Tick:
    """A position on an axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high`` over positions ``start`` to ``end``, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value, kept on the axis."""
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        share = min(max((here - low) / (high - low), 0.0), 1.0)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, most: int = 5) -> list[Tick]:
        """At most so many ticks at round numbers."""
        if self.log:
            return [Tick(self(value), short(value)) for value in _log_ticks(self.low, self.high, most)]
        step = _step((self.high - self.low) / max(most - 1, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [Tick(self(k * step), short(round(k * step, 12))) for k in range(first, last + 1)]


def linear_scale(values: Sequence[float], start: float, end: float, *, zero: bool = True) -> Scale:
    """A linear axis that holds all values; its ends are round. zero: it holds zero too unless they lie far from it."""
    low, high = (0.0 if abs(end) < NOTHING else end for end in (min(values), max(values)))
    if zero and low > 0 and low < 0.6 * high:
        low = 0.0
    if zero and high < 0 and high > 0.6 * low:
        high = 0.0
    if high == low:
        low, high = (min(0.0, low), max(0.0, high)) if low else (0.0, 1.0)
    step = _step((high - low) / 8)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)


def log_scale(lowest: float, highest: float, start: float, end: float) -> Scale:
    """A logarithmic axis that holds both; its ends are 1, 2 or 5 times a power of ten. Both are positive."""
    low, high = rounded(lowest, -1), rounded(highest, 1)
    return Scale(low, high if high > low else 10 * low, start, end, log=True)


def rounded(value: float, direction: int) -> float:
    """The nearest of 1, 2, 5 times a power of ten, downwards (-1) or upwards (1)."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [factor * power for factor in (1, 2, 5, 10)]
    if direction < 0:
        return max(step for step in steps if step <= value * (1 + 1e-9))
    return min(step for step in steps if step >= value * (1 - 1e-9))


def _step(least: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**k for k in decades for f in factors if low * (1 - 1e-9) <= f * 10.0**k <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]
