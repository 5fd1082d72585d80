"""Sections: a benchmark on a data set in a suite; its boards, what was refused or failed, what papers report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preimage.leaderboard.board import Board, boards_of
from preimage.leaderboard.proof import LIKELIHOOD
from preimage.leaderboard.records import BenchmarkRecord, Entry, Records, precedence
from preimage.leaderboard.slugs import slug
from preimage.leaderboard.ties import Paired

TRACE, REASON = 4000, 600  # characters of a traceback and of a reason that a board shows; the model's page has more
NO_SUITE = "~"
"""What stands for no suite in a filter; no slug is this."""


@dataclass(frozen=True)
class Section:
    """A benchmark on a data set in a suite: its boards, the models it refused or that failed, the papers' figures."""

    dataset: str
    benchmark: BenchmarkRecord
    suite: str
    boards: tuple[Board, ...]
    refused: tuple[Entry, ...]
    failed: tuple[Entry, ...]
    reported: tuple[Mapping[str, Any], ...]

    @property
    def anchor(self) -> str:
        """Its name in addresses. No slug holds ``~~``, so no two sections share one."""
        return "~~".join(slug(name) for name in (self.dataset, self.benchmark.name, self.suite) if name)

    @property
    def page(self) -> str:
        """The file that holds all of it."""
        return f"board/{self.anchor}.html"

    @property
    def keys(self) -> Mapping[str, str]:
        """What filters know it by."""
        suite = slug(self.suite) if self.suite else NO_SUITE
        return {"dataset": slug(self.dataset), "benchmark": slug(self.benchmark.name), "suite": suite}

    @property
    def scored(self) -> int:
        """How many models have a score."""
        return sum(len(board.lines) for board in self.boards)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every model that it was applied to."""
        return (*(line.entry for board in self.boards for line in board.lines), *self.refused, *self.failed)


def sections_of(records: Records, paired: Paired) -> list[Section]:
    """Every section of a database: by data set, recovery first, then by name and suite."""
    grouped: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in records.entries:
        of = entry.evaluation
        grouped.setdefault((of.dataset, of.benchmark, of.suite), []).append(entry)
    ordered = sorted(grouped.items(), key=lambda item: (item[0][0], precedence(item[0][1]), item[0]))
    return [_section(records, paired, *key, entries) for key, entries in ordered]


def _section(
    records: Records, paired: Paired, dataset: str, benchmark: str, suite: str, entries: list[Entry]
) -> Section:
    return Section(
        dataset,
        entries[0].benchmark,
        suite,
        tuple(boards_of(entries, paired)),
        tuple(entry for entry in entries if entry.evaluation.status == "refused"),
        tuple(entry for entry in entries if entry.evaluation.status == "failed"),
        tuple(row for row in records.reported if row["benchmark"] == benchmark),
    )


def section_context(section: Section) -> Mapping[str, Any]:
    """What the template of a section's own page is given."""
    return {
        "section": section,
        "choices": choices_of([section]),
        "likelihoods_shown": section.benchmark.name == LIKELIHOOD,
        "most": max((len(board.lines) for board in section.boards), default=0),
        "trace_length": TRACE,
        "reason_length": REASON,
    }


@dataclass(frozen=True)
class Choice:
    """What a filter offers: its key in addresses, and its name."""

    key: str
    name: str


def choices_of(sections: list[Section]) -> Mapping[str, list[Choice]]:
    """What the filters of a page with these sections offer: only what there is."""
    models = {entry.model.name: entry.model for section in sections for entry in section.entries}.values()
    named = {
        "dataset": {section.dataset for section in sections},
        "benchmark": {section.benchmark.name for section in sections},
        "suite": {section.suite for section in sections},
        "family": {model.family for model in models},
        "tag": {str(tag) for model in models for tag in model.card.get("tags") or ()},
    }
    return {
        kind: [Choice(slug(name) if name else NO_SUITE, name or "no suite") for name in sorted(names)]
        for kind, names in named.items()
    }
