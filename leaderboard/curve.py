"""Charts: a number against another, as points with their intervals, joined where they are one model's course."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from preimage.leaderboard.scales import NOTHING, Scale, Tick, linear_scale, log_scale

WIDTH, HEIGHT = 800, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 620, 28, 288
SPAN = 5  # values that span more than this factor stand on a logarithmic axis
INSET = 40  # pixels between the ends of the chart and those of its x axis
DODGE, CROWD = 8, 56  # pixels between points that have the same x, and between the first and the last of them at most
_LETTER, _LINE = 6.4, 13  # pixels that a letter of a label takes, and a line of them
_MOST_LETTERS = 26  # of a label
_MARGIN = RIGHT + 18  # where labels in the margin begin
_LOWEST, _HIGHEST = TOP - 8, BOTTOM + 4  # where labels may stand

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Point:
    """One figure: where it lies, its interval on the y axis where there is one, what it is called.

    course: points of a series that share one are joined from left to right; "" stands alone. named: whether its name
    is to stand beside it.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    name: str
    course: str = ""
    named: bool = True


@dataclass(frozen=True)
class Series:
    """Points under one name of the legend. look: which shape its dots have. style: its CSS class, by its look if ""."""

    name: str
    points: tuple[Point, ...]
    look: int = 0
    style: str = ""


@dataclass(frozen=True)
class Label:
    """A text beside a point. anchor: which part of it stands at its place: start, middle or end.

    leader: the line to it from its point, where it stands in the margin.
    """

    text: str
    x: float
    y: float
    anchor: str
    leader: str = ""


@dataclass(frozen=True)
class Dot:
    """A point drawn: its place, the ends of its interval, its label where there was room for one."""

    point: Point
    x: float
    y: float
    low: float | None
    high: float | None
    label: Label | None = None


@dataclass(frozen=True)
class Line:
    """A series drawn: its dots from left to right, the path through those that are joined, the shape of a dot."""

    name: str
    style: str
    dots: tuple[Dot, ...]
    path: str
    mark: str


@dataclass(frozen=True)
class AxisName:
    """What an axis says: the quantity with its unit, and the same in a word or two for the head of a table."""

    text: str
    short: str


@dataclass(frozen=True)
class Limit:
    """A value of the y axis with a meaning of its own, drawn across the chart."""

    at: float
    value: float
    text: str


@dataclass(frozen=True)
class Chart:
    """The drawing."""

    lines: tuple[Line, ...]
    x: AxisName
    y: AxisName
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: tuple[bool, bool]
    zero: float | None
    limit: Limit | None
    side_by_side: bool
    """Whether points of the same x were put beside each other."""

    @property
    def in_margin(self) -> bool:
        """Whether a label stands in the right margin."""
        return any(dot.label is not None and dot.label.leader for dot in self.dots)

    @property
    def dots(self) -> tuple[Dot, ...]:
        """All of them."""
        return tuple(dot for line in self.lines for dot in line.dots)


MARKS = (
    "M{x} {y}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M{x} {y}m-3.6 -3.6h7.2v7.2h-7.2z",
    "M{x} {y}m0 -5l4.6 8h-9.2z",
    "M{x} {y}m0 -5l5 5l-5 5l-5 -5z",
    "M{x} {y}m0 5l4.6 -8h-9.2z",
    "M{x} {y}m-2 -4.5h4v2.5h2.5v4h-2.5v2.5h-4v-2.5h-2.5v-4h2.5z",
)
"""One shape per style, so that series differ without colour too."""


def chart_of(
    series: Sequence[Series],
    x: AxisName,
    y: AxisName,
    *,
    limit: tuple[float, str] | None = None,
) -> Chart | None:
    """The chart of all series that have a point. None where none has.

    An axis is logarithmic where its values are positive and span more than a factor of five. limit: a value of the
    y axis and what it means. Named points have their names beside them, or in the right margin, where there is room.
    """
    series = [replace(one, points=tuple(sorted(one.points, key=_place))) for one in series if one.points]
    if not series:
        return None
    points = [point for one in series for point in one.points]
    x_scale = _scale([point.x for point in points], LEFT + INSET, RIGHT - INSET)
    heights = [value for p in points for value in (p.y, p.low, p.high) if value is not None]
    y_scale = _scale(heights + ([limit[0]] if limit is not None else []), BOTTOM, TOP)
    shifts = _shifts(series)
    lines = tuple(_line(one, number, shifts, x_scale, y_scale) for number, one in enumerate(series))
    line_at = Limit(y_scale(limit[0]), limit[0], limit[1]) if limit is not None else None
    return Chart(
        _labelled(lines, line_at),
        x,
        y,
        tuple(x_scale.ticks(8)),
        tuple(y_scale.ticks(6)),
        (x_scale.log, y_scale.log),
        y_scale(0.0) if not y_scale.log and y_scale.low < 0 < y_scale.high else None,
        line_at,
        any(shifts.values()),
    )


def _place(point: Point) -> tuple[float, float, str]:
    return point.x, point.y, point.name


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    if min(values) > NOTHING and max(values) > SPAN * min(values):
        return log_scale(min(values), max(values), start, end)
    return linear_scale(values, start, end)


