"""Judging a stored score: against its own rows, and against rows measured again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from preimage.harness.results import Results, StoredEvaluation
from preimage.harness.rows import Estimate

DIGITS = 1e-9
"""What counts as the same score of the same rows, relative: the last bits of a sum depend on the processor."""

TINY = 1e-18
"""What counts as 0 beside 0 there."""

ROUNDING = 1e-12
"""By how much a score measured again may leave its interval: images are float32, their squared errors no finer."""

ScoreVerdict: TypeAlias = Literal["identical", "within", "outside", "no interval", "altered"]


@dataclass(frozen=True)
class ScoreCheck:
    """A metric: as stored, recomputed from the stored rows, and with the rows measured again put in their place.

    None where there is none. verdict: of ``again``: ``identical``, ``within`` the stored interval or ``outside``;
    ``no interval`` is told, not judged; ``altered`` where the stored score is not that of its stored rows.
    """

    metric: str
    stored: float | None
    low: float | None
    high: float | None
    from_rows: float | None
    again: float | None
    verdict: ScoreVerdict


def published(results: Results, evaluation: StoredEvaluation) -> dict[str, Estimate]:
    """The scores of a stored evaluation by metric."""
    query = "SELECT metric, value, low, high, n, replicates FROM metric_score WHERE evaluation = ?"
    return {
        row["metric"]: Estimate(row["value"], row["low"], row["high"], row["n"], row["replicates"])
        for row in results.query(query, evaluation.id)
    }


def score_check(metric: str, stored: Estimate | None, rows: Estimate | None, again: Estimate | None) -> ScoreCheck:
    """The metric's check. rows: the score of the stored rows; again: with the rows measured again in their place."""
    verdict: ScoreVerdict
    if stored is None or rows is None or not _same_score(stored, rows):
        verdict = "altered"
    elif again is None:
        verdict = "outside"
    elif again.value == rows.value:
        verdict = "identical"
    elif stored.low is None or stored.high is None:
        verdict = "no interval"
    else:
        slack = ROUNDING + DIGITS * max(abs(stored.low), abs(stored.high))
        verdict = "within" if stored.low - slack <= again.value <= stored.high + slack else "outside"
    low, high = (stored.low, stored.high) if stored else (None, None)
    return ScoreCheck(metric, _value(stored), low, high, _value(rows), _value(again), verdict)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _same_score(one: Estimate, other: Estimate) -> bool:
    """Whether two estimates are the same to nine digits, their intervals and replicates too.

    A score of an older schema has no replicates: then there are none to compare.
    """
    numbers = zip((one.value, one.low, one.high), (other.value, other.low, other.high), strict=True)
    if one.n != other.n or not all(_same(a, b) for a, b in numbers):
        return False
    if not one.replicates:
        return True
    first, second = (np.frombuffer(each.replicates, dtype="<f8") for each in (one, other))
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=DIGITS, atol=TINY))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=DIGITS, abs_tol=TINY)
