"""Requests as a model's page lists them: whole, but for the requests that they need, which are listed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from preimage.harness.results import Results
from preimage.leaderboard import words
from preimage.leaderboard.measured import Measured

SHORT = 12  # digits of a key


@dataclass(frozen=True)
class Listed:
    """A request: what a line says of it, and everything that it names."""

    key: str
    title: str
    told: str
    pairs: tuple[tuple[str, str], ...]


def listed(results: Results, measured: Collection[Measured]) -> list[Listed]:
    """Every request of a model: first those of its evaluations, then what these needed, each once."""
    needed: dict[str, Mapping[str, Any]] = {}
    asked = sorted(measured, key=lambda one: (str(one.description.get("kind", "")), one.place, one.key))
    found = [
        Listed(
            one.key,
            _title(one),
            f"{words.shown(', '.join(one.roles))} · {words.count(one.count)} images · "
            f"{_cost(one.evaluations, one.seconds)}",
            _pairs(one.description, needed),
        )
        for one in asked
    ]
    known = {one.key for one in found}
    while further := {key: what for key, what in needed.items() if key not in known}:
        for key, what in sorted(further.items(), key=lambda item: (str(item[1].get("kind")), item[0])):
            known.add(key)
            one = Measured(key, "", what, 0, [], *results.cost(key), complete=False)
            cost = f"needed by others · {_cost(one.evaluations, one.seconds)}"
            found.append(Listed(key, _title(one), cost, _pairs(what, needed)))
    return found


def _title(one: Measured) -> str:
    kind = words.shown(one.description.get("kind", "request"), 40)
    return f"{kind} of {one.title}" if isinstance(one.description.get("images"), Mapping) else kind


def _cost(evaluations: int, seconds: float) -> str:
    return f"{words.count(evaluations)} generator evaluations · {words.seconds(seconds)}"


def _pairs(description: Mapping[str, Any], needed: dict[str, Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """What a description names; requests within it go into ``needed``, by key, and only their names stay."""
    return tuple(words.flat({name: _without(value, needed) for name, value in description.items()}))


def _without(value: Any, needed: dict[str, Mapping[str, Any]]) -> Any:
    if not isinstance(value, Mapping):
        return value
    if {"kind", "version", "model"} <= set(value):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        key = hashlib.sha256(text.encode()).hexdigest()
        needed[key] = value
        return f"{words.shown(value['kind'], 40)} {key[:SHORT]}"
    return {name: _without(part, needed) for name, part in value.items()}
