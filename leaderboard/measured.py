"""What was measured of a model: its requests with their costs, and the per-image values of many requests at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.records import Entry

SAMPLES = "the model's own samples"
SIMULATED = "images simulated from the model"
_ORDER = {"train": 0, "val": 1, "test": 2}


# The order of both joins is that of the tables' keys, so nothing has to be sorted.
_COLUMN = (
    "SELECT v.value FROM block b CROSS JOIN row_value v ON v.block = b.id "
    "WHERE b.request = ? AND v.name = ? AND v.image < ? ORDER BY b.number, v.image, v.label"
)
_OUTCOMES = (
    "SELECT b.request, r.outcome, count(*) AS n FROM json_each(?) w CROSS JOIN block b ON b.request = w.key "
    "CROSS JOIN row r ON r.block = b.id AND r.image < w.value GROUP BY b.request, r.outcome"
)
_EVALUATIONS = (
    "SELECT b.request, sum(v.value) / w.value AS mean FROM json_each(?) w CROSS JOIN block b ON b.request = w.key "
    "CROSS JOIN row_value v ON v.block = b.id AND v.name = 'evaluations' AND v.image < w.value GROUP BY b.request"
)
_MEANS = (
    "SELECT v.name, avg(v.value) AS mean FROM block b CROSS JOIN row_value v ON v.block = b.id "
    "WHERE b.request = ? AND v.name IN (SELECT value FROM json_each(?)) AND v.image < ? GROUP BY v.name"
)


@dataclass
class Measured:
    """A request of a model: what it names, how many images were asked of it, by which roles of which benchmarks.

    home: the data set that the model was evaluated on, whose images need no further name.
    """

    key: str
    home: str
    description: Mapping[str, Any]
    count: int
    roles: list[str]
    evaluations: int
    seconds: float
    complete: bool

    @property
    def images(self) -> str:
        """Which images: a split's name, or what the model drew."""
        images = self.description.get("images")
        if not isinstance(images, Mapping):
            return "images"
        drawn = {"samples": SAMPLES, "simulated": SIMULATED}.get(str(images.get("is")))
        return drawn or str(images.get("split", "images"))

    @property
    def drawn(self) -> bool:
        """Whether the model drew the images itself."""
        return self.images in (SAMPLES, SIMULATED)

    @property
    def at_home(self) -> bool:
        """Whether the images are the data set's own, or the model's own samples, as they are."""
        images = self.description.get("images")
        other = isinstance(images, Mapping) and images.get("dataset", self.home) != self.home
        return not other and self.operator == "identity"

    @property
    def operator(self) -> str:
        """What was done to the images, ``identity`` where nothing."""
        operator = self.description.get("operator", "identity")
        return str(operator.get("name", operator) if isinstance(operator, Mapping) else operator)

    @property
    def distance(self) -> str:
        """The distance that was made small; empty where the request names none."""
        return str(self.description.get("distance", ""))

    @property
    def title(self) -> str:
        """What a heading calls the images: with the data set where it is another, and what was done to them."""
        images = self.description.get("images")
        name = self.images
        if not self.drawn:
            name = f"{'training' if name == 'train' else words.shown(name, 40)} images"
        if isinstance(images, Mapping) and images.get("dataset", self.home) != self.home:
            name += f" of {words.shown(images['dataset'], 60)}"
        return name if self.operator == "identity" else f"{name}, {words.shown(self.operator, 60)}"

    @property
    def place(self) -> tuple[bool, int, str]:
        """The data set's own images first, of those the training images; own samples after the others."""
        return not self.at_home, 9 if self.drawn else _ORDER.get(self.images, 5), self.title

    @property
    def one_row_each(self) -> bool:
        """Whether every image was recovered once, not under every label."""
        return self.description.get("kind") in ("recovery", "neighbours") and self.description.get("label") != "every"

    @property
    def annealed(self) -> bool:
        """Whether every image was annealed once, not under every label."""
        return self.description.get("kind") == "likelihood" and self.description.get("label") != "every"


@dataclass(frozen=True)
class Values:
    """The per-image values of a request by name, in the order of images, and how its searches ended."""

    values: Mapping[str, tuple[float, ...]]
    outcomes: Mapping[str, int]


def measured_of(results: Results, entries: Sequence[Entry]) -> dict[str, Measured]:
    """Every request of some evaluations, by key."""
    asked: dict[str, Measured] = {}
    for entry in entries:
        of = entry.evaluation
        for ask in of.asks:
            one = asked.setdefault(ask.request, Measured(ask.request, of.dataset, {}, 0, [], 0, 0.0, False))
            one.count = max(one.count, ask.count)
            if (role := f"{of.benchmark}: {ask.role}") not in one.roles:
                one.roles.append(role)
    for row in results.query(
        "SELECT r.key, r.description, coalesce(sum(b.evaluations), 0) AS evaluations, "
        "coalesce(sum(b.seconds), 0.0) AS seconds, "
        "coalesce(sum(b.number * json_extract(r.description, '$.block') < w.value), 0) AS blocks "
        "FROM json_each(?) w JOIN request r ON r.key = w.key LEFT JOIN block b ON b.request = r.key GROUP BY r.key",
        json.dumps({key: one.count for key, one in asked.items()}),
    ):
        one = asked[row["key"]]
        one.description = json.loads(row["description"])
        one.evaluations, one.seconds = int(row["evaluations"]), float(row["seconds"])
        block = one.description.get("block")
        blocks = -(-one.count // block) if isinstance(block, int) and block > 0 else 0
        one.complete = 0 < blocks == row["blocks"]
    return asked


def values_of(results: Results, measured: Collection[Measured], names: Sequence[str]) -> dict[str, Values]:
    """The named values of the first images of some requests, by request. Each row is read once."""
    values: dict[str, dict[str, tuple[float, ...]]] = {one.key: {} for one in measured}
    outcomes: dict[str, dict[str, int]] = {one.key: {} for one in measured}
    for one in measured:
        for name in names:
            column = results.db.execute(_COLUMN, [one.key, name, one.count])
            if found := tuple([value for (value,) in column]):
                values[one.key][name] = found
    for row in results.query(_OUTCOMES, json.dumps({one.key: one.count for one in measured})):
        outcomes[row["request"]][row["outcome"]] = row["n"]
    return {one.key: Values(values[one.key], outcomes[one.key]) for one in measured}


def mean_evaluations(results: Results, counts: Mapping[str, int]) -> dict[str, float]:
    """Generator evaluations per image, over the first images of each request (key -> how many)."""
    return {row["request"]: row["mean"] for row in results.query(_EVALUATIONS, json.dumps(dict(counts)))}


def means_of(results: Results, measured: Collection[Measured], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The means of the named values over the first images of some requests, by request and name."""
    return {
        one.key: {row["name"]: row["mean"] for row in results.query(_MEANS, one.key, json.dumps(names), one.count)}
        for one in measured
    }
