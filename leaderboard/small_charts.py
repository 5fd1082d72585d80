"""Small charts side by side, one per model: the same lines or points in each, on axes that are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preimage.leaderboard.curve import MARKS, AxisName
from preimage.leaderboard.histogram import Frame
from preimage.leaderboard.records import ModelRecord
from preimage.leaderboard.scales import Scale, Tick, linear_scale

MOST_PANELS = 12
FRAME = Frame(260, 168, 38, 250, 14, 126, 0, 5, 5)

Place = tuple[float, float]


@dataclass(frozen=True)
class Trace:
    """Points of one kind in a panel. style: a CSS class. look: which shape marks them. joined: by a line."""

    name: str
    style: str
    points: tuple[Place, ...]
    look: int = 0
    joined: bool = True


@dataclass(frozen=True)
class Sketch:
    """A model's traces, before they are drawn. note: what stands beside its name. numbers: its lines of the table."""

    model: ModelRecord
    traces: tuple[Trace, ...]
    numbers: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Stroke:
    """A trace drawn: the line through its points, if any, and one path of all their marks, or of all their specks."""

    name: str
    style: str
    line: str
    marks: str
    specks: str


@dataclass(frozen=True)
class Panel:
    """One model drawn."""

    model: ModelRecord
    note: str
    strokes: tuple[Stroke, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Key:
    """An entry of the legend. mark: the shape, where points have one."""

    name: str
    style: str
    mark: str
    joined: bool


@dataclass(frozen=True)
class Panels:
    """The drawing. head, numbers: a table of what is drawn. left: how many models it lacks."""

    title: str
    told: str
    x: AxisName
    y: AxisName
    panels: tuple[Panel, ...]
    keys: tuple[Key, ...]
    head: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    left: int
    frame: Frame = FRAME


@dataclass(frozen=True)
class Told:
    """What a drawing says: its title, what it shows in a sentence, its axes.

    own_x: every panel has an x axis of its own. ends: of the y axis, where it does not depend on the values.
    marked: whether points have marks.
    """

    title: str
    told: str
    x: AxisName
    y: AxisName
    own_x: bool = False
    ends: tuple[float, float] | None = None
    marked: bool = True


def panels_of(sketches: Sequence[Sketch], told: Told, head: tuple[str, ...]) -> Panels | None:
    """The panels of models that have a point. None where none has. head: what heads the columns of their numbers."""
    drawn = [sketch for sketch in sketches if any(trace.points for trace in sketch.traces)]
    shown = drawn[:MOST_PANELS]
    if not shown:
        return None
    common = None if told.own_x else _scale(shown, 0, FRAME.left, FRAME.right)
    y = _scale(shown, 1, FRAME.bottom, FRAME.top, told.ends)
    keys = {trace.name: _key(trace, told.marked) for sketch in shown for trace in sketch.traces if trace.points}
    panels = tuple(_panel(one, common or _scale([one], 0, FRAME.left, FRAME.right), y, told.marked) for one in shown)
    numbers = tuple(line for sketch in shown for line in sketch.numbers)
    left = len(drawn) - len(shown)
    return Panels(told.title, told.told, told.x, told.y, panels, tuple(keys.values()), head, numbers, left)


def _scale(
    sketches: Sequence[Sketch], which: int, start: float, end: float, ends: tuple[float, float] | None = None
) -> Scale:
    values = [point[which] for sketch in sketches for trace in sketch.traces for point in trace.points]
    return linear_scale([*values, *(ends or ())], start, end, zero=False)


def _key(trace: Trace, marked: bool) -> Key:
    return Key(trace.name, trace.style, MARKS[trace.look % len(MARKS)] if marked else "", trace.joined)


def _panel(sketch: Sketch, x: Scale, y: Scale, marked: bool) -> Panel:
    strokes = tuple(_stroke(trace, x, y, marked) for trace in sketch.traces if trace.points)
    return Panel(sketch.model, sketch.note, strokes, tuple(x.ticks(FRAME.x_ticks)), tuple(y.ticks(FRAME.y_ticks)))


def _stroke(trace: Trace, x: Scale, y: Scale, marked: bool) -> Stroke:
    places = [(f"{x(point[0]):.1f}", f"{y(point[1]):.1f}") for point in trace.points]
    line = "M" + "L".join(" ".join(place) for place in places) if trace.joined and len(places) > 1 else ""
    shape = MARKS[trace.look % len(MARKS)]
    marks = "".join(shape.replace("{x}", a).replace("{y}", b) for a, b in places) if marked else ""
    specks = "" if trace.joined else "".join(f"M{a} {b}h0" for a, b in places) if not marked else ""
    return Stroke(trace.name, trace.style, line, marks, specks)