def _shifts(series: Sequence[Series]) -> dict[tuple[int, int], float]:
    """How far each point (of which series, which place) moves sideways, so that those of one x stand side by side."""
    together: dict[float, list[tuple[int, int]]] = {}
    for number, one in enumerate(series):
        for place, point in enumerate(one.points):
            together.setdefault(point.x, []).append((number, place))
    found = {}
    for keys in together.values():
        apart = min(DODGE, CROWD / max(len(keys) - 1, 1))
        found.update({key: apart * (index - (len(keys) - 1) / 2) for index, key in enumerate(keys)})
    return found


def _line(one: Series, number: int, shifts: dict[tuple[int, int], float], x_scale: Scale, y_scale: Scale) -> Line:
    dots = []
    for place, point in enumerate(one.points):
        low, high = (None if end is None else y_scale(end) for end in (point.low, point.high))
        dots.append(Dot(point, round(x_scale(point.x) + shifts[number, place], 2), y_scale(point.y), low, high))
    look = one.look % len(MARKS)
    return Line(one.name, one.style or f"s{look}", tuple(dots), _paths(dots), MARKS[look])


def _paths(dots: Sequence[Dot]) -> str:
    """One path through the dots of each course."""
    courses: dict[str, list[Dot]] = {}
    for dot in dots:
        if dot.point.course:
            courses.setdefault(dot.point.course, []).append(dot)
    joined = [course for course in courses.values() if len(course) > 1]
    return "".join("M" + "L".join(f"{dot.x} {dot.y}" for dot in course) for course in joined)


def _labelled(lines: Sequence[Line], limit: Limit | None) -> tuple[Line, ...]:
    """The lines with a label for every dot: beside it where there is room, else in the right margin with a line to it.

    Where the margin is full, and where it is far, the rest stay without.
    """
    dots = [dot for line in lines for dot in line.dots]
    taken = [box for dot in dots for box in _boxes(dot)] + [box for line in lines for box in _along(line)]
    if limit is not None:
        taken.append((LEFT, limit.at - 18, LEFT + _LETTER * len(limit.text), limit.at + 2))
    dots = [dot for dot in dots if dot.point.named]
    found: dict[Dot, Label] = {}
    for dot in dots:
        label = _beside(dot, taken)
        if label is not None:
            found[dot] = label
    found.update(_in_margin([dot for dot in dots if dot not in found and dot.x > (LEFT + RIGHT) / 2]))
    return tuple(replace(line, dots=tuple(replace(dot, label=found.get(dot)) for dot in line.dots)) for line in lines)


def _text(dot: Dot) -> str:
    name = dot.point.name
    return name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + "…"


def _boxes(dot: Dot) -> list[Box]:
    """What a dot and its interval cover."""
    boxes = [(dot.x - 6, dot.y - 6, dot.x + 6, dot.y + 6)]
    if dot.low is not None and dot.high is not None:
        boxes.append((dot.x - 2, dot.high, dot.x + 2, dot.low))
    return boxes


def _along(line: Line) -> Iterator[Box]:
    """What the lines of a series cover, in small steps."""
    courses: dict[str, list[Dot]] = {}
    for dot in line.dots:
        courses.setdefault(dot.point.course, []).append(dot)
    for course, dots in courses.items():
        for one, other in pairwise(dots) if course else ():
            steps = max(1, int(max(abs(other.x - one.x), abs(other.y - one.y)) / _LINE))
            for k in range(1, steps):
                x, y = one.x + (other.x - one.x) * k / steps, one.y + (other.y - one.y) * k / steps
                yield x - 3, y - 3, x + 3, y + 3


def _beside(dot: Dot, taken: list[Box]) -> Label | None:
    """A label right, left, above or below the dot, where it meets nothing else; its place is then taken."""
    text = _text(dot)
    wide = _LETTER * len(text)
    for x, y, anchor, left in (
        (dot.x + 9, dot.y, "start", dot.x + 9),
        (dot.x - 9, dot.y, "end", dot.x - 9 - wide),
        (dot.x, dot.y - 13, "middle", dot.x - wide / 2),
        (dot.x, dot.y + 14, "middle", dot.x - wide / 2),
    ):
        box = (left, y - _LINE / 2, left + wide, y + _LINE / 2)
        inside = box[0] >= LEFT and box[2] <= RIGHT and box[1] >= _LOWEST and box[3] <= BOTTOM
        own = _boxes(dot)[:1] if anchor != "middle" else []
        if inside and not any(_meet(box, other) for other in taken if other not in own):
            taken.append(box)
            return Label(text, round(x, 2), round(y + 4, 2), anchor)
    return None


def _in_margin(dots: Sequence[Dot]) -> dict[Dot, Label]:
    """Labels one under the other in the right margin, in the order of their dots, each as near to its dot's height."""
    room = int((_HIGHEST - _LOWEST) / _LINE)
    dots = sorted(sorted(dots, key=lambda dot: -dot.x)[:room], key=lambda dot: (dot.y, -dot.x, dot.point.name))
    places: list[float] = []
    for dot in dots:
        places.append(max(dot.y, places[-1] + _LINE if places else _LOWEST))
    for place in range(len(places) - 1, -1, -1):  # what reaches below the chart moves up, and pushes what is above
        lowest = _HIGHEST if place == len(places) - 1 else places[place + 1] - _LINE
        places[place] = min(places[place], lowest)
    return {
        dot: Label(
            _text(dot),
            _MARGIN,
            round(y + 4, 2),
            "start",
            f"M{dot.x + 6:.1f} {dot.y}L{max(RIGHT, dot.x + 8):.1f} {y:.1f}H{_MARGIN - 3}",
        )
        for dot, y in zip(dots, places, strict=True)
    }


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
