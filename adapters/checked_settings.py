"""Settings of a family, each checked when it is asked for, so that its error says which one is wrong and how."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from preimage.adapters.official_settings import official_settings
from preimage.harness.cards import Config
from preimage.harness.errors import CardError

T = TypeVar("T")


@dataclass(frozen=True)
class CheckedSettings:
    """What a card's config, or a record of a release, says of a model of the family."""

    family: str
    values: Mapping[str, object]

    @classmethod
    def of(cls, config: Config, known: Collection[str], family: str) -> CheckedSettings:
        """The config's settings by their upstream names. Raises CardError that lists the unknown ones."""
        return cls(family, official_settings(config, known, family))

    def count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number from ``least`` up. Raises CardError, also where it is missing and has no default."""
        return self._count(name, self._given(name, default), least)

    def counts(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of whole numbers from 1 up, perhaps empty. Raises CardError."""
        value = self._given(name, default)
        if not isinstance(value, list | tuple):
            raise self.wrong(f"`{name}` is {value!r}; write a list of whole numbers")
        return tuple(self._count(f"{name}[{i}]", one, 1) for i, one in enumerate(value))

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number. Raises CardError."""
        value = self._given(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self.wrong(f"`{name}` is {value!r}; it must be a finite number")
        return float(value)

    def yes(self, name: str, default: bool | None = None) -> bool:
        """True or false. Raises CardError."""
        value = self._given(name, default)
        if not isinstance(value, bool):
            raise self.wrong(f"`{name}` is {value!r}; it must be true or false")
        return value

    def one_of(self, name: str, known: Mapping[str | None, T], default: str | None) -> T:
        """What the setting stands for. Raises CardError that lists what it can be."""
        value = self.values.get(name, default)
        if not isinstance(value, str | None) or value not in known:
            listed = ", ".join("null" if one is None else one for one in known)
            raise self.wrong(f"`{name}` is {value!r}; choose one of {listed}")
        return known[value]

    def wrong(self, what: str) -> CardError:
        """The error that says so, and of which family."""
        return CardError(f"family {self.family!r}: {what}")

    def _given(self, name: str, default: object) -> object:
        if name in self.values:
            return self.values[name]
        if default is None:
            raise self.wrong(f"`config` lacks `{name}`")
        return default

    def _count(self, name: str, value: object, least: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(f"`{name}` is {value!r}; it must be a whole number from {least} up")
        return value
