"""Whether rows that were measured again agree with the stored ones: value by value, to the bit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from preimage.harness.results import Results
from preimage.harness.rows import Block, Rows

if TYPE_CHECKING:
    from preimage.harness.rows import Floats

Place: TypeAlias = tuple[int, int]
"""An image's index and the label that it was decoded under, -1 for none."""


@dataclass(frozen=True)
class Row:
    """One row of a block: how its search ended, its code, its named numbers."""

    outcome: str
    code: bytes | None
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Apart:
    """A value that is another one now; None where only one side has it, or has no number.

    relative: ``|stored - now| / max(|stored|, |now|)``, None where there is no such number.
    """

    name: str
    image: int
    label: int
    stored: float | None
    now: float | None
    relative: float | None


@dataclass(frozen=True)
class Agreement:
    """Stored blocks of one request beside the same blocks measured again.

    images: how many were compared; identical: in how many of them every value, outcome and code is the same to the bit.
    pixels: whether the pixels read were the same. largest: the value that differs most; None where none does.
    whole: whether both sides have the same rows and the same named numbers in them.
    """

    images: int
    identical: int
    pixels: bool
    largest: Apart | None
    whole: bool

    @property
    def to_the_bit(self) -> bool:
        """Whether nothing differs at all."""
        return self.pixels and self.identical == self.images


def agreement(results: Results, request: str, blocks: Mapping[int, Block]) -> Agreement:
    """How the blocks, by number, compare with the stored ones of the request."""
    stored: dict[Place, Row] = {}
    again: dict[Place, Row] = {}
    pixels = True
    for number, block in blocks.items():
        rows, hashed = _stored(results, request, number)
        stored |= rows
        again |= _measured(block)
        pixels = pixels and hashed == block.pixels
    images = {image for image, _ in stored.keys() | again.keys()}
    places = sorted(stored.keys() | again.keys())
    changed = {place[0] for place in places if stored.get(place) != again.get(place)}
    apart = [one for place in places for one in _apart(place, stored.get(place), again.get(place))]
    whole = stored.keys() == again.keys() and not any(one.relative is None for one in apart)
    largest = max(apart, key=lambda one: math.inf if one.relative is None else one.relative, default=None)
    return Agreement(len(images), len(images) - len(changed), pixels, largest, whole)


def _stored(results: Results, request: str, number: int) -> tuple[dict[Place, Row], str]:
    """The rows of a stored block and the hash of its pixels; none where there is no such block."""
    head = results.query("SELECT id, pixels FROM block WHERE request = ? AND number = ?", request, number)
    if not head:
        return {}, ""
    rows = {
        (row["image"], row["label"]): Row(row["outcome"], row["code"])
        for row in results.query("SELECT image, label, outcome, code FROM row WHERE block = ?", head[0]["id"])
    }
    for one in results.query("SELECT image, label, name, value FROM row_value WHERE block = ?", head[0]["id"]):
        rows[one["image"], one["label"]].values[one["name"]] = one["value"]
    return rows, str(head[0]["pixels"])


def _measured(block: Block) -> dict[Place, Row]:
    columns = {name: column.tolist() for name, column in block.values.items()}
    return {
        (image, label): Row(
            block.outcome[i] if block.outcome else "",
            block.code[i] if block.code else None,
            {name: float(column[i]) for name, column in columns.items()},
        )
        for i, (image, label) in enumerate(zip(block.image.tolist(), block.label.tolist(), strict=True))
    }


def _apart(place: Place, stored: Row | None, now: Row | None) -> Iterable[Apart]:
    """Every value of a row that differs."""
    old, new = (stored.values if stored else {}), (now.values if now else {})
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one != other:
            finite = one is not None and other is not None and math.isfinite(one) and math.isfinite(other)
            relative = abs(one - other) / max(abs(one), abs(other)) if finite else None  # type: ignore[operator,arg-type]  # both finite
            yield Apart(name, *place, _number(one), _number(other), relative)


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def replaced(rows: Rows, blocks: Iterable[Block]) -> Rows:
    """The rows, those of the blocks in place of the ones that were there; rows of other images are left out."""
    place = {at: i for i, at in enumerate(zip(rows.image.tolist(), rows.label.tolist(), strict=True))}
    values: dict[str, Floats] = {name: column.copy() for name, column in rows.values.items()}
    outcome = list(rows.outcome)
    for block in blocks:
        found = [place.get(at) for at in zip(block.image.tolist(), block.label.tolist(), strict=True)]
        kept = [i for i, target in enumerate(found) if target is not None]
        targets = [target for target in found if target is not None]
        for name, column in block.values.items():
            values.setdefault(name, np.full(len(rows), np.nan))[targets] = column[kept]
        for i, target in zip(kept, targets, strict=True):
            outcome[target] = block.outcome[i] if block.outcome else ""
    return Rows(rows.image, rows.label, values, tuple(outcome))


def shares(counts: Sequence[int], total: int) -> list[int]:
    """So many images shared out over roles in proportion to their counts, each role one first (Huntington and Hill).

    No role gets more than it has.
    """
    given = [0] * len(counts)

    def claim(role: int) -> tuple[float, int]:
        if given[role] == counts[role]:
            return (-1.0, 0)
        n = given[role]
        return (counts[role] / math.sqrt(n * (n + 1)) if n else math.inf, counts[role])

    for _ in range(min(total, sum(counts))):
        given[max(range(len(counts)), key=claim)] += 1
    return given
