"""Boards: the models of one protocol in the order of their first metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from preimage.harness.pairing import in_agreement
from preimage.leaderboard import words
from preimage.leaderboard.columns import printed
from preimage.leaderboard.interval_bars import Axis, Bar, axis_of
from preimage.leaderboard.proof import SCORES, doubt_of, folded, lack_of, notes_of, parted
from preimage.leaderboard.records import Entry, Figure, Metric, ModelRecord
from preimage.leaderboard.ties import Paired, Standing, standings, unpaired

P_FLAG, GAP_FLAG = 0.01, 0.10  # Webster et al., CVPR 2019


@dataclass(frozen=True)
class Cell:
    """A score as it is printed, and the number itself, which columns are sorted by.

    notes: further lines below it, of what it is worth. doubt: a word where it is worth little.
    """

    value: str
    interval: str
    raw: float
    notes: tuple[str, ...] = ()
    doubt: str = ""


@dataclass(frozen=True)
class Line:
    """A model on a board. rank, standing: None for references and baselines.

    difference: that of its standing, as it is printed. bracket: how the mark of its group runs through the line:
    "one", "first", "inside", "last", or "" outside of any.
    """

    rank: int | None
    model: ModelRecord
    standing: Standing | None
    difference: Cell | None
    bracket: str
    flags: tuple[str, ...]
    doubtful: bool
    cells: tuple[Cell | None, ...]
    bar: Bar | None
    n: int
    entry: Entry


@dataclass(frozen=True)
class Board:
    """One table: the models that one protocol (benchmark version and options) has scored.

    seen: what their images were seen through, by name. ready: what these do to images first, by name.
    """

    options: Mapping[str, Any]
    columns: tuple[Metric, ...]
    lines: tuple[Line, ...]
    axis: Axis | None
    flagged: bool
    version: int
    seen: Mapping[str, str]
    ready: Mapping[str, str]

    @property
    def looks(self) -> list[str]:
        """What images were seen through, a line each: a network's name, the beginning of its hash, its rule."""
        return [
            f"{name} ({what[:12]})" + (f": {self.ready[name]}" if name in self.ready else "")
            for name, what in self.seen.items()
        ]

    @property
    def first(self) -> Metric:
        """The metric that ranks."""
        return self.columns[0]

    def printed(self, brief: bool = False) -> list[int]:
        """The places of the columns that a table prints; others stand in their cells. brief: on the first page."""
        return printed(self.lines[0].entry.benchmark.name, self.columns, brief)

    def told(self, brief: bool = False) -> list[Metric]:
        """The metrics that are explained below a table: those that it prints, in columns or in cells."""
        if not brief:
            return list(self.columns)
        shown = self.printed(brief)
        return [c for k, c in enumerate(self.columns) if k in shown or folded(c.name)]

    @property
    def in_bits(self) -> bool:
        """Whether some figure is in bits per dimension, whose formula is then told."""
        return any(parted(column.name)[0] == SCORES[1] for column in self.columns)

    @property
    def unreliable(self) -> int:
        """How many of its lines have a cell that says so."""
        return sum(any(cell is not None and cell.doubt for cell in line.cells) for line in self.lines)

    def lack(self, place: int) -> str:
        """What a cell without a figure says."""
        return lack_of(self.columns[place].name)

    @property
    def groups(self) -> int:
        """How many groups of models can be told apart."""
        return max((line.standing.group for line in self.lines if line.standing is not None), default=0)

    @property
    def rules(self) -> tuple[bool, bool]:
        """Whether paired differences decided ties, and whether overlapping intervals did."""
        compared = [line.standing for line in self.lines if line.standing and line.standing.against]
        return any(s.difference for s in compared), any(s.difference is None for s in compared)


def boards_of(entries: Sequence[Entry], paired: Paired = unpaired) -> list[Board]:
    """The boards of a benchmark on a data set in a suite: one per protocol, the one with most models first.

    Scores that were measured with other options or another version of the benchmark do not compare, so they never
    share a table; nor do those of networks of one name with other weights, or of other numbers of features. paired: how
    two models are compared on the same images.
    """
    groups: dict[tuple[int, str], list[Entry]] = {}
    for entry in entries:
        if entry.figures:
            key = (entry.evaluation.version, json.dumps(entry.evaluation.options, sort_keys=True))
            groups.setdefault(key, []).append(entry)
    agreeing = [
        (key, group) for key, found in groups.items() for group in in_agreement(found, [entry.seen for entry in found])
    ]
    ordered = sorted(agreeing, key=lambda item: (-len(item[1]), -item[0][0], item[0][1], list(_seen(item[1]).items())))
    return [_board(group, paired) for _, group in ordered]


