"""What the rows of a model show: its samples, images beside their recoveries, the laws of its errors and codes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.album import Album, Picture
from preimage.leaderboard.code_law import NORM, OUTSIDE, CodeLaw, code_law_of
from preimage.leaderboard.histogram import Histogram, Sample, histogram_of
from preimage.leaderboard.measured import SAMPLES, Measured, Values, values_of
from preimage.leaderboard.records import Entry, ModelRecord

MOST_FAMILIES = 8  # protocols whose rows a page shows, those of most benchmarks first; all requests are listed
FEWER = 12  # pairs shown of images that are not the data set's own
_STYLES = {"train": "train", "val": "val", "test": "test", SAMPLES: "own"}
_OTHER_STYLES = ("s0", "s2", "s3", "s4", "s5")  # not s1, which looks like unseen images
VALUES = ("mse", "distance", NORM, OUTSIDE)


@dataclass(frozen=True)
class Group:
    """The errors of one request in numbers, and its images beside their recoveries."""

    measured: Measured
    n: int
    median: str
    outcomes: str
    pairs: Picture | None


@dataclass(frozen=True)
class Evidence:
    """Requests that were compared with each other on a data set, with what they show."""

    dataset: str
    distance: str
    benchmarks: tuple[str, ...]
    suites: tuple[str, ...]
    groups: tuple[Group, ...]
    samples: Picture | None
    histogram: Histogram | None
    others: tuple[Histogram, ...]
    """Errors of changed images and of other data sets, beside those of unseen images."""
    value: str
    codes: CodeLaw | None


@dataclass
class _Family:
    """Evaluations that share a request in one distance, directly or through another."""

    keys: set[str]
    entries: list[Entry] = field(default_factory=list)


def evidence_of(
    results: Results, album: Album, model: ModelRecord, entries: Sequence[Entry], measured: Mapping[str, Measured]
) -> list[Evidence]:
    """What the finished recoveries of a model show. Benchmarks that share rows are shown together, once.

    Recoveries in another distance are shown by themselves.
    """
    families: list[_Family] = []
    for entry, keys in _in_one_distance(entries, measured):
        near = [family for family in families if family.keys & keys]
        joined = _Family(keys.union(*(f.keys for f in near)), [e for f in near for e in f.entries] + [entry])
        families = [family for family in families if family not in near] + [joined]
    families = sorted(families, key=lambda family: -len(family.entries))[:MOST_FAMILIES]
    shown = [measured[key] for key in sorted({key for family in families for key in family.keys})]
    found = values_of(results, shown, VALUES)
    pictures = {one.key: results.pictures(one.key) for one in shown}
    return [
        _evidence(results, album, model, family, [measured[key] for key in family.keys], found, pictures)
        for family in families
    ]


def _in_one_distance(entries: Sequence[Entry], measured: Mapping[str, Measured]) -> Iterator[tuple[Entry, set[str]]]:
    """Evaluations that are done, each with its recoveries in one distance after the other."""
    for entry in entries:
        if entry.evaluation.status != "ok":
            continue
        asked = [measured[ask.request] for ask in entry.evaluation.asks]
        asked = [one for one in asked if one.one_row_each and one.complete]
        for distance in dict.fromkeys(one.distance for one in asked):
            yield entry, {one.key for one in asked if one.distance == distance}


def _evidence(
    results: Results,
    album: Album,
    model: ModelRecord,
    family: _Family,
    measured: Sequence[Measured],
    found: Mapping[str, Values],
    pictures: Mapping[str, Mapping[str, bytes]],
) -> Evidence:
    measured = sorted(measured, key=lambda m: (m.place, m.key))
    value = "mse" if all("mse" in found[one.key].values for one in measured) else "distance"
    groups, samples = [], None
    for one in measured:
        errors = found[one.key].values.get(value, ())
        strips = pictures[one.key]
        if one.images == SAMPLES and one.at_home and "targets" in strips and samples is None:
            samples = album.grid([strips["targets"]], model.card, columns=8)
        median = words.number(statistics.median(errors), words.decimals(errors, [])) if errors else "none"
        ended = _outcomes(found[one.key].outcomes)
        pairs = _pairs(album, model, strips, None if one.at_home else FEWER)
        groups.append(Group(one, len(errors), median, ended, pairs))
    evaluations = [entry.evaluation for entry in family.entries]
    own = [one for one in measured if one.at_home]
    return Evidence(
        evaluations[0].dataset,
        measured[0].distance,
        tuple(dict.fromkeys(e.benchmark for e in evaluations)),
        tuple(dict.fromkeys(e.suite for e in evaluations)),
        tuple(groups),
        samples,
        histogram_of([_sample(one, found, value) for one in own]),
        tuple(_others(measured, found, value)),
        value,
        code_law_of(results, own, found, {one.key: _STYLES.get(one.images, "other") for one in own}),
    )


def _sample(one: Measured, found: Mapping[str, Values], value: str, style: str = "") -> Sample:
    errors = found[one.key].values.get(value, ())
    return Sample(one.title, style or _STYLES.get(one.images, "other"), errors, one.images != SAMPLES)


def _others(measured: Sequence[Measured], found: Mapping[str, Values], value: str) -> Iterator[Histogram]:
    """Images that are not the data set's own, a few at a time, each time beside its unseen ones."""
    unseen = [one for one in measured if one.at_home and one.images not in (SAMPLES, "train")][:1]
    others = [one for one in measured if not one.at_home]
    most = len(_OTHER_STYLES)
    for first in range(0, len(others), most):
        some = others[first : first + most]
        samples = [_sample(one, found, value, style) for one, style in zip(some, _OTHER_STYLES, strict=False)]
        drawn = histogram_of([*(_sample(one, found, value) for one in unseen), *samples])
        if drawn is not None:
            yield drawn


def _pairs(album: Album, model: ModelRecord, strips: Mapping[str, bytes], most: int | None) -> Picture | None:
    """Images, each above its recovery; None where no pictures of both are stored."""
    if not {"targets", "recoveries"} <= set(strips):
        return None
    return album.grid([strips["targets"], strips["recoveries"]], model.card, columns=6, most=most)


def _outcomes(outcomes: Mapping[str, int]) -> str:
    """How the searches ended, the commonest first: ``80 converged, 16 budget spent``."""
    found = sorted(outcomes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{words.count(n)} {words.shown(name, 40).lower().replace('_', ' ')}" for name, n in found if name)
