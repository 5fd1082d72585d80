"""Which columns of a board a table prints: all, but for those that stand in another's cell; on the first page fewer."""

from __future__ import annotations

from collections.abc import Sequence

from preimage.leaderboard.proof import LIKELIHOOD, folded
from preimage.leaderboard.records import Metric

BRIEF = 8  # columns of a board of likelihoods on the first page
SIZE = 50
"""The size of sets whose typicality the first page prints."""


def printed(benchmark: str, columns: Sequence[Metric], brief: bool) -> list[int]:
    """The places of the columns that a table prints. brief: on the first page, which links the others."""
    every = range(len(columns))
    if benchmark == LIKELIHOOD:
        places = [place for place in every if not folded(columns[place].name)]
        return places[:BRIEF] if brief else places
    if benchmark == "typicality" and brief:
        sizes = {place: set_size(columns[place].name) for place in every if columns[place].name.startswith("share_")}
        chosen = SIZE if SIZE in sizes.values() else next(iter(sizes.values()), None)
        return sorted({0, *(place for place, size in sizes.items() if size == chosen)})[:BRIEF]
    return list(every)


def set_size(metric: str) -> int | None:
    """The N of ``share_train/50``: how many images make up each set."""
    return next((int(part) for part in metric.split("/")[1:] if part.isdigit()), None)
