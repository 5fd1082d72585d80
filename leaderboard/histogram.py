"""Histograms of per-image numbers: several groups of images on the same bins, as step outlines."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

from preimage.leaderboard.chi import ChiLaw
from preimage.leaderboard.scales import NOTHING, Scale, Tick, linear_scale, log_scale
from preimage.leaderboard.words import short

_BEYOND = 20  # how many times less than the least error of a group that sets the axis it still shows
_DEEPEST = 1e-6  # share of the largest error below which a logarithmic axis stops
_FURTHER = 1.0  # how many times the range of the groups that set a linear axis it reaches further down for others
_RARE = 1e-3  # share of a law's draws, on either side, that an axis may leave out
_LETTER = 7  # pixels of a letter on an axis
_LAW_STEP = 2  # pixels between the points of a law's curve


@dataclass(frozen=True)
class Frame:
    """The place of a drawing, in pixels, how many bins it has and how many ticks at most."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    bins: int
    x_ticks: int
    y_ticks: int


BINS = 30
WIDE = Frame(720, 300, 52, 704, 24, 248, BINS, 8, 5)
SMALL = Frame(260, 148, 34, 254, 12, 116, 24, 6, 3)


@dataclass(frozen=True)
class Sample:
    """The errors of one group of images, under the name that the legend gives it; ``style`` is its CSS class.

    sets_axis: whether the axis goes down to its least errors. A floor does not: it may be nothing but rounding.
    """

    name: str
    style: str
    errors: tuple[float, ...]
    sets_axis: bool = True

    @cached_property
    def ordered(self) -> list[float]:
        """The errors in order; what is smaller than anything an axis shows is 0."""
        return sorted([error if abs(error) > NOTHING else 0.0 for error in self.errors])


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
    law: str
    """The path of the law beside the groups: at each place the share that a bin centred there would hold."""
    frame: Frame

    def table(self) -> list[tuple[str, tuple[int, ...]]]:
        """Every bin with the counts of all groups."""
        return [(name, tuple(o.counts[k] for o in self.outlines)) for k, name in enumerate(self.bins) if name]


@dataclass(frozen=True)
class _Axis:
    """The axis of errors: the ends of its bins in errors and in pixels. under: it has a bin for what lies below it."""

    scale: Scale
    edges: tuple[float, ...]
    places: tuple[float, ...]
    under: bool
    width: float


def histogram_of(samples: Sequence[Sample], law: ChiLaw | None = None, *, linear: bool = False) -> Histogram | None:
    """The histogram of all groups with at least one error. None where there is none.

    The error axis is logarithmic where errors span more than a factor of ten; errors below a millionth of the largest,
    or far below those of the groups that set the axis, are then gathered in a bin of their own, left of it.
    linear: of log-likelihoods, whose axis never is logarithmic; it too gathers what lies far below.
    """
    return next(iter(histograms_of([samples], WIDE, law, linear=linear)), None)


def histograms_of(
    panels: Sequence[Sequence[Sample]], frame: Frame, law: ChiLaw | None = None, *, linear: bool = False
) -> list[Histogram]:
    """Histograms on the same bins and axes, one for each panel that has an error at all."""
    panels = [kept for samples in panels if (kept := [sample for sample in samples if sample.errors])]
    if not panels:
        return []
    every = [sample for samples in panels for sample in samples]
    axis = _linear_axis(every, frame) if linear else _axis(every, frame, law)
    counted = [[(_counts(sample, axis), sample) for sample in samples] for samples in panels]
    curve = _law(law, axis) if law is not None else []
    highest = [_highest(counts, sample, axis.under) for panel in counted for counts, sample in panel]
    top = max([*highest, *(share for _, share in curve)])
    y = linear_scale([0.0, 100 * top], frame.bottom, frame.top)
    return [_drawn(panel, axis, y, top, curve, frame) for panel in counted]


def _drawn(
    counted: Sequence[tuple[tuple[int, ...], Sample]],
    axis: _Axis,
    y: Scale,
    top: float,
    curve: Sequence[tuple[float, float]],
    frame: Frame,
) -> Histogram:
    shares = [(counts[0] / len(sample.errors), sample.name) for counts, sample in counted]
    cut = tuple(f"{100 * share:.0f} % of {name}" for share, name in shares if axis.under and share > top)
    below = None
    if axis.under:
        smallest = [error for _, sample in counted for error in sample.ordered if error < axis.edges[0]]
        text = "0" if all(abs(error) <= NOTHING for error in smallest) else f"< {short(axis.scale.low)}"
        below = Tick(round(axis.places[0] + axis.width / 2, 1), text)
    return Histogram(
        tuple(_outline(sample, counts, axis, y) for counts, sample in counted),
        _named(axis),
        tuple(tick for tick in axis.scale.ticks(frame.x_ticks) if below is None or not _touch(below, tick)),
        tuple(y.ticks(frame.y_ticks)),
        axis.scale.log,
        below,
        cut,
        _path([(at, y(100 * share)) for at, share in curve]),
        frame,
    )


def _touch(below: Tick, tick: Tick) -> bool:
    """Whether the text of a tick would run into that of the bin on its left."""
    return tick.at - below.at < _LETTER * (len(below.text) + len(tick.text)) / 2


