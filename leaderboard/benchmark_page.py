"""``benchmark/<slug>.html``: one benchmark, what it asks, how its scores here were measured, what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard.benchmark_plots import Drawn, charts_of, dots_of_board, error_against_evaluations
from preimage.leaderboard.board import GAP_FLAG, P_FLAG, Board
from preimage.leaderboard.dots import Dots
from preimage.leaderboard.gaps import Gaps, gaps_of
from preimage.leaderboard.likelihood_plots import PANELLED, likelihood_panels
from preimage.leaderboard.records import BenchmarkRecord, ModelRecord
from preimage.leaderboard.sections import Section
from preimage.leaderboard.slugs import slug
from preimage.leaderboard.small_charts import Panels

MOST_PROTOCOLS = 6  # of a benchmark, drawn; further ones are linked
MOST_PANELLED = 2  # of them with panels of every model
MOST_NAMES, MOST_REASONS = 30, 40
LONG = 400


@dataclass(frozen=True)
class Protocol:
    """A suite and the options of one board, with what its scores show."""

    section: Section
    board: Board
    charts: tuple[Drawn, ...]
    dots: tuple[Dots, ...]
    panels: tuple[Panels, ...]
    undrawn: bool
    """Whether it would have panels, but the page is long enough."""


@dataclass(frozen=True)
class OnDataset:
    """A benchmark on a data set: what all its protocols show together, beside another benchmark, and each of them.

    left: how many protocols are not shown.
    """

    name: str
    sections: tuple[Section, ...]
    charts: tuple[Drawn, ...]
    gaps: tuple[Gaps, ...]
    protocols: tuple[Protocol, ...]
    left: int


@dataclass(frozen=True)
class Unscored:
    """A reason, and the models that it was given for. more: how many are not named."""

    status: str
    reason: str
    models: tuple[ModelRecord, ...]
    more: int


def benchmark_path(name: str) -> str:
    """The file of a benchmark's page."""
    return f"benchmark/{slug(name)}.html"


def benchmark_contexts(results: Results, sections: Sequence[Section]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The path of every benchmark's page, and what its template is given."""
    formulas = {row["name"]: row["formula"] for row in results.benchmarks()}
    ordered = sorted(sections, key=lambda section: section.benchmark.name)
    for name, group in groupby(ordered, key=lambda section: section.benchmark.name):
        of = tuple(group)
        beside = (
            [section for section in ordered if section.benchmark.name == "frechet"] if name == "overfitting" else []
        )
        yield benchmark_path(name), _context(results, of[0].benchmark, formulas.get(name, ""), of, beside)


def _context(
    results: Results,
    benchmark: BenchmarkRecord,
    formula: str,
    sections: Sequence[Section],
    beside: Sequence[Section],
) -> Mapping[str, Any]:
    flagged = any(board.flagged for section in sections for board in section.boards)
    return {
        "benchmark": benchmark,
        "formula": formula,
        "in_bits": any(board.in_bits for section in sections for board in section.boards),
        "flagged": (P_FLAG, GAP_FLAG) if flagged else None,
        "data": [
            _on_dataset(results, dataset, tuple(group), [one for one in beside if one.dataset == dataset])
            for dataset, group in groupby(sections, key=lambda section: section.dataset)
        ],
        "unscored": _unscored(sections)[:MOST_REASONS],
        "long": LONG,
    }


def _on_dataset(results: Results, dataset: str, sections: tuple[Section, ...], beside: Sequence[Section]) -> OnDataset:
    across = error_against_evaluations(results, sections) if sections[0].benchmark.name == "recovery" else []
    boards = [(section, board) for section in sections for board in section.boards]
    boards.sort(key=lambda pair: -len(pair[1].lines))
    protocols = tuple(
        Protocol(
            section,
            board,
            tuple(charts_of(board)),
            tuple(dots_of_board(board)),
            tuple(likelihood_panels(results, board)) if place < MOST_PANELLED else (),
            place >= MOST_PANELLED and sections[0].benchmark.name in PANELLED,
        )
        for place, (section, board) in enumerate(boards[:MOST_PROTOCOLS])
    )
    gaps = tuple(gaps_of(boards, beside)[:MOST_PROTOCOLS])
    return OnDataset(dataset, sections, tuple(across), gaps, protocols, len(boards) - len(protocols))


def _unscored(sections: Sequence[Section]) -> list[Unscored]:
    """Reasons why models have no score, the commonest first; refusals before failures."""
    found: dict[tuple[str, str], dict[str, ModelRecord]] = {}
    for section in sections:
        for entry in (*section.refused, *section.failed):
            key = (entry.evaluation.status, entry.evaluation.reason)
            found.setdefault(key, {})[entry.model.name] = entry.model
    ordered = sorted(found.items(), key=lambda item: (item[0][0] != "refused", -len(item[1]), item[0][1]))
    return [
        Unscored(status, reason, tuple(models.values())[:MOST_NAMES], max(0, len(models) - MOST_NAMES))
        for (status, reason), models in ordered
    ]
