"""Groups of models that cannot be told apart: who ties with whom, and by which rule that was decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preimage.harness.pairing import Difference, differences
from preimage.harness.results import Results
from preimage.leaderboard.records import Entry, Figure

AHEAD = 8  # models that are compared with a group's first at once

Paired = Callable[[Entry, Sequence[Entry], str], Sequence[Difference | None]]
"""The paired differences of a metric: of one entry minus each of the others; None where they share no images."""


@dataclass(frozen=True)
class Standing:
    """Where a model stands on a board: its group, and the first of a group that it was compared with.

    A tied model was compared with the first of its own group; the first of a group with that of the group before, from
    which it is apart. difference: its score minus theirs on the same images; None where intervals decided.
    """

    group: int
    against: Entry | None = None
    tied: bool = False
    difference: Difference | None = None


def paired_in(results: Results) -> Paired:
    """Paired differences from the replicates that a database holds."""
    return lambda one, others, metric: differences(
        results, one.evaluation, [other.evaluation for other in others], metric
    )


def unpaired(one: Entry, others: Sequence[Entry], metric: str) -> Sequence[Difference | None]:
    """No difference at all: intervals decide."""
    return [None] * len(others)


def standings(entries: Sequence[Entry], metric: str, paired: Paired) -> list[Standing]:
    """The groups of ranked entries, best first.

    Consecutive models are of a group while the paired difference to the group's first has 0 in its interval; where
    there is no paired difference, while their intervals overlap.
    """
    found: list[Standing] = []
    leader, known = 0, list[Difference | None]()
    for place, entry in enumerate(entries):
        if place == 0:
            found.append(Standing(1))
            continue
        if place - leader > len(known):
            known += paired(entries[leader], entries[place : place + AHEAD], metric)
        apart = known[place - leader - 1]
        first = entries[leader]
        tied = apart.tie if apart is not None else overlap(first.figures[metric], entry.figures[metric])
        group = found[-1].group + (not tied)
        found.append(Standing(group, first, tied, None if apart is None else _turned(apart)))
        if not tied:
            leader, known = place, []
    return found


def _turned(difference: Difference) -> Difference:
    """The same difference from the other side."""
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)


def overlap(one: Figure, other: Figure) -> bool:
    """Whether the 95 % intervals of two figures share a value; a figure without interval is a point."""
    low, high = (one.value if end is None else end for end in (one.low, one.high))
    other_low, other_high = (other.value if end is None else end for end in (other.low, other.high))
    return low <= other_high and other_low <= high
