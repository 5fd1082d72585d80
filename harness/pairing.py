"""Two models on the same images: the difference of their scores, by a paired bootstrap. Imports no torch.

Scores keep the replicates of their bootstrap, and samples of the same sizes are resampled alike, image by image. So
where two models were measured on the same images, the difference of their replicates is the bootstrap of the
difference (METHODS 12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from preimage.harness.likelihood_scores import SIGMA2
from preimage.harness.metric_names import declared
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
    seen = seen_through(results, [leader, *others])
    first = scores.get(leader.id)
    found: list[Difference | None] = []
    for other in others:
        second = scores.get(other.id)
        alike = images[other.id] is not None and images[other.id] == images[leader.id]
        alike = alike and _protocol(leader) == _protocol(other) and agree(seen[leader.id], seen[other.id])
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
    seen = seen_through(results, evaluations)
    agreeing = [
        group
        for found in classes.values()
        for group in in_agreement(found, [seen[evaluation.id] for evaluation in found])
    ]
    return [found for found in agreeing if len(found) > 1]


def seen_through(results: Results, evaluations: Sequence[StoredEvaluation]) -> dict[int, Mapping[str, str]]:
    """What scores depend on that options do not tell, by evaluation: the hash of each network that images were seen
    through, by its name, and how many features were compared. A network's name may stand for other weights elsewhere.
    """
    told: dict[str, dict[str, str]] = {}
    for row in results.query(_SEEN, json.dumps(sorted({ask.request for one in evaluations for ask in one.asks}))):
        told.setdefault(row["key"], {})[str(row["name"])] = str(row["what"])
    return {
        evaluation.id: {name: what for ask in evaluation.asks for name, what in told.get(ask.request, {}).items()}
        for evaluation in evaluations
    }


_SEEN = """
    WITH asked AS (SELECT key, kind, description AS d FROM request WHERE key IN (SELECT value FROM json_each(?)))
    SELECT key, 'distance ' || json_extract(d, '$.distance') AS name, json_extract(d, '$.distance_identity') AS what
        FROM asked WHERE json_extract(d, '$.distance_identity') <> ''
    UNION ALL SELECT key, 'extractor ' || json_extract(d, '$.extractor'), json_extract(d, '$.extractor_identity')
        FROM asked WHERE json_extract(d, '$.extractor_identity') <> ''
    UNION ALL SELECT key, 'images of each set', json_extract(d, '$.size') FROM asked WHERE kind = 'feature-comparison'
"""


def agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two evaluations were seen through the same: nothing that both name differs. One may name more."""
    return all(other.get(name, what) == what for name, what in one.items())


T = TypeVar("T")


def in_agreement(things: Sequence[T], seen: Sequence[Mapping[str, str]]) -> list[list[T]]:
    """Things in groups within which all agree; each joins the first group that it can, those that name most first."""
    groups: list[tuple[dict[str, str], list[int]]] = []
    for place in sorted(range(len(things)), key=lambda place: -len(seen[place])):
        for told, group in groups:
            if agree(told, seen[place]):
                told.update(seen[place])
                group.append(place)
                break
        else:
            groups.append((dict(seen[place]), [place]))
    return [[things[place] for place in sorted(group)] for _, group in groups]


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
            if not roles or ask.role.rpartition(SIGMA2)[0] in roles or ask.role in roles
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
    info = metrics.get(declared(metric, metrics) or "", {})
    return [str(role) for role in info.get("roles", ())]


def _protocol(evaluation: StoredEvaluation) -> tuple[str, str, int, str]:
    """What two evaluations must have in common before their scores are compared."""
    options = json.dumps(evaluation.options, sort_keys=True)
    return evaluation.dataset, evaluation.benchmark, evaluation.version, options
