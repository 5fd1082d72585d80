"""Boards: the models of one protocol in the order of their first metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preimage.leaderboard import words
from preimage.leaderboard.interval_bars import Axis, Bar, axis_of
from preimage.leaderboard.records import Entry, Figure, Metric, ModelRecord

P_FLAG, GAP_FLAG = 0.01, 0.10  # Webster et al., CVPR 2019


@dataclass(frozen=True)
class Cell:
    """A score as it is printed."""

    value: str
    interval: str


@dataclass(frozen=True)
class Line:
    """A model on a board. rank: None for references and baselines. tied: its interval overlaps the leader's."""

    rank: int | None
    model: ModelRecord
    tied: bool
    flags: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    bar: Bar | None
    n: int
    entry: Entry


@dataclass(frozen=True)
class Board:
    """One table: the models that one protocol (benchmark version and options) has scored."""

    options: Mapping[str, Any]
    columns: tuple[Metric, ...]
    lines: tuple[Line, ...]
    axis: Axis | None
    flagged: bool
    version: int

    @property
    def first(self) -> Metric:
        """The metric that ranks."""
        return self.columns[0]


def boards_of(entries: Sequence[Entry]) -> list[Board]:
    """The boards of a benchmark on a data set in a suite: one per protocol, the one with most models first.

    Scores that were measured with other options or another version of the benchmark do not compare, so they never
    share a table.
    """
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        if entry.figures:
            key = (entry.evaluation.version, json.dumps(entry.evaluation.options, sort_keys=True))
            groups.setdefault(key, []).append(entry)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), -item[0][0], item[0][1]))
    return [_board(group) for _, group in ordered]


def _board(entries: Sequence[Entry]) -> Board:
    benchmark = entries[0].benchmark
    metrics = {name: figure.metric for entry in entries for name, figure in entry.figures.items()}
    columns = tuple(metrics[name] for name in sorted(metrics, key=benchmark.order))
    first = columns[0]
    ordered = sorted(entries, key=lambda entry: _place(entry, first))
    ranks = _ranks(ordered, first)
    leader = next((entry.figures[first.name] for entry, rank in zip(ordered, ranks, strict=True) if rank == 1), None)
    mark = GAP_FLAG if first.name.split("/")[0] == "mre_gap" else None
    axis = axis_of([e.figures[first.name] for e in entries if first.name in e.figures], leader, mark)
    places = {
        column.name: column_decimals([e.figures[column.name] for e in entries if column.name in e.figures])
        for column in columns
    }
    lines = tuple(_line(entry, rank, columns, places, axis, leader) for entry, rank in zip(ordered, ranks, strict=True))
    return Board(
        entries[0].evaluation.options,
        columns,
        lines,
        axis,
        benchmark.name == "overfitting",
        entries[0].evaluation.version,
    )


def _place(entry: Entry, first: Metric) -> tuple[bool, float, str]:
    figure = entry.figures.get(first.name)
    if figure is None or first.better == "none":
        return figure is None, 0.0, entry.model.name
    return False, figure.value if first.better == "lower" else -figure.value, entry.model.name


def _ranks(ordered: Sequence[Entry], first: Metric) -> list[int | None]:
    """1, 2, ... for competitors that have the first metric; equal values share a rank."""
    ranks: list[int | None] = []
    competitors: list[float] = []
    for entry in ordered:
        figure = entry.figures.get(first.name)
        if entry.model.mark or figure is None or first.better == "none":
            ranks.append(None)
            continue
        competitors.append(figure.value)
        ranks.append(competitors.index(figure.value) + 1)
    return ranks


def _line(
    entry: Entry,
    rank: int | None,
    columns: Sequence[Metric],
    places: Mapping[str, int],
    axis: Axis | None,
    leader: Figure | None,
) -> Line:
    first = entry.figures.get(columns[0].name)
    cells = tuple(cell_of(entry.figures[c.name], places[c.name]) if c.name in entry.figures else None for c in columns)
    tied = bool(rank and first and leader and first is not leader and overlap(first, leader))
    bar = axis.bar(first, floor_of(entry, columns[0].name)) if axis is not None and first is not None else None
    return Line(rank, entry.model, tied, flags_of(entry), cells, bar, first.n if first is not None else 0, entry)


def overlap(one: Figure, other: Figure) -> bool:
    """Whether the 95 % intervals of two figures share a value; a figure without interval is a point."""
    low, high = (one.value if end is None else end for end in (one.low, one.high))
    other_low, other_high = (other.value if end is None else end for end in (other.low, other.high))
    return low <= other_high and other_low <= high


def floor_of(entry: Entry, metric: str) -> Figure | None:
    """The optimiser's floor of a metric: the same on the model's own samples."""
    return entry.figures.get(f"floor_{metric}")


def flags_of(entry: Entry) -> tuple[str, ...]:
    """What speaks for memorised training images, in words. Two rules, each on its own (METHODS 2)."""
    if entry.benchmark.name != "overfitting":
        return ()
    flags = []
    for name, figure in entry.figures.items():
        base, _, variant = name.partition("/")
        suffix = f" ({variant})" if variant else ""
        if base == "mre_gap" and figure.value > GAP_FLAG:
            flags.append(f"gap > 0.10{suffix}")
        if base == "ks_p_value" and figure.value < P_FLAG:
            flags.append(f"p < 0.01{suffix}")
    return tuple(flags)


def column_decimals(figures: Sequence[Figure]) -> int:
    """The decimals of a column of figures."""
    return words.decimals(
        [f.value for f in figures], [f.high - f.low for f in figures if f.low is not None and f.high is not None]
    )


def cell_of(figure: Figure, places: int) -> Cell:
    """A figure as it is printed."""
    reach = max(abs(figure.low or 0.0), abs(figure.high or 0.0))
    return Cell(words.number(figure.value, places, reach), words.interval(figure.low, figure.high, places))


def protocol_in_short(suite: str, options: Mapping[str, Any]) -> list[str]:
    """The protocol in a few words; the whole of it stands beside them."""
    parts = [f"suite {words.shown(suite)}" if suite else "no suite: options of the command"]
    if "limit" in options:
        limit = options["limit"]
        which = "all images" if limit is None else f"the first {words.setting(limit)} images"
        parts.append(f"{which} of each split")
    if "distance" in options:
        parts.append(f"distance {words.shown(options['distance'])}")
    solver = options.get("solver")
    if isinstance(solver, Mapping):
        steps = f", at most {words.setting(solver['steps'])} generator evaluations" if "steps" in solver else ""
        parts.append(f"solver {words.shown(solver.get('name', 'unnamed'))}{steps}")
    if options.get("restarts", 1) != 1:
        parts.append(f"{words.setting(options['restarts'])} restarts")
    if "seed" in options:
        parts.append(f"seed {words.setting(options['seed'])}")
    return parts
