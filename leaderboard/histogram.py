"""Histograms of per-image errors: several groups of images on the same bins, as step outlines."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from preimage.leaderboard.scales import NOTHING, Scale, Tick, linear_scale, log_scale
from preimage.leaderboard.words import short

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 704, 24, 248
BINS = 30
_BEYOND = 20  # how many times less than the least error of a group that sets the axis it still shows
_DEEPEST = 1e-6  # share of the largest error below which a logarithmic axis stops


@dataclass(frozen=True)
class Sample:
    """The errors of one group of images, under the name that the legend gives it; ``style`` is its CSS class.

    sets_axis: whether the axis goes down to its least errors. A floor does not: it may be nothing but rounding.
    """

    name: str
    style: str
    errors: tuple[float, ...]
    sets_axis: bool = True


@dataclass(frozen=True)
class Outline:
    """One group drawn: counts per bin, the path of its outline, its median and where that lies."""

    name: str
    style: str
    counts: tuple[int, ...]
    path: str
    median: float
    median_at: float

    @property
    def n(self) -> int:
        """How many images there are."""
        return sum(self.counts)


@dataclass(frozen=True)
class Histogram:
    """The drawing. bins: what each bin holds, in words. log: whether the error axis is logarithmic."""

    outlines: tuple[Outline, ...]
    bins: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool
    below: Tick | None
    """Where errors too small for the axis are gathered."""
    cut: tuple[str, ...]
    """What that bin holds of groups whose share there is higher than the drawing, in words."""

    def table(self) -> list[tuple[str, tuple[int, ...]]]:
        """Every bin with the counts of all groups."""
        return [(name, tuple(o.counts[k] for o in self.outlines)) for k, name in enumerate(self.bins) if name]


def histogram_of(samples: Sequence[Sample]) -> Histogram | None:
    """The histogram of all groups with at least one error. None where there is none.

    The error axis is logarithmic where errors span more than a factor of ten; errors below a millionth of the largest,
    or far below those of the groups that set the axis, are then gathered in a bin of their own, left of it.
    """
    samples = [sample for sample in samples if sample.errors]
    if not samples:
        return None
    every, lowest = _ordered(samples), _lowest(samples)
    largest = every[-1]
    log = every[0] >= 0 and largest > 0 and (largest > 10 * lowest or every[0] < lowest)
    under = log and every[0] < lowest
    width = (RIGHT - LEFT) / (BINS + (2 if under else 0))
    if log:
        scale = log_scale(lowest, largest, LEFT + (2 * width if under else 0), RIGHT)
    else:
        scale = linear_scale(every, LEFT, RIGHT)
    edges = _edges(scale)
    places = [scale.start + k * width for k in range(BINS + 1)]
    if under:
        places = [LEFT, LEFT + width, *places]
    counted = [(_counts(sample.errors, edges, under), sample) for sample in samples]
    shares = [[count / len(sample.errors) for count in counts] for counts, sample in counted]
    top = max(max(share[2:] if under else share) for share in shares)
    cut = [
        f"{100 * share[0]:.0f} % of {sample.name}"
        for share, (_, sample) in zip(shares, counted, strict=True)
        if under and share[0] > top
    ]
    y = linear_scale([0.0, 100 * top], BOTTOM, TOP)
    outlines = tuple(
        _outline(sample, counts, places, y, scale, LEFT + width / 2 if under else None) for counts, sample in counted
    )
    below = None
    if under:
        only_zeros = every[bisect.bisect_left(every, lowest) - 1] == 0
        below = Tick(round(LEFT + width / 2, 1), "0" if only_zeros else f"< {short(scale.low)}")
    return Histogram(outlines, _named(edges, under), tuple(scale.ticks(8)), tuple(y.ticks(5)), log, below, tuple(cut))


def _ordered(samples: Sequence[Sample]) -> list[float]:
    return sorted(error if abs(error) > NOTHING else 0.0 for sample in samples for error in sample.errors)


def _lowest(samples: Sequence[Sample]) -> float:
    """The least error that a logarithmic axis reaches."""
    every = _ordered(samples)
    bound = every[-1] * _DEEPEST
    setting = _ordered([sample for sample in samples if sample.sets_axis]) or every
    least = next((error for error in setting if error > bound), every[-1])
    return next((error for error in every if error > max(bound, least / _BEYOND)), every[-1])


def _edges(scale: Scale) -> list[float]:
    if scale.log:
        ratio = scale.high / scale.low
        return [scale.low * ratio ** (k / BINS) for k in range(BINS + 1)]
    return [scale.low + (scale.high - scale.low) * k / BINS for k in range(BINS + 1)]


def _counts(errors: Sequence[float], edges: Sequence[float], under: bool) -> tuple[int, ...]:
    """How many errors lie in each bin [edge, next edge), the last one closed; every error is in exactly one.

    Under an axis that gathers small errors the first bin holds those, and an empty one parts it from the rest.
    """
    counts = [0] * (BINS + (2 if under else 0))
    shift = 2 if under else 0
    for error in errors:
        if under and error < edges[0]:
            counts[0] += 1
        else:
            counts[shift + min(max(bisect.bisect_right(edges, error) - 1, 0), BINS - 1)] += 1
    return tuple(counts)


def _outline(
    sample: Sample, counts: Sequence[int], places: Sequence[float], y: Scale, x: Scale, below: float | None
) -> Outline:
    path = [f"M{places[0]:.1f} {y(0):.1f}"]
    for count, end in zip(counts, places[1:], strict=True):
        path.append(f"V{y(100 * count / len(sample.errors)):.1f}H{end:.1f}")
    path.append(f"V{y(0):.1f}")
    median = statistics.median(sample.errors)
    at = below if below is not None and median < x.low else x(median)
    return Outline(sample.name, sample.style, tuple(counts), "".join(path), median, round(at, 1))


def _named(edges: Sequence[float], under: bool) -> tuple[str, ...]:
    names = tuple(f"{short(float(f'{low:.3g}'))} to {short(float(f'{high:.3g}'))}" for low, high in pairwise(edges))
    return (f"below {short(edges[0])}", "", *names) if under else names
