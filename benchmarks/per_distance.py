"""Benchmarks whose scores depend on a distance, asked in several of them at once: each adds its name to its scores."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from preimage.harness.benchmark import Ask, Data, Model, Score
from preimage.harness.options import RecoveryOptions
from preimage.harness.rows import Rows

Options = TypeVar("Options", bound=RecoveryOptions)


class PerDistance(ABC, Generic[Options]):
    """``requests`` and ``summarise`` in the options' distance and in each further one, by those in one distance."""

    @abstractmethod
    def requests_in_one(self, model: Model, data: Data, options: Options) -> dict[str, Ask]:
        """What has to be measured in ``options.distance``, by role."""

    @abstractmethod
    def summarise_in_one(self, rows: Mapping[str, Rows], options: Options) -> list[Score]:
        """Scores in ``options.distance``."""

    def requests(self, model: Model, data: Data, options: Options) -> dict[str, Ask]:
        """What has to be measured in every distance; the roles of further ones bear their names."""
        return {
            role + suffix: ask
            for suffix, one in _in_one(options)
            for role, ask in self.requests_in_one(model, data, one).items()
        }

    def summarise(self, rows: Mapping[str, Rows], options: Options) -> list[Score]:
        """Scores in every distance."""
        suffixes = {suffix for suffix, _ in _in_one(options) if suffix}

        def of(role: str) -> str:
            return next((suffix for suffix in suffixes if role.endswith(suffix)), "")

        return [
            score
            for suffix, one in _in_one(options)
            for score in self.summarise_in_one(
                {role.removesuffix(suffix): found for role, found in rows.items() if of(role) == suffix}, one
            )
        ]


def _in_one(options: Options) -> Iterator[tuple[str, Options]]:
    """The options in each distance alone, and what its roles end with."""
    yield "", dataclasses.replace(options, further_distances=())
    for name in options.further_distances:
        yield f" ({name})", dataclasses.replace(options, distance=name, further_distances=())
