"""A data set at a glance: every model beside every benchmark, by the metric that ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preimage.leaderboard.board import Line
from preimage.leaderboard.records import Metric, ModelRecord
from preimage.leaderboard.sections import Section


@dataclass(frozen=True)
class Outcome:
    """What a benchmark said of a model: a line of its first board or of another, or why there is none."""

    status: str
    line: Line | None = None
    compared: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """A model and its outcomes, one per column; None where the benchmark was not applied to it."""

    model: ModelRecord
    outcomes: tuple[Outcome | None, ...]


@dataclass(frozen=True)
class Overview:
    """The table of a data set. columns: its sections, each with the metric that ranks there."""

    columns: tuple[tuple[Section, Metric | None], ...]
    rows: tuple[Row, ...]


def overview_of(sections: Sequence[Section]) -> Overview:
    """All models of a data set, in the order of the first section, then of the next for those it lacks."""
    found = [_outcomes(section) for section in sections]
    models = {model.name: model for outcomes in found for model, _ in outcomes.values()}
    rows = tuple(
        Row(model, tuple(outcomes[name][1] if name in outcomes else None for outcomes in found))
        for name, model in models.items()
    )
    columns = tuple((section, section.boards[0].first if section.boards else None) for section in sections)
    return Overview(columns, rows)


def _outcomes(section: Section) -> Mapping[str, tuple[ModelRecord, Outcome]]:
    """By model. Lines of other protocols than the first board's are marked: they do not compare with it."""
    found: dict[str, tuple[ModelRecord, Outcome]] = {}
    for place, board in enumerate(section.boards):
        for line in board.lines:
            found[line.model.name] = (line.model, Outcome("ok", line, place == 0))
    for entry in (*section.refused, *section.failed):
        outcome = Outcome(entry.evaluation.status, reason=entry.evaluation.reason)
        found.setdefault(entry.model.name, (entry.model, outcome))
    return found
