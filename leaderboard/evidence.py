"""What the rows of a model show: its samples, images beside their recoveries, the law of its errors."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.album import Album, Picture
from preimage.leaderboard.histogram import Histogram, Sample, histogram_of
from preimage.leaderboard.records import Entry, ModelRecord

SAMPLES = "the model's own samples"
_ORDER = {"train": 0, "val": 1, "test": 2}
_STYLES = {"train": "train", "val": "val", "test": "test", SAMPLES: "own"}


@dataclass
class Measured:
    """A request of a model: what it names, how many images were asked of it, by which roles of which benchmarks."""

    key: str
    description: Mapping[str, Any]
    count: int
    roles: list[str]
    evaluations: int
    seconds: float
    complete: bool

    @property
    def images(self) -> str:
        """Which images: a split's name, or the model's own samples."""
        images = self.description.get("images")
        if not isinstance(images, Mapping):
            return "images"
        return SAMPLES if images.get("is") == "samples" else str(images.get("split", "images"))

    @property
    def title(self) -> str:
        """What a heading calls the images."""
        if self.images == SAMPLES:
            return SAMPLES
        return f"{'training' if self.images == 'train' else words.shown(self.images, 40)} images"

    @property
    def place(self) -> tuple[int, str]:
        """Training images first, own samples last."""
        return 9 if self.images == SAMPLES else _ORDER.get(self.images, 5), self.images

    @property
    def one_row_each(self) -> bool:
        """Whether every image was recovered once, not under every label."""
        return self.description.get("kind") in ("recovery", "neighbours") and self.description.get("label") != "every"


@dataclass(frozen=True)
class Group:
    """The errors of one request in numbers, and its images beside their recoveries."""

    measured: Measured
    errors: tuple[float, ...]
    median: str
    outcomes: str
    pairs: Picture | None


@dataclass(frozen=True)
class Evidence:
    """Requests that were compared with each other on a data set, with what they show."""

    dataset: str
    benchmarks: tuple[str, ...]
    suites: tuple[str, ...]
    groups: tuple[Group, ...]
    samples: Picture | None
    histogram: Histogram | None
    value: str


def measured_of(results: Results, entries: Sequence[Entry]) -> dict[str, Measured]:
    """Every request of a model's evaluations, by key."""
    found: dict[str, Measured] = {}
    for entry in entries:
        for ask in entry.evaluation.asks:
            role = f"{entry.evaluation.benchmark}: {ask.role}"
            if ask.request not in found:
                evaluations, seconds = results.cost(ask.request)
                found[ask.request] = Measured(
                    ask.request, results.description(ask.request), ask.count, [], evaluations, seconds, False
                )
            known = found[ask.request]
            known.count = max(known.count, ask.count)
            if role not in known.roles:
                known.roles.append(role)
    for known in found.values():
        block = known.description.get("block")
        blocks = -(-known.count // block) if isinstance(block, int) and block > 0 else 0
        counted = "SELECT count(*) AS n FROM block WHERE request = ? AND number < ?"
        known.complete = 0 < blocks == results.query(counted, known.key, blocks)[0]["n"]
    return found


@dataclass
class _Family:
    """Evaluations that share a request, directly or through another."""

    keys: set[str]
    entries: list[Entry] = field(default_factory=list)


def evidence_of(
    results: Results, album: Album, model: ModelRecord, entries: Sequence[Entry], measured: Mapping[str, Measured]
) -> list[Evidence]:
    """What the finished recoveries of a model show. Benchmarks that share rows are shown together, once."""
    families: list[_Family] = []
    for entry in entries:
        keys = {
            ask.request
            for ask in entry.evaluation.asks
            if measured[ask.request].one_row_each and measured[ask.request].complete
        }
        if entry.evaluation.status != "ok" or not keys:
            continue
        near = [family for family in families if family.keys & keys]
        joined = _Family(keys.union(*(f.keys for f in near)), [e for f in near for e in f.entries] + [entry])
        families = [family for family in families if family not in near] + [joined]
    return [_evidence(results, album, model, family, [measured[key] for key in family.keys]) for family in families]


def _evidence(
    results: Results, album: Album, model: ModelRecord, family: _Family, measured: Sequence[Measured]
) -> Evidence:
    measured = sorted(measured, key=lambda m: (m.place, m.key))
    rows = [results.rows(one.key, one.count) for one in measured]
    value = "mse" if all("mse" in found.values for found in rows) else "distance"
    groups, samples, shown = [], None, []
    for one, found in zip(measured, rows, strict=True):
        errors = tuple(found.values[value].tolist()) if value in found.values else ()
        strips = results.pictures(one.key)
        pairs = None
        if {"targets", "recoveries"} <= set(strips):
            pairs = album.grid([strips["targets"], strips["recoveries"]], model.card, columns=6)
        if one.images == SAMPLES and "targets" in strips and samples is None:
            samples = album.grid([strips["targets"]], model.card, columns=8)
        median = words.number(statistics.median(errors), words.decimals(errors, [])) if errors else "none"
        groups.append(Group(one, errors, median, _outcomes(found.outcome), pairs))
        shown.append(Sample(one.title, _STYLES.get(one.images, "other"), errors, one.images != SAMPLES))
    evaluations = [entry.evaluation for entry in family.entries]
    benchmarks, suites = (
        tuple(dict.fromkeys(getattr(e, name) for e in evaluations)) for name in ("benchmark", "suite")
    )
    return Evidence(evaluations[0].dataset, benchmarks, suites, tuple(groups), samples, histogram_of(shown), value)


def _outcomes(outcomes: Sequence[str]) -> str:
    """How the searches ended, the commonest first: ``80 converged, 16 budget spent``."""
    found = sorted(Counter(outcomes).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{words.count(n)} {words.shown(name, 40).lower().replace('_', ' ')}" for name, n in found if name)
