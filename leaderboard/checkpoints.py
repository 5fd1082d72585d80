"""Courses of training: a model and the checkpoints on the way to it, told by ``parent`` and ``step`` of their cards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from preimage.harness.results import Results
from preimage.leaderboard.histogram import SMALL, Histogram, Sample, histograms_of
from preimage.leaderboard.measured import SAMPLES, measured_of, values_of
from preimage.leaderboard.records import Entry, ModelRecord, Records

MOST_PANELS = 12
_BY_BENCHMARK = {"goodness-of-fit": "l2", "recovery": "mse", "overfitting": "mse"}  # the value that each averages
_STYLES = {"train": "train", "val": "val", "test": "test"}

Course = tuple[tuple[int, ModelRecord], ...]
"""The checkpoints of one training with their steps, in order."""


def courses_of(models: Iterable[ModelRecord]) -> dict[str, Course]:
    """Courses of at least two checkpoints, by the name of the model that they lead to.

    That model belongs to its own course where its card gives a step.
    """
    known = list(models)
    parents = {str(model.card["parent"]) for model in known if model.card.get("parent")}
    found: dict[str, list[tuple[int, ModelRecord]]] = {}
    for model in known:
        step = model.card.get("step")
        parent = model.card.get("parent") or (model.name if model.name in parents else None)
        if isinstance(step, int) and parent is not None:
            found.setdefault(str(parent), []).append((step, model))
    return {
        parent: tuple(sorted(course, key=lambda at: (at[0], at[1].name)))
        for parent, course in sorted(found.items())
        if len(course) > 1
    }


@dataclass(frozen=True)
class Panel:
    """A checkpoint: its errors drawn on the axes that all panels share."""

    step: int
    model: ModelRecord
    histogram: Histogram


@dataclass(frozen=True)
class Panels:
    """The checkpoints of a course under one protocol. left: how many are not shown."""

    benchmark: str
    suite: str
    dataset: str
    value: str
    panels: tuple[Panel, ...]
    left: int


def panels_of(results: Results, records: Records, course: Course) -> Panels | None:
    """Errors per image along a training, by the first protocol that measured at least two of its checkpoints."""
    steps = {model.name: (step, model) for step, model in course}
    groups: dict[tuple[object, ...], list[Entry]] = {}
    for entry in records.entries:
        of = entry.evaluation
        if of.status == "ok" and of.model in steps and of.benchmark in _BY_BENCHMARK:
            options = json.dumps(of.options, sort_keys=True)
            key = (list(_BY_BENCHMARK).index(of.benchmark), of.dataset, of.suite, of.version, options)
            groups.setdefault(key, []).append(entry)
    for _, entries in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), str(item[0]))):
        found = _panels(results, entries, steps)
        if found is not None:
            return found
    return None


def _panels(results: Results, entries: list[Entry], steps: Mapping[str, tuple[int, ModelRecord]]) -> Panels | None:
    entries = sorted(entries, key=lambda entry: (steps[entry.model.name][0], entry.model.name))
    kept = [entries[k] for k in _spread(len(entries), MOST_PANELS)]
    known = measured_of(results, kept)
    seen = {one.key: one for one in known.values() if one.one_row_each and one.complete and one.at_home}
    seen = {key: one for key, one in seen.items() if one.images != SAMPLES}
    of = entries[0].evaluation
    seen = {key: one for key, one in seen.items() if one.distance == of.options.get("distance", one.distance)}
    value = _BY_BENCHMARK[of.benchmark]
    found = values_of(results, list(seen.values()), (value,))
    drawn: list[tuple[Entry, list[Sample]]] = []
    for entry in kept:
        asked = [seen[ask.request] for ask in entry.evaluation.asks if ask.request in seen]
        asked.sort(key=lambda one: one.place)
        samples = [
            Sample(one.title, _STYLES.get(one.images, "other"), errors)
            for one in asked
            if (errors := found[one.key].values.get(value))
        ]
        if samples:
            drawn.append((entry, samples))
    if len(drawn) < 2:
        return None
    histograms = histograms_of([samples for _, samples in drawn], SMALL)
    panels = tuple(
        Panel(*steps[entry.model.name], histogram) for (entry, _), histogram in zip(drawn, histograms, strict=True)
    )
    return Panels(of.benchmark, of.suite, of.dataset, value, panels, len(entries) - len(panels))


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 to count - 1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})
