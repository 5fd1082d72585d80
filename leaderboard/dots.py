"""Dot plots: the models of a board, one line each, with one or several metrics drawn on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preimage.leaderboard.board import Board, Cell, Line, column_decimals, floor_of, score_cell
from preimage.leaderboard.interval_bars import Axis, Bar, axis_of
from preimage.leaderboard.records import Metric, ModelRecord

MOST = 40  # lines of a plot
ACROSS = 4  # metrics side by side


@dataclass(frozen=True)
class DotLine:
    """A model: its rank where it has one, and each metric as printed and as drawn."""

    rank: int | None
    model: ModelRecord
    cells: tuple[tuple[Cell, Bar] | None, ...]


@dataclass(frozen=True)
class Dots:
    """The plot. left: how many lines of the board it lacks. floor: whether one is drawn. chance: what is marked."""

    columns: tuple[Metric, ...]
    axis: Axis
    lines: tuple[DotLine, ...]
    left: int
    floor: bool
    chance: str


def dots_of(board: Board, columns: Sequence[Metric], mark: float | None = None, chance: str = "") -> list[Dots]:
    """Plots of some columns of a board, so many side by side, all on one axis. Models without any of them are left out.

    mark: a value that is marked on the axis, and ``chance`` what it means.
    """
    having = [line for line in board.lines if any(column.name in line.entry.figures for column in columns)]
    lines = having[:MOST]
    figures = [line.entry.figures[c.name] for line in lines for c in columns if c.name in line.entry.figures]
    axis = axis_of(figures, None, mark)
    if axis is None:
        return []
    places = column_decimals(figures)
    return [
        Dots(
            tuple(some),
            axis,
            tuple(_line(line, some, axis, places) for line in lines),
            len(having) - len(lines),
            any(floor_of(line.entry, column.name) is not None for line in lines for column in some),
            chance,
        )
        for some in _side_by_side(columns)
    ]


def _side_by_side(columns: Sequence[Metric]) -> list[tuple[Metric, ...]]:
    """Columns in as few plots as there can be, of about as many each."""
    plots = -(-len(columns) // ACROSS)
    size = -(-len(columns) // plots)
    return [tuple(columns[k : k + size]) for k in range(0, len(columns), size)]


def _line(line: Line, columns: Sequence[Metric], axis: Axis, places: int) -> DotLine:
    cells = []
    for column in columns:
        figure = line.entry.figures.get(column.name)
        bar = None if figure is None else axis.bar(figure, floor_of(line.entry, column.name))
        cells.append(None if figure is None or bar is None else (score_cell(line.entry, column.name, places), bar))
    return DotLine(line.rank, line.model, tuple(cells))