def _axis(samples: Sequence[Sample], frame: Frame, law: ChiLaw | None) -> _Axis:
    every = sorted(chain.from_iterable(sample.ordered for sample in samples))
    lowest = _lowest(samples, every)
    least, largest = every[0], every[-1]
    if law is not None:
        ends = law.quantile(_RARE), law.quantile(1 - _RARE)
        least, lowest, largest = min(least, ends[0]), min(lowest, ends[0]), max(largest, ends[1])
    log = least >= 0 and largest > 0 and (largest > 10 * lowest or least < lowest)
    under = log and least < log_scale(lowest, largest, 0, 1).low
    width = (frame.right - frame.left) / (frame.bins + (2 if under else 0))
    if log:
        scale = log_scale(lowest, largest, frame.left + (2 * width if under else 0), frame.right)
    else:
        scale = linear_scale([least, largest], frame.left, frame.right, zero=law is None)
    return _placed(scale, frame, under, width)


def _linear_axis(samples: Sequence[Sample], frame: Frame) -> _Axis:
    """An axis down to the least value of the groups that set it; what others have far below is gathered in a bin."""
    every = sorted(chain.from_iterable(sample.ordered for sample in samples))
    setting = [value for sample in samples if sample.sets_axis for value in sample.errors] or every
    reach = min(setting) - _FURTHER * (max(setting) - min(setting))
    lowest = next(value for value in every if value >= reach)
    scale = linear_scale([lowest, every[-1]], frame.left, frame.right, zero=False)
    under = every[0] < scale.low
    width = (frame.right - frame.left) / (frame.bins + (2 if under else 0))
    if under:
        scale = replace(scale, start=frame.left + 2 * width)
    return _placed(scale, frame, under, width)


def _placed(scale: Scale, frame: Frame, under: bool, width: float) -> _Axis:
    places = [scale.start + k * width for k in range(frame.bins + 1)]
    if under:
        places = [frame.left, frame.left + width, *places]
    return _Axis(scale, _edges(scale, frame.bins), tuple(places), under, width)


def _lowest(samples: Sequence[Sample], every: Sequence[float]) -> float:
    """The least error that a logarithmic axis reaches. every: all errors in order."""
    bound = every[-1] * _DEEPEST
    setting: list[Sequence[float]] = [sample.ordered for sample in samples if sample.sets_axis]
    least = min(_next(errors, bound, every[-1]) for errors in setting or [every])
    return _next(every, max(bound, least / _BEYOND), every[-1])


def _next(errors: Sequence[float], bound: float, none: float) -> float:
    """The least error above a bound."""
    place = bisect.bisect_right(errors, bound)
    return errors[place] if place < len(errors) else none


def _edges(scale: Scale, bins: int) -> tuple[float, ...]:
    if scale.log:
        ratio = scale.high / scale.low
        return tuple(scale.low * ratio ** (k / bins) for k in range(bins + 1))
    return tuple(scale.low + (scale.high - scale.low) * k / bins for k in range(bins + 1))


def _counts(sample: Sample, axis: _Axis) -> tuple[int, ...]:
    """How many errors lie in each bin [edge, next edge), the last one closed; every error is in exactly one.

    Under an axis that gathers small errors the first bin holds those, and an empty one parts it from the rest.
    """
    errors, edges = sample.ordered, axis.edges
    below = [0, *(bisect.bisect_left(errors, edge) for edge in edges[1:-1]), len(errors)]
    if not axis.under:
        return tuple(end - start for start, end in pairwise(below))
    below[0] = bisect.bisect_left(errors, edges[0])
    return (below[0], 0, *(end - start for start, end in pairwise(below)))


def _highest(counts: Sequence[int], sample: Sample, under: bool) -> float:
    return max(counts[2:] if under else counts) / len(sample.errors)


def _law(law: ChiLaw, axis: _Axis) -> list[tuple[float, float]]:
    """Places along the axis and the share of the law that a bin centred there would hold, where that is not nothing."""
    scale, half = axis.scale, axis.width / 2
    count = int((scale.end - scale.start) / _LAW_STEP)
    places = [scale.start + k * (scale.end - scale.start) / count for k in range(count + 1)]
    found = [(at, law.share(_value(scale, at - half), _value(scale, at + half))) for at in places]
    return [(at, share) for at, share in found if share > _RARE / 10]


def _value(scale: Scale, place: float) -> float:
    """The value at a place of an axis, also beyond its ends."""
    part = (place - scale.start) / (scale.end - scale.start)
    if scale.log:
        return float(scale.low * (scale.high / scale.low) ** part)
    return scale.low + part * (scale.high - scale.low)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if len(points) > 1 else ""


def _outline(sample: Sample, counts: Sequence[int], axis: _Axis, y: Scale) -> Outline:
    path = [f"M{axis.places[0]:.1f} {y(0):.1f}"]
    for count, end in zip(counts, axis.places[1:], strict=True):
        path.append(f"V{y(100 * count / len(sample.errors)):.1f}H{end:.1f}")
    path.append(f"V{y(0):.1f}")
    median = statistics.median(sample.ordered)
    beneath = axis.under and median < axis.scale.low
    at = axis.places[0] + axis.width / 2 if beneath else axis.scale(median)
    return Outline(sample.name, sample.style, tuple(counts), "".join(path), median, round(at, 1))


def _named(axis: _Axis) -> tuple[str, ...]:
    pairs = pairwise(axis.edges)
    names = tuple(f"{short(float(f'{low:.3g}'))} to {short(float(f'{high:.3g}'))}" for low, high in pairs)
    return (f"below {short(axis.edges[0])}", "", *names) if axis.under else names