def _seen(entries: Sequence[Entry]) -> dict[str, str]:
    """What the images of a board were seen through, by name."""
    return dict(sorted({name: what for entry in entries for name, what in entry.seen.items()}.items()))


def _board(entries: Sequence[Entry], paired: Paired) -> Board:
    benchmark = entries[0].benchmark
    metrics = {name: figure.metric for entry in entries for name, figure in entry.figures.items()}
    columns = tuple(metrics[name] for name in sorted(metrics, key=benchmark.order))
    first = columns[0]
    ordered = sorted(entries, key=lambda entry: _place(entry, first))
    ranks = _ranks(ordered, first)
    ranked = [entry for entry, rank in zip(ordered, ranks, strict=True) if rank is not None]
    stand = dict(zip((e.model.name for e in ranked), standings(ranked, first.name, paired), strict=True))
    mark = GAP_FLAG if first.name.split("/")[0] == "mre_gap" else None
    having = [entry.figures[first.name] for entry in ordered if first.name in entry.figures]
    axis = axis_of(having, ranked[0].figures[first.name] if ranked else None, mark)
    places = {
        column.name: column_decimals([e.figures[column.name] for e in entries if column.name in e.figures])
        for column in columns
    }
    groups = [stand[e.model.name].group if e.model.name in stand else None for e in ordered]
    lines = tuple(
        _line(entry, rank, stand.get(entry.model.name), bracket, columns, places, axis)
        for entry, rank, bracket in zip(ordered, ranks, _brackets(groups), strict=True)
    )
    flagged, version = benchmark.name == "overfitting", entries[0].evaluation.version
    ready = {name: rule for entry in entries for name, rule in entry.rules.items()}
    return Board(entries[0].evaluation.options, columns, lines, axis, flagged, version, _seen(entries), ready)


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


def _brackets(groups: Sequence[int | None]) -> list[str]:
    """How the marks of groups run through the lines; a line of no group within a group is passed through."""
    found = []
    for place, group in enumerate(groups):
        before = next((g for g in reversed(groups[:place]) if g is not None), None)
        after = next((g for g in groups[place + 1 :] if g is not None), None)
        if group is None:
            found.append("inside" if before is not None and before == after else "")
        else:
            found.append(
                {(0, 0): "one", (0, 1): "first", (1, 1): "inside"}.get((before == group, after == group), "last")
            )
    return found


def _line(
    entry: Entry,
    rank: int | None,
    standing: Standing | None,
    bracket: str,
    columns: Sequence[Metric],
    places: Mapping[str, int],
    axis: Axis | None,
) -> Line:
    name = columns[0].name
    first = entry.figures.get(name)
    cells = tuple(score_cell(entry, c.name, places[c.name]) if c.name in entry.figures else None for c in columns)
    bar = axis.bar(first, floor_of(entry, name)) if axis is not None and first is not None else None
    n = first.n if first is not None else 0
    apart = _difference_cell(standing, places[name]) if standing is not None else None
    flags, doubt = flags_of(entry), doubtful(entry)
    return Line(rank, entry.model, standing, apart, bracket, flags, doubt, cells, bar, n, entry)


def _difference_cell(standing: Standing, places: int) -> Cell | None:
    """A paired difference with its sign, in the decimals that its own interval deserves."""
    found = standing.difference
    if found is None:
        return None
    places = max(places, words.decimals([found.value], [found.high - found.low]))
    sign = "+" if found.value > 0 else ""
    reach = max(abs(found.low), abs(found.high))
    return Cell(
        sign + words.number(found.value, places, reach), words.interval(found.low, found.high, places), found.value
    )


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


def doubtful(entry: Entry) -> bool:
    """Whether nothing is to be concluded from missing flags: unseen images are recovered as well as the model's own.

    It can make its own samples exactly, so that what is missed of them is the search's failure, or the encoder's.
    """
    own, unseen = (entry.figures.get(name) for name in ("mre_generated", "mre_val"))
    return own is not None and unseen is not None and own.value >= unseen.value > 0 and not flags_of(entry)


def column_decimals(figures: Sequence[Figure]) -> int:
    """The decimals of a column of figures."""
    return words.decimals(
        [f.value for f in figures], [f.high - f.low for f in figures if f.low is not None and f.high is not None]
    )


def cell_of(figure: Figure, places: int) -> Cell:
    """A figure as it is printed."""
    reach = max(abs(figure.low or 0.0), abs(figure.high or 0.0))
    return Cell(
        words.number(figure.value, places, reach), words.interval(figure.low, figure.high, places), figure.value
    )


def score_cell(entry: Entry, metric: str, places: int) -> Cell:
    """A figure of an evaluation as it is printed, with what it is worth where that is known."""
    cell = cell_of(entry.figures[metric], places)
    return replace(cell, notes=notes_of(entry, metric), doubt=doubt_of(entry, metric))
