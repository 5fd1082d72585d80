"""``index.html``: what a visitor has to know, every data set at a glance, and every board, cut where it is long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard.album import Album
from preimage.leaderboard.exhibit import Exhibit, exhibit_of
from preimage.leaderboard.overview import Overview, overview_of
from preimage.leaderboard.proof import LIKELIHOOD
from preimage.leaderboard.records import Records
from preimage.leaderboard.sections import REASON, TRACE, Section, choices_of
from preimage.leaderboard.slugs import slug

MOST_BYTES = 260_000  # of a page; its style and script come on top
LINE_BYTES = 900  # that a line of a board takes at least
EXHIBITED = 15  # models
CUTS = ((10_000, 10_000), (25, 250), (12, 150), (6, 100), (3, 60), (0, 40), (0, 10))
"""Lines of each board and of each overview that the page tries to show, until it is small enough."""


@dataclass(frozen=True)
class DatasetPart:
    """A data set: its exhibit, its overview and its sections."""

    name: str
    exhibit: Exhibit | None
    overview: Overview
    sections: tuple[Section, ...]

    @property
    def slug(self) -> str:
        return slug(self.name)

    @property
    def anchor(self) -> str:
        """Its name in addresses; ``~~`` at its end keeps it apart from those of sections."""
        return f"{self.slug}~~"


def index_context(results: Results, records: Records, sections: Sequence[Section], album: Album) -> Mapping[str, Any]:
    """What the template of the page is given."""
    parts = []
    for dataset, group in groupby(sections, key=lambda section: section.dataset):
        of = tuple(group)
        exhibit = exhibit_of(results, album, [board for section in of for board in section.boards])
        parts.append(DatasetPart(dataset, exhibit, overview_of(of), of))
    return {
        "data": parts,
        "choices": choices_of(list(sections)),
        "likelihoods_shown": any(section.benchmark.name == LIKELIHOOD for section in sections),
        "counts": (len(records.models), len({section.benchmark.name for section in sections}), len(parts)),
        "trace_length": TRACE,
        "reason_length": REASON,
        "exhibited": EXHIBITED,
    }


def fitting(sections: Sequence[Section], render: Callable[[int, int], bytes]) -> bytes:
    """The page with as many lines as fit into its size. render: makes it with so many lines per board and overview."""
    boards = [len(board.lines) for section in sections for board in section.boards]
    page = b""
    for lines, rows in CUTS:
        if lines and LINE_BYTES * sum(min(lines, has) for has in boards) > MOST_BYTES:
            continue  # certainly too many, so it is not even tried
        page = render(lines, rows)
        if len(page) <= MOST_BYTES:
            break
    return page
