"""What recovery sees of memorisation and Frechet distances do not: both gaps of every model, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from preimage.leaderboard import words
from preimage.leaderboard.board import GAP_FLAG, Board, cell_of, column_decimals
from preimage.leaderboard.dots import MOST, DotLine, Dots
from preimage.leaderboard.interval_bars import axis_of
from preimage.leaderboard.records import Figure, Metric, ModelRecord
from preimage.leaderboard.sections import Section

RECOVERY, FEATURES = "mre_gap", "frechet_gap"
TOLD = (
    "How much nearer a model comes to its training images than to unseen ones: by errors of latent recovery, and by "
    "the Frechet distance of its samples to either set. Each is (unseen - training) / unseen: 0 is no difference, 1 is "
    "memorisation. Webster et al. (CVPR 2019, section 3.4) found that recovery sees memorisation and Frechet distances "
    "do not. Models of which both were measured in this suite, the largest gap of recovery errors first; a Frechet gap "
    "is of as many training as unseen images."
)


@dataclass(frozen=True)
class Gaps:
    """A figure: its title, what it shows in words, the plot, the page of the ranking."""

    title: str
    told: str
    dots: Dots
    ranking: str


def gaps_of(overfitting: Sequence[tuple[Section, Board]], frechet: Sequence[Section]) -> list[Gaps]:
    """One figure per protocol of overfitting and extractor of the same suite that share models; no other figure.

    A gap is of as many training as unseen images, so that gaps of different numbers of images stand in one figure,
    unlike distances. overfitting, frechet: of one data set.
    """
    return [
        found
        for section, board in overfitting
        for other in frechet
        if other.suite == section.suite
        for boards in _but_for_sizes(other.boards)
        if (found := _gaps(section, board, boards)) is not None
    ]


def _but_for_sizes(boards: Sequence[Board]) -> list[list[Board]]:
    """Boards of one protocol and extractor, whatever their number of images."""
    found: dict[str, list[Board]] = {}
    for board in boards:
        networks = {name: what for name, what in board.seen.items() if name.startswith("extractor ")}
        key = json.dumps([board.version, board.options, networks], sort_keys=True)
        found.setdefault(key, []).append(board)
    return list(found.values())


def _gaps(section: Section, board: Board, beside: Sequence[Board]) -> Gaps | None:
    """The figure of a board of overfitting and boards of features; None where no model is on both."""
    first = next((column for column in board.columns if column.name.partition("/")[0] == RECOVERY), None)
    second = next((column for column in beside[0].columns if column.name.partition("/")[0] == FEATURES), None)
    if first is None or second is None:
        return None
    features = {line.model.name: line.entry.figures.get(second.name) for one in beside for line in one.lines}
    pairs = []
    for line in board.lines:
        recovery, feature = line.entry.figures.get(first.name), features.get(line.model.name)
        if recovery is not None and feature is not None:
            pairs.append((line.model, (recovery, feature)))
    if not pairs:
        return None
    pairs.sort(key=lambda pair: (-pair[1][0].value, pair[0].name))
    extractor = words.shown(second.name.partition("/")[2], 60)
    counts = sorted({figure.n for _, (_, figure) in pairs})
    images = " to ".join(words.count(n) for n in dict.fromkeys((counts[0], counts[-1])))
    title = f"Gap of recovery errors and of Frechet distances, features of {extractor}, {images} images"
    return Gaps(title, TOLD, _dots((first, second), pairs), section.page)


def _dots(columns: tuple[Metric, Metric], pairs: Sequence[tuple[ModelRecord, tuple[Figure, Figure]]]) -> Dots:
    shown = pairs[:MOST]
    figures = [figure for _, both in shown for figure in both]
    axis = axis_of(figures, None, GAP_FLAG, from_zero=True)
    assert axis is not None  # there are figures
    places = column_decimals(figures)
    lines = tuple(
        DotLine(None, model, tuple((cell_of(figure, places), axis.bar(figure, None)) for figure in both))
        for model, both in shown
    )
    flagged = f"recovery flagged above {GAP_FLAG:.2f}"
    return Dots(columns, axis, lines, len(pairs) - len(shown), False, flagged)
