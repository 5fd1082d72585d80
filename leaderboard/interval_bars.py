"""Intervals drawn beside their numbers: one axis for a whole column, one bar per model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preimage.leaderboard.records import Figure
from preimage.leaderboard.scales import NOTHING, Scale, Tick, linear_scale, log_scale

WIDTH, MARGIN = 150, 8
MIDDLE = 18  # pixels from the top of a line to its bar
SPAN = 5


@dataclass(frozen=True)
class Bar:
    """Positions of a value, of its interval's ends and of its floor, in pixels from the left.

    floor_below: the floor lies below the axis and is drawn at its edge.
    """

    value: float
    low: float | None
    high: float | None
    floor: float | None
    floor_below: bool


@dataclass(frozen=True)
class Axis:
    """What all bars of a column share. band: the leader's interval. mark: a threshold. zero: where 0 lies inside."""

    scale: Scale
    ticks: tuple[Tick, ...]
    band: tuple[float, float] | None
    mark: float | None
    zero: float | None

    def bar(self, figure: Figure, floor: Figure | None) -> Bar:
        """The bar of one figure."""
        ends = (figure.low, figure.high)
        low, high = (None if end is None else self.scale(end) for end in ends)
        at = None if floor is None else self.scale(floor.value)
        return Bar(self.scale(figure.value), low, high, at, floor is not None and floor.value < self.scale.low)


def axis_of(
    figures: Sequence[Figure], leader: Figure | None, mark: float | None, *, from_zero: bool = False
) -> Axis | None:
    """The axis that holds all figures and their intervals; logarithmic where they span more than a factor of five.

    from_zero: it holds 0 too, and is linear.
    A floor may lie below it, and is then drawn at its edge. None without any figure.
    """
    if not figures:
        return None
    values = [v for f in figures for v in (f.value, f.low, f.high) if v is not None]
    values += [mark] if mark is not None else []
    values += [0.0] if from_zero else []
    if min(values) > NOTHING and max(values) > SPAN * min(values):
        scale = log_scale(min(values), max(values), MARGIN, WIDTH - MARGIN)
    else:
        scale = linear_scale(values, MARGIN, WIDTH - MARGIN)
    band = None
    if leader is not None and leader.low is not None and leader.high is not None:
        band = (scale(leader.low), scale(leader.high))
    return Axis(
        scale,
        tuple(scale.ticks(5)),
        band,
        None if mark is None else scale(mark),
        scale(0) if scale.low < 0 < scale.high else None,
    )
