"""``index.html``: what a visitor has to know, then every board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard.album import Album
from preimage.leaderboard.board import Board, boards_of
from preimage.leaderboard.exhibit import Exhibit, exhibit_of
from preimage.leaderboard.records import BenchmarkRecord, Entry, Records, precedence
from preimage.leaderboard.slugs import slug

TRACE, REASON = 4000, 600  # characters of a traceback and of a reason that the page shows; the model's page has more


@dataclass(frozen=True)
class Section:
    """A benchmark on a data set in a suite: its boards, and the models it refused or that failed."""

    anchor: str
    benchmark: BenchmarkRecord
    suite: str
    boards: tuple[Board, ...]
    refused: tuple[Entry, ...]
    failed: tuple[Entry, ...]


@dataclass(frozen=True)
class DatasetPart:
    """A data set: its exhibit and its sections."""

    name: str
    anchor: str
    exhibit: Exhibit | None
    sections: tuple[Section, ...]


def index_context(results: Results, records: Records, album: Album) -> Mapping[str, Any]:
    """What the template of the page is given."""
    grouped: dict[str, dict[tuple[str, str], list[Entry]]] = {}
    for entry in records.entries:
        evaluation = entry.evaluation
        of_dataset = grouped.setdefault(evaluation.dataset, {})
        of_dataset.setdefault((evaluation.benchmark, evaluation.suite), []).append(entry)
    parts = [_part(results, album, dataset, groups) for dataset, groups in sorted(grouped.items())]
    return {"data": parts, "trace_length": TRACE, "reason_length": REASON}


def _part(results: Results, album: Album, dataset: str, groups: Mapping[tuple[str, str], list[Entry]]) -> DatasetPart:
    sections = tuple(
        _section(dataset, benchmark, suite, entries)
        for (benchmark, suite), entries in sorted(groups.items(), key=lambda item: (precedence(item[0][0]), item[0]))
    )
    exhibit = exhibit_of(results, album, [board for section in sections for board in section.boards])
    return DatasetPart(dataset, f"data-{slug(dataset)}", exhibit, sections)


def _section(dataset: str, benchmark: str, suite: str, entries: list[Entry]) -> Section:
    anchor = "-".join(["board", slug(dataset), slug(benchmark), *([slug(suite)] if suite else [])])
    return Section(
        anchor,
        entries[0].benchmark,
        suite,
        tuple(boards_of(entries)),
        tuple(e for e in entries if e.evaluation.status == "refused"),
        tuple(e for e in entries if e.evaluation.status == "failed"),
    )
