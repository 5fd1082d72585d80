"""Outlier sets: which other images are asked about beside a data set's own, and how they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preimage.harness.benchmark import Data
from preimage.harness.errors import Refused, UsageError
from preimage.harness.options import SearchOptions
from preimage.harness.settings import option


@dataclass(frozen=True, kw_only=True)
class OutlierSetOptions(SearchOptions):
    """Which images are the outliers."""

    sets: tuple[str, ...] = option(
        ("constant", "digits", "inverted"),
        "data sets whose test images are outliers, each by itself; `inverted`: the test images, inverted",
    )
    sets_if_present: tuple[str, ...] = option(
        (), "further ones, left out where this machine does not have them; never downloaded"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        named = (*self.sets, *self.sets_if_present)
        if not self.sets or len(set(named)) < len(named):
            raise UsageError(f"the outlier sets are {list(named)}; name at least one in `sets`, and each once")


def outlier_sets(data: Data, options: OutlierSetOptions) -> Iterator[tuple[str, Data]]:
    """The outlier sets that can be had, in the data set's shape, by the names that the options give them.

    Raises Refused for one in `sets` that cannot be had, or that is the data set itself.
    """
    for name in (*options.sets, *options.sets_if_present):
        try:
            other = data.other(name, if_present=name not in options.sets)
        except Refused:
            if name in options.sets:
                raise
            continue
        if other.split("test").fingerprint == data.split("test").fingerprint:  # whatever it is called
            raise Refused(f"outlier set {name!r} is the data set itself; name others, e.g. --set 'sets=[constant]'")
        yield name, other


def role_of(name: str) -> str:
    """The role of an outlier set's images."""
    return f"outliers {name}"
