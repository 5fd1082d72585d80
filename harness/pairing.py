"""Two models on the same images: the difference of their scores, by a paired bootstrap. Imports no torch.

Scores keep the replicates of their bootstrap, and samples of the same sizes are resampled alike, image by image. So
where two models were measured on the same images, the difference of their replicates is the bootstrap of the
difference (METHODS 12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from preimage.harness.results import Results, StoredEvaluation

if TYPE_CHECKING:
    from preimage.harness.rows import Floats


@dataclass(frozen=True)
class Difference:
    """Score of one model minus score of the other on the same n images, with its 95 % paired bootstrap interval.

    p_value: two-sided, of a difference as far from 0 if there were none: twice the share of replicates beyond 0.
    """

    value: float
    low: float
    high: float
    n: int
    p_value: float

    @property
    def tie(self) -> bool:
        """Whether the interval holds 0: these images do not tell the two apart."""
        return self.low <= 0 <= self.high


def difference(results: Results, one: StoredEvaluation, other: StoredEvaluation, metric: str) -> Difference | None:
    """The first's score minus the second's. None where they are not of the same images, or have no replicates."""
    return differences(results, one, [other], metric)[0]


def differences(
    results: Results, leader: StoredEvaluation, others: Sequence[StoredEvaluation], metric: str
) -> list[Difference | None]:
    """The leader's score minus that of each of the others, in their order; None as in `difference`."""
    scores = _scores(results, metric, [leader, *others])
    images = _images(results, metric, [leader, *others])
    first = scores.get(leader.id)
    found: list[Difference | None] = []
    for other in others:
        second = scores.get(other.id)
        alike = images[other.id] is not None and images[other.id] == images[leader.id]
        alike = alike and _protocol(leader) == _protocol(other)
        if first is None or second is None or not alike or len(first.replicates) != len(second.replicates):
            found.append(None)
            continue
        found.append(_difference(first, second))
    return found


def comparable(results: Results, evaluations: Sequence[StoredEvaluation], metric: str) -> list[list[StoredEvaluation]]:
    """Evaluations of one benchmark in classes of two or more: within a class any two have a difference."""
    if not evaluations:
        return []
    drawn = {
        row["evaluation"]: row["size"]
        for row in results.query(
            "SELECT evaluation, length(replicates) AS size FROM metric_score "
            "WHERE metric = ? AND length(replicates) > 0",
            metric,
        )
    }
    images = _images(results, metric, evaluations)
    classes: dict[str, list[StoredEvaluation]] = {}
    for one in evaluations:
        if one.id in drawn and images[one.id] is not None:
            key = json.dumps([_protocol(one), images[one.id], drawn[one.id]], sort_keys=True)
            classes.setdefault(key, []).append(one)
    return [found for found in classes.values() if len(found) > 1]


def _difference(first: _Score, second: _Score) -> Difference:
    apart = first.replicates - second.replicates
    low, high = np.percentile(apart, [2.5, 97.5])
    beyond = min(int((apart <= 0).sum()), int((apart >= 0).sum()))
    p_value = min(1.0, 2 * (beyond + 1) / (len(apart) + 1))  # Davison and Hinkley 1997, section 4.4
    return Difference(first.value - second.value, float(low), float(high), min(first.n, second.n), p_value)


@dataclass(frozen=True)
class _Score:
    value: float
    n: int
    replicates: Floats


def _scores(results: Results, metric: str, evaluations: Sequence[StoredEvaluation]) -> dict[int, _Score]:
    """The scores of a metric that have replicates, by evaluation."""
    found = results.query(
        "SELECT evaluation, value, n, replicates FROM metric_score "
        "WHERE metric = ? AND length(replicates) > 0 AND evaluation IN (SELECT value FROM json_each(?))",
        metric,
        json.dumps([evaluation.id for evaluation in evaluations]),
    )
    return {
        row["evaluation"]: _Score(row["value"], row["n"], np.frombuffer(row["replicates"], dtype="<f8"))
        for row in found
    }


def _images(results: Results, metric: str, evaluations: Sequence[StoredEvaluation]) -> dict[int, dict[str, Any] | None]:
    """Which images the metric is of, how many and how altered, by role; None for a model's own samples."""
    roles = _roles(results, metric, evaluations[0].benchmark)
    asks = [ask for evaluation in evaluations for ask in evaluation.asks]
    described = {
        row["key"]: {name: json.loads(row[name] or "null") for name in ("images", "operator", "seed")}
        for row in results.query(
            "SELECT key, json_quote(json_extract(description, '$.images')) AS images, "
            "json_quote(json_extract(description, '$.operator')) AS operator, "
            "json_quote(json_extract(description, '$.seed')) AS seed "
            "FROM request WHERE key IN (SELECT value FROM json_each(?))",
            json.dumps(sorted({ask.request for ask in asks})),
        )
    }
    found: dict[int, dict[str, Any] | None] = {}
    for evaluation in evaluations:
        used = {
            ask.role: (ask.count, described.get(ask.request))
            for ask in evaluation.asks
            if not roles or ask.role in roles
        }
        shared = all(what is not None and _of_a_split(what["images"]) for _, what in used.values())
        found[evaluation.id] = dict(used) if used and shared else None
    return found


def _of_a_split(images: object) -> bool:
    """Whether a request's images are of a split: those of a stranger's may be anything."""
    return isinstance(images, Mapping) and "split" in images


def _roles(results: Results, metric: str, benchmark: str) -> Sequence[str]:
    """The roles that a metric is computed from, as its benchmark declares; none: all."""
    found = results.query("SELECT metrics FROM benchmark WHERE name = ?", benchmark)
    metrics: Mapping[str, Any] = json.loads(found[0]["metrics"]) if found else {}
    info = metrics.get(metric) or metrics.get(metric.split("/")[0]) or {}
    return [str(role) for role in info.get("roles", ())]


def _protocol(evaluation: StoredEvaluation) -> tuple[str, str, int, str]:
    """What two evaluations must have in common before their scores are compared."""
    options = json.dumps(evaluation.options, sort_keys=True)
    return evaluation.dataset, evaluation.benchmark, evaluation.version, options
