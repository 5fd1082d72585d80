"""What the likelihoods of a model's page show: their law by group of images, and the most and least likely images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.album import Album, Picture
from preimage.leaderboard.histogram import Histogram, Sample, histogram_of
from preimage.leaderboard.measured import SIMULATED, Measured, means_of, values_of
from preimage.leaderboard.protocol import sampler_in_short

MOST = 4  # protocols that a page shows, those of most requests first; all requests are listed
ENDS = 8  # images shown at either end
IMAGES = "images"
"""The name of the strips that hold all images of a block, in order."""
_WHICH_IMAGES = ("images", "label", "block", "model", "version")  # what may differ within a protocol
_STYLES = {"train": "train", "val": "val", "test": "test", SIMULATED: "own"}
_OTHER_STYLES = ("s0", "s2", "s3", "s4", "s5")
_TOLD = (("gap", 2), ("ess", 1), ("acceptance", 2))  # values whose means are told, and their decimals
_VALUES = ("log_likelihood", "exact", "sigma2")


@dataclass(frozen=True)
class Tile:
    """An image and its log-likelihood. picture: None where none is stored."""

    number: int
    value: str
    picture: Picture | None


@dataclass(frozen=True)
class Extremes:
    """The most and the least likely images of a group, most extreme first. n: out of how many."""

    title: str
    n: int
    most: tuple[Tile, ...]
    least: tuple[Tile, ...]


@dataclass(frozen=True)
class Group:
    """The likelihoods of one request. mean, exact: over its images, nats; exact: in closed form, "" without one."""

    title: str
    measured: Measured
    n: int
    mean: str
    exact: str
    told: tuple[str, ...]
    """Gap, effective sample size and acceptance, on average."""


@dataclass(frozen=True)
class Likelihoods:
    """Requests of one protocol (sampler and noise) on a data set, with what they show."""

    dataset: str
    sampler: str
    sigma2: str
    groups: tuple[Group, ...]
    histograms: tuple[Histogram, ...]
    extremes: Extremes | None

    @property
    def exact(self) -> bool:
        """Whether the closed form is known."""
        return any(group.exact for group in self.groups)


def likelihoods_of(results: Results, album: Album, measured: Mapping[str, Measured]) -> list[Likelihoods]:
    """What the finished likelihoods of a model show, by protocol."""
    protocols: dict[str, list[Measured]] = {}
    for one in measured.values():
        if one.description.get("kind") == "likelihood" and one.complete:
            told = {name: what for name, what in one.description.items() if name not in _WHICH_IMAGES}
            protocols.setdefault(json.dumps([one.home, told], sort_keys=True), []).append(one)
    ordered = sorted(protocols.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST]
    return [_likelihoods(results, album, found) for _, found in ordered]


def _likelihoods(results: Results, album: Album, found: Sequence[Measured]) -> Likelihoods:
    found = sorted(found, key=lambda one: (one.place, not one.annealed, one.key))
    columns = {key: values.values for key, values in values_of(results, found, _VALUES).items()}
    means = means_of(results, found, [name for name, _ in _TOLD])
    laws = {one.key: per_image(columns[one.key].get("log_likelihood", ()), one.count) for one in found}
    groups = []
    for one in found:
        exact = per_image(columns[one.key].get("exact", ()), one.count)
        told = tuple(_told(means[one.key].get(name), places) for name, places in _TOLD)
        law = laws[one.key]
        groups.append(Group(_title(one), one, len(law), _mean(law), _mean(exact) if exact else "", told))
    sigma2 = next((values["sigma2"][0] for values in columns.values() if values.get("sigma2")), None)
    unseen = next((one for one in found if _unseen(one) and laws[one.key]), None)
    extremes = None if unseen is None else _extremes(results, album, unseen, laws[unseen.key])
    return Likelihoods(
        found[0].home,
        sampler_in_short(found[0].description.get("sampler") or {}),
        "" if sigma2 is None else f"{sigma2:.4g} (PSNR {10 * math.log10(1 / sigma2):.1f} dB)",
        tuple(groups),
        tuple(_histograms(found, laws)),
        extremes,
    )


def per_image(values: Sequence[float], images: int) -> tuple[float, ...]:
    """log p(x) of each image: where it was annealed under every label, the log of the mean over labels."""
    labels = len(values) // images if images else 0
    if labels < 2 or len(values) != labels * images:
        return tuple(values)
    tables = (values[first : first + labels] for first in range(0, len(values), labels))
    return tuple(max(t) + math.log(sum(math.exp(value - max(t)) for value in t) / labels) for t in tables)


def _unseen(one: Measured) -> bool:
    """Whether these are unseen images of the data set itself, annealed once each."""
    return one.annealed and one.at_home and not one.drawn and one.images != "train"


def _title(one: Measured) -> str:
    return one.title if one.annealed else f"{one.title}, over all labels"


def _histograms(found: Sequence[Measured], laws: Mapping[str, Sequence[float]]) -> Iterator[Histogram]:
    """The data set's own images beside simulated ones; then those of other sets, each time beside unseen ones."""
    largest = {(_title(one), one.at_home): one for one in sorted(found, key=lambda one: one.count)}
    found = [one for one in found if one in largest.values()]  # blocks of other sizes are other requests
    own = [one for one in found if one.at_home]
    alike = [[one for one in own if one.annealed == once] for once in (True, False)]
    drawn = histogram_of([_sample(one, laws) for one in max(alike, key=len)], linear=True)
    if drawn is not None:
        yield drawn
    others = [one for one in found if not one.at_home]
    beside = [one for one in own if not one.drawn and one.images != "train"]
    beside.sort(key=lambda one: one.annealed == all(other.annealed for other in others), reverse=True)
    for start in range(0, len(others), len(_OTHER_STYLES)):
        some = others[start : start + len(_OTHER_STYLES)]
        samples = [_sample(one, laws, style) for one, style in zip(some, _OTHER_STYLES, strict=False)]
        drawn = histogram_of([*(_sample(one, laws) for one in beside[:1]), *samples], linear=True)
        if drawn is not None:
            yield drawn


def _sample(one: Measured, laws: Mapping[str, Sequence[float]], style: str = "") -> Sample:
    return Sample(_title(one), style or _STYLES.get(one.images, "other"), tuple(laws[one.key]), one.at_home)


def _extremes(results: Results, album: Album, one: Measured, law: Sequence[float]) -> Extremes | None:
    """The images at both ends; None where no pictures of the request are stored."""
    strips = results.strips(one.key, IMAGES)
    if not strips:
        return None
    ordered = sorted(range(len(law)), key=lambda image: (-law[image], image))
    ends = min(ENDS, len(ordered) // 2)
    places = words.decimals([law[ordered[0]], law[ordered[-1]]], [])
    block = int(one.description["block"])

    def tile(image: int) -> Tile:
        strip, count = strips.get(image // block, (b"", 0))
        picture = album.single(strip, count, image % block)
        return Tile(image, words.number(law[image], places), picture)

    most, least = (tuple(map(tile, some)) for some in (ordered[:ends], ordered[::-1][:ends]))
    if not any(one.picture for one in (*most, *least)):
        return None
    return Extremes(one.title, len(law), most, least)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "none"
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return words.number(mean, words.decimals([mean], [4 * spread / math.sqrt(len(values))]))


def _told(value: float | None, places: int) -> str:
    return "none" if value is None else words.number(value, places)
