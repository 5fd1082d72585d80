"""What the page of a benchmark draws: each built-in one against what it depends on, any other as a dot plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.board import GAP_FLAG, Board
from preimage.leaderboard.checkpoints import courses_of
from preimage.leaderboard.curve import AxisName, Chart, Point, Series, chart_of
from preimage.leaderboard.dots import Dots, dots_of
from preimage.leaderboard.likelihood_plots import likelihood_dots
from preimage.leaderboard.measured import mean_evaluations
from preimage.leaderboard.records import Entry, Figure, Metric, ModelRecord
from preimage.leaderboard.sections import Section

KINDS = {"glo": "GLO", "gan": "GAN", "autoencoder": "autoencoder", "aegan": "AEGAN", "vae": "VAE"}
"""Kinds of models by the tag that says so; the last that a card has. An autoencoder that is a GAN too is an AEGAN."""
OTHER, ASIDE = "other", "reference or baseline"
LOOKS = (*KINDS.values(), OTHER, ASIDE)
MOST_POINTS = 150  # of a chart
FIT_TOLD = "F on training and on validation images at checkpoints of one training: an early-stopping curve."


@dataclass(frozen=True)
class Drawn:
    """A chart, its title, what it shows in a sentence, and how many points it leaves out."""

    title: str
    told: str
    chart: Chart
    left: int = 0


def kind_of(model: ModelRecord) -> str:
    """What kind of model it is, for a legend."""
    if model.mark:
        return ASIDE
    tags = set(model.card.get("tags") or ())
    if {"autoencoder", "gan"} <= tags:
        tags.add("aegan")
    return next((name for tag, name in reversed(KINDS.items()) if tag in tags), OTHER)


def charts_of(board: Board) -> list[Drawn]:
    """The charts of one protocol."""
    draw = _CHARTS.get(board.lines[0].entry.benchmark.name)
    return draw(board) if draw is not None else []


def gap_against_images(board: Board) -> list[Drawn]:
    """Overfitting: the gap against the number of training images (Webster et al., CVPR 2019, figure 4).

    Without checkpoints of a training: they share the training images of the model that they lead to.
    """
    metric = board.first
    found: dict[str, list[Point]] = {}
    lines = [line for line in board.lines if not line.model.card.get("parent")]
    for line in lines[:MOST_POINTS]:
        images, figure = line.model.card.get("trained_on"), line.entry.figures.get(metric.name)
        if isinstance(images, int) and figure is not None:
            kind = kind_of(line.model)
            course = f"{kind} {line.model.family}"
            found.setdefault(kind, []).append(_point(images, figure, line.model.name, course))
    chart = chart_of(
        _series({kind: _joined(points) for kind, points in found.items()}),
        AxisName("training images N", "N"),
        _axis_name(metric),
        limit=(GAP_FLAG, f"flagged above {GAP_FLAG:.2f}"),
    )
    told = (
        "The gap between recovery errors of unseen and of training images against the number N of images that a model "
        "was trained on. Models of one kind and family that differ in N are joined. Checkpoints are left out: they "
        "share the training images of the model that they lead to."
    )
    left = max(0, len(lines) - MOST_POINTS)
    return [Drawn("Gap against training images", told, chart, left)] if chart is not None else []


def fit_against_steps(board: Board) -> list[Drawn]:
    """Goodness of fit: F on training and validation images along a training, one chart per training."""
    _, slash, variant = board.first.name.partition("/")
    drawn = []
    for parent, course in courses_of([line.model for line in board.lines]).items():
        entries = {line.model.name: line.entry for line in board.lines}
        series = []
        told = (("f_val", "validation images", "val"), ("f_train", "training images", "train"))
        for look, (name, title, style) in enumerate(told):
            points = [
                Point(step, figure.value, figure.low, figure.high, f"step {words.count(step)}", name, False)
                for step, model in course
                if (figure := entries[model.name].figures.get(f"{name}{slash}{variant}")) is not None
            ]
            series.append(Series(title, tuple(points), look, style))
        if max(len(one.points) for one in series) < 2:
            continue
        unit = words.shown(board.first.unit, 40)
        chart = chart_of(series, AxisName("training step", "step"), AxisName(f"F(G), {unit}", "F(G)"))
        if chart is not None:
            drawn.append(Drawn(f"Checkpoints of {words.shown(parent, 80)}", FIT_TOLD, chart))
    return drawn


SAME_TASK = ("limit", "distance", "operator", "penalty", "project", "space")
"""Options that say what was searched for; protocols that differ in others differ in how."""


def error_against_evaluations(results: Results, sections: Sequence[Section]) -> list[Drawn]:
    """Recovery on one data set: the error against what was spent on an image, one chart per task."""
    metric = next((board.first for section in sections for board in section.boards), None)
    tasks: dict[str, list[Entry]] = {}
    for entry in (line.entry for section in sections for board in section.boards for line in board.lines):
        if metric is not None and metric.name in entry.figures and entry.evaluation.asks:
            task = json.dumps([entry.evaluation.options.get(name) for name in SAME_TASK], sort_keys=True)
            tasks.setdefault(task, []).append(entry)
    ordered = sorted(tasks.items(), key=lambda item: (-len(item[1]), item[0]))
    charts = [_spent(results, metric, entries) for _, entries in ordered if metric is not None]
    return [chart for chart in charts if chart is not None]


def _spent(results: Results, metric: Metric, entries: Sequence[Entry]) -> Drawn | None:
    """The chart of one task: the same images, distance and operator."""
    asked: dict[str, int] = {}
    for entry in entries:
        first = entry.evaluation.asks[0]
        asked[first.request] = max(asked.get(first.request, 0), first.count)
    spent = mean_evaluations(results, asked)
    found: dict[str, list[Point]] = {}
    seen: set[tuple[str, float, float]] = set()
    for entry in entries:
        evaluations, figure = spent.get(entry.evaluation.asks[0].request), entry.figures[metric.name]
        key = (entry.model.name, evaluations or 0.0, figure.value)
        if evaluations and key not in seen:
            seen.add(key)
            point = _point(evaluations, figure, entry.model.name, entry.model.name)
            found.setdefault(kind_of(entry.model), []).append(point)
    series, left = _cut(_series({kind: _last_named(points) for kind, points in found.items()}))
    chart = chart_of(series, AxisName("generator evaluations per image", "evaluations"), _axis_name(metric))
    count = max(entry.figures[metric.name].n for entry in entries)
    told = (
        f"The recovery error of {words.count(count)} images against the generator evaluations spent on each, on "
        "average. One point per model and protocol; those of one model are joined. Where an error still falls to the "
        "right, it is the solver's."
    )
    return Drawn("Error against generator evaluations", told, chart, left) if chart is not None else None


def dots_of_board(board: Board) -> list[Dots]:
    """The dot plots of one protocol: its first metric, or the several that belong side by side."""
    base = board.first.name.partition("/")[0]
    benchmark = board.lines[0].entry.benchmark.name
    if benchmark == "outliers":
        columns = [column for column in board.columns if column.name.partition("/")[0] == base]
        return dots_of(board, columns, 0.5, "chance")
    if benchmark == "goodness-of-fit":
        return dots_of(board, [column for column in board.columns if column.name.startswith("f_")] or [board.first])
    if benchmark == "classification":
        classes = {line.model.card.get("num_classes") for line in board.lines}
        number = next(iter(classes)) if len(classes) == 1 else None
        if isinstance(number, int) and number > 1:
            columns = [column for column in board.columns if column is board.first or "likelihood" in column.name]
            return dots_of(board, columns, 1 / number, f"chance, 1 of {number}")
    if benchmark == "likelihood":
        return likelihood_dots(board)
    if benchmark == "typicality":
        return dots_of(board, [board.columns[place] for place in board.printed(brief=True)])
    if benchmark == "overfitting":
        return dots_of(board, [board.first], GAP_FLAG, f"flagged above {GAP_FLAG:.2f}")
    return dots_of(board, [board.first])


def _series(found: Mapping[str, Sequence[Point]]) -> list[Series]:
    """One series per kind, each with the look that its kind has on every page."""
    return [
        Series(kind, tuple(found[kind]), look, "aside" if kind == ASIDE else "")
        for look, kind in enumerate(LOOKS)
        if kind in found
    ]


def _axis_name(metric: Metric) -> AxisName:
    name = words.shown(metric.name, 40)
    return AxisName(f"{name}, {words.shown(metric.unit, 40)}", name)


def _cut(series: Sequence[Series]) -> tuple[list[Series], int]:
    """The series without what is more than a chart shows, and how many points that is."""
    kept, room = [], MOST_POINTS
    for one in series:
        kept.append(replace(one, points=one.points[:room]))
        room -= len(kept[-1].points)
    return kept, sum(len(one.points) for one in series) - sum(len(one.points) for one in kept)


def _joined(points: Sequence[Point]) -> list[Point]:
    """Points of one course stay joined, and unnamed, where they differ in x; else each stands alone under its name."""
    places: dict[str, list[float]] = {}
    for point in points:
        places.setdefault(point.course, []).append(point.x)
    courses = {course for course, found in places.items() if 1 < len(found) == len(set(found))}
    return [replace(point, named=False) if point.course in courses else replace(point, course="") for point in points]


def _last_named(points: Sequence[Point]) -> list[Point]:
    """Only the last point of each course has its name beside it."""
    last = {point.course: point for point in sorted(points, key=lambda point: (point.x, point.y))}
    return [replace(point, named=last[point.course] == point) for point in points]


def _point(x: float, figure: Figure, name: str, course: str) -> Point:
    return Point(float(x), figure.value, figure.low, figure.high, words.shown(name, 80), course)


_CHARTS: Mapping[str, Callable[[Board], list[Drawn]]] = {
    "overfitting": gap_against_images,
    "goodness-of-fit": fit_against_steps,
}
